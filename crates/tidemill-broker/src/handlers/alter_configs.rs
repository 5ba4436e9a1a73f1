//! AlterConfigs, API 33, v0-2: all settings of a topic or of the broker at once; what is not named is taken back.

use tidemill_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::handlers::config_resource::{self, Resource};
use crate::settings::TopicValues;
use crate::shared::{Context, Shared};
use crate::topics::TopicError;

pub(crate) fn handle(context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let named = request
        .resources
        .iter()
        .map(|r| (r.resource_type, &r.resource_name));
    let twice = config_resource::named_twice(named);
    let responses = request.resources.into_iter().map(|resource| {
        let result = match twice.contains(&(resource.resource_type, resource.resource_name.clone())) {
            true => Err(TopicError::Request("The resource is named more than once.")),
            false => alter(&context.shared, &resource, request.validate_only),
        };
        let (error_code, error_message): (ErrorCode, Option<KString>) = config_resource::outcome(result);
        AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }
    });
    AlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

fn alter(shared: &Shared, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), TopicError> {
    let mut given = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let value = config.value.as_ref();
        let value = value.ok_or(TopicError::Request("Null value not supported for configs"))?;
        if given.iter().any(|(name, _)| *name == &*config.name) {
            return Err(TopicError::Request("A setting is named more than once."));
        }
        given.push((&*config.name, &**value));
    }
    match Resource::of(shared, resource.resource_type, &resource.resource_name)? {
        Resource::Topic(name) => shared.topics.alter(name, validate_only, |settings| {
            *settings = TopicValues::default();
            given
                .iter()
                .try_for_each(|(name, value)| Ok(settings.set(name, value)?))
        }),
        Resource::Broker(layer) => shared.topics.alter_broker(layer, validate_only, |values| {
            let before: Vec<_> = values.altered(layer).map(|(name, _)| name).collect();
            before
                .into_iter()
                .try_for_each(|name| values.alter(layer, name, None))?;
            given
                .iter()
                .try_for_each(|(name, value)| Ok(values.alter(layer, name, Some(value))?))
        }),
    }
}
