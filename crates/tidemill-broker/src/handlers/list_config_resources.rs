//! ListConfigResources, API 74, v0-1: what has settings. Version 0 asks for subscriptions to client metrics alone.

use tidemill_protocol::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::handlers::config_resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::shared::Context;

pub(crate) async fn handle(
    context: Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let known = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    let asked = match (context.version, request.resource_types.as_slice()) {
        (0, _) => vec![CLIENT_METRICS],
        (_, []) => known.to_vec(),
        (_, asked) => asked.to_vec(),
    };
    if asked.iter().any(|kind| !known.contains(kind)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion,
            ..Default::default()
        };
    }
    let shared = &context.shared;
    let mut config_resources = Vec::new();
    let mut add = |resource_type, resource_name: KString| {
        config_resources.push(ConfigResource {
            resource_name,
            resource_type,
        });
    };
    for kind in asked {
        match kind {
            TOPIC => shared
                .topics
                .all()
                .iter()
                .for_each(|topic| add(TOPIC, topic.wire_name())),
            BROKER => add(kind, shared.node_id().to_string().into()),
            // Log levels are the process's, and neither clients' metrics nor groups have settings here.
            _ => {}
        }
    }
    ListConfigResourcesResponse {
        config_resources,
        ..Default::default()
    }
}
