//! What a broker speaks, and the version of each request that both sides know. Pure.

use std::collections::BTreeMap;

use tidemill_protocol::Message;
use tidemill_protocol::messages::api_versions::ApiVersionsResponse;

use super::CallError;

/// The ranges a broker offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    offered: BTreeMap<i16, (i16, i16)>,
    // The levels of features that the whole cluster has agreed on.
    features: BTreeMap<String, i16>,
}

impl Versions {
    pub(crate) fn new(response: &ApiVersionsResponse) -> Self {
        let offered = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        let features = response
            .finalized_features
            .iter()
            .map(|feature| (feature.name.to_string(), feature.max_version_level))
            .collect();
        Self { offered, features }
    }

    /// The highest version that the broker has, we have and `max` allows.
    pub(crate) fn pick<M: Message>(&self, max: i16) -> Result<i16, CallError> {
        let ours = M::KEY.versions();
        let refused = |offered| CallError::Version { api: M::KEY, offered };
        let (low, high) = *self
            .offered
            .get(&i16::from(M::KEY))
            .ok_or_else(|| refused(None))?;
        let version = high.min(*ours.end()).min(max);
        if version < low.max(*ours.start()) {
            return Err(refused(Some((low, high))));
        }
        Ok(version)
    }

    /// The level of a feature; 0 where it is not known.
    pub(crate) fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_protocol::ApiKey;
    use tidemill_protocol::messages::api_versions::ApiVersion;
    use tidemill_protocol::messages::heartbeat::HeartbeatRequest;

    use super::*;

    fn offering(min_version: i16, max_version: i16) -> Versions {
        let api_key = i16::from(ApiKey::Heartbeat);
        let api_keys = vec![ApiVersion {
            api_key,
            min_version,
            max_version,
        }];
        Versions::new(&ApiVersionsResponse {
            api_keys,
            ..Default::default()
        })
    }

    #[test]
    fn the_highest_common_version_is_picked() {
        assert_eq!(offering(0, 2).pick::<HeartbeatRequest>(i16::MAX).unwrap(), 2);
        assert_eq!(offering(0, 99).pick::<HeartbeatRequest>(i16::MAX).unwrap(), 4);
        assert_eq!(offering(0, 99).pick::<HeartbeatRequest>(3).unwrap(), 3);
    }

    #[test]
    fn without_a_common_version_the_api_is_named() {
        for versions in [offering(50, 99), offering(9, 1), Versions::default()] {
            let refused = versions.pick::<HeartbeatRequest>(i16::MAX).unwrap_err();
            assert!(refused.to_string().contains("Heartbeat"), "{refused}");
        }
    }
}
