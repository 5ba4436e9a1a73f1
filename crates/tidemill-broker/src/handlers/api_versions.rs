//! ApiVersions, API 18, v0-4: what the broker serves.

use tidemill_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use tidemill_protocol::{ApiKey, ErrorCode, KString};

use crate::features::{FEATURES, Levels};
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    // From version 3 on a client says what it is; Kafka refuses names that could not be a metric's.
    if context.version >= 3
        && !(is_software(&request.client_software_name) && is_software(&request.client_software_version))
    {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest,
            ..Default::default()
        };
    }
    let mut response = served(ErrorCode::None);
    add_features(&mut response, &context.shared.topics.levels(), context.version);
    response
}

/// The answer, in version 0, to a version that is not served.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    served(ErrorCode::UnsupportedVersion)
}

fn served(error_code: ErrorCode) -> ApiVersionsResponse {
    let api_keys = ApiKey::ALL.iter().map(|api| {
        let versions = api.advertised();
        ApiVersion {
            api_key: *api as i16,
            min_version: *versions.start(),
            max_version: *versions.end(),
        }
    });
    ApiVersionsResponse {
        error_code,
        api_keys: api_keys.collect(),
        ..Default::default()
    }
}

/// What this broker can do, and what holds: a feature at level 0 is as good as not there.
fn add_features(response: &mut ApiVersionsResponse, levels: &Levels, version: i16) {
    for (name, highest) in FEATURES {
        // Clients below version 4 stumble over a range that begins at 0 (KAFKA-17011), so they do not see it.
        if version >= 4 {
            response.supported_features.push(SupportedFeatureKey {
                name: KString::from_static(name),
                min_version: 0,
                max_version: *highest,
            });
        }
        let level = levels.of(name);
        if level == 0 {
            continue;
        }
        response.finalized_features.push(FinalizedFeatureKey {
            name: KString::from_static(name),
            max_version_level: level,
            min_version_level: level,
        });
    }
    response.finalized_features_epoch = levels.epoch;
}

/// Letters, digits, '-' and '.', beginning and ending with a letter or digit.
fn is_software(name: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    edge(name.bytes().next()) && edge(name.bytes().next_back()) && name.bytes().all(inner)
}
