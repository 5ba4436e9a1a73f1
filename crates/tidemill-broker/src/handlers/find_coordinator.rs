//! FindCoordinator, API 10, v0-6. One broker coordinates every group and every transaction.

use tidemill_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::shared::Context;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) async fn handle(context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if context.version >= 4 {
        let keys = request.coordinator_keys.iter();
        let coordinators = keys
            .map(|key| coordinator(&context, request.key_type, key))
            .collect();
        return FindCoordinatorResponse {
            coordinators,
            ..FindCoordinatorResponse::default()
        };
    }
    let found = coordinator(&context, request.key_type, &request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn coordinator(context: &Context, key_type: i8, key: &KString) -> Coordinator {
    let refuse = |error_code, message: &'static str| Coordinator {
        key: key.clone(),
        node_id: -1,
        host: KString::from_static(""),
        port: -1,
        error_code,
        error_message: Some(KString::from_static(message)),
    };
    match key_type {
        GROUP | TRANSACTION => Coordinator {
            key: key.clone(),
            node_id: context.shared.node_id(),
            host: context.endpoint.host.as_str().into(),
            port: context.endpoint.port.into(),
            error_code: ErrorCode::None,
            error_message: None,
        },
        _ => refuse(
            ErrorCode::InvalidRequest,
            "The key type is not one this broker knows.",
        ),
    }
}
