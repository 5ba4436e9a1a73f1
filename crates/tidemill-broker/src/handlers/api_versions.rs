//! ApiVersions, API 18, v0-4: what the broker serves.

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

use crate::dispatch::SERVED;
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
    served(ErrorCode::None)
}

/// The answer, in version 0, to a version that is not served.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    served(ErrorCode::UnsupportedVersion)
}

fn served(error_code: ErrorCode) -> ApiVersionsResponse {
    let api_keys = SERVED.iter().map(|api| {
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

/// Letters, digits, '-' and '.', beginning and ending with a letter or digit.
fn is_software(name: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    edge(name.bytes().next()) && edge(name.bytes().next_back()) && name.bytes().all(inner)
}
