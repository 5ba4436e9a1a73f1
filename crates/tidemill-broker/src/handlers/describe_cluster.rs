//! DescribeCluster, API 60, v0-2: the brokers and the cluster's id.

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use crate::shared::Context;

/// The endpoint type of brokers; controllers are 2.
const BROKERS: i8 = 1;

pub(crate) async fn handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let shared = &context.shared;
    if context.version >= 1 && request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: ErrorCode::MismatchedEndpointType,
            error_message: Some("The request was sent to an endpoint of type BROKER.".into()),
            endpoint_type: BROKERS,
            cluster_authorized_operations: i32::MIN,
            ..Default::default()
        };
    }
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: shared.cluster_id().into(),
        controller_id: shared.node_id(),
        brokers: vec![DescribeClusterBroker {
            broker_id: shared.node_id(),
            host: context.endpoint.host.as_str().into(),
            port: i32::from(context.endpoint.port),
            rack: None,
            is_fenced: false,
        }],
        cluster_authorized_operations: i32::MIN,
        ..Default::default()
    }
}
