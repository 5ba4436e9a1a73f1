//! Whose settings a request is about.

use std::collections::BTreeSet;

use tidemill_protocol::{ErrorCode, KString};

use crate::error_code;
use crate::settings::Layer;
use crate::shared::Shared;
use crate::topics::TopicError;

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
pub(crate) const BROKER_LOGGER: i8 = 8;
pub(crate) const CLIENT_METRICS: i8 = 16;
pub(crate) const GROUP: i8 = 32;

/// Whose settings can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    Broker(Layer),
}

impl<'a> Resource<'a> {
    /// The resource of this type and name. A broker without a name stands for all brokers.
    pub(crate) fn of(shared: &Shared, kind: i8, name: &'a str) -> Result<Resource<'a>, TopicError> {
        match kind {
            TOPIC => Ok(Resource::Topic(name)),
            BROKER if name.is_empty() => Ok(Resource::Broker(Layer::Everywhere)),
            BROKER if name == shared.node_id().to_string() => Ok(Resource::Broker(Layer::Here)),
            BROKER => Err(TopicError::Resource(format!(
                "Unexpected broker id, expected {} but received {name}",
                shared.node_id()
            ))),
            other => Err(TopicError::Resource(format!(
                "Unsupported resource type: {other}"
            ))),
        }
    }
}

/// The resources that a request names more than once.
pub(crate) fn named_twice<'a>(resources: impl Iterator<Item = (i8, &'a KString)>) -> BTreeSet<(i8, KString)> {
    let mut seen = BTreeSet::new();
    let twice = resources.filter(|resource| !seen.insert(*resource));
    twice.map(|(kind, name)| (kind, name.clone())).collect()
}

/// What a request is told of one resource.
pub(crate) fn outcome(result: Result<(), TopicError>) -> (ErrorCode, Option<KString>) {
    match result {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (error_code::of_topic(&error), Some(error.to_string().into())),
    }
}
