//! DeleteRecords: moving the beginning of partitions.

use std::sync::Arc;
use std::time::Duration;

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};

use super::cluster::{AutoCreate, Cluster, ClusterError};
use super::connection::Lane;
use crate::{TopicPartition, TransportError};

/// Deletes the records before these offsets, at whoever leads the partitions.
pub(crate) async fn delete(
    cluster: Arc<Cluster>,
    before: Vec<(TopicPartition, i64)>,
    within: Duration,
) -> Result<(), TransportError> {
    for (at, offset) in before {
        let attempt = || delete_one(&cluster, &at, offset, within);
        cluster
            .retrying(within, attempt)
            .await
            .map_err(|error| match error {
                ClusterError::Refused(ErrorCode::OffsetOutOfRange) => TransportError::OutOfRange {
                    partition: at.clone(),
                    offset,
                },
                error => error.into_transport("delete records"),
            })?;
    }
    Ok(())
}

async fn delete_one(
    cluster: &Cluster,
    at: &TopicPartition,
    offset: i64,
    within: Duration,
) -> Result<(), ClusterError> {
    cluster.refresh(&[&at.topic], AutoCreate::Never).await?;
    let address = {
        let view = cluster.view();
        let leader = view.leader(&at.topic, at.partition);
        leader.and_then(|leader| view.address(leader.node).cloned())
    };
    let address = address.ok_or(ClusterError::Refused(ErrorCode::LeaderNotAvailable))?;
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: (&*at.topic).into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: at.partition,
                offset,
            }],
        }],
        timeout_ms: i32::try_from(within.as_millis()).unwrap_or(i32::MAX),
    };
    let response = cluster.pool().call(&address, Lane::Ask, &request).await?;
    let part = response.topics.first().and_then(|topic| topic.partitions.first());
    match part.map_or(ErrorCode::UnknownServerError, |part| part.error_code) {
        ErrorCode::None => Ok(()),
        code => Err(ClusterError::Refused(code)),
    }
}
