//! DescribeQuorum, API 55, v0-2: who keeps the metadata, as Kafka's tools ask. Here one broker keeps it alone: it is the
//! leader and the only voter, and the log's offsets count the changes.

use tidemill_protocol::messages::describe_quorum::{
    DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumResponse, DescribeQuorumResponsePartition,
    DescribeQuorumResponseTopic, QuorumListener, QuorumNode, ReplicaState,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::clock;
use crate::partition::LEADER_EPOCH;
use crate::shared::Context;

/// The name under which Kafka keeps its metadata.
const METADATA: &str = "__cluster_metadata";

pub(crate) fn handle(context: Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            if *topic.topic_name == *METADATA && partition.partition_index == 0 {
                metadata(&context)
            } else {
                unknown(partition)
            }
        });
        DescribeQuorumResponseTopic {
            partitions: partitions.collect(),
            topic_name: topic.topic_name,
        }
    });
    let endpoint = &context.endpoint;
    let topics = topics.collect();
    DescribeQuorumResponse {
        topics,
        nodes: vec![QuorumNode {
            node_id: context.shared.node_id(),
            listeners: vec![QuorumListener {
                name: endpoint.listener.as_str().into(),
                host: endpoint.host.as_str().into(),
                port: endpoint.port,
            }],
        }],
        ..Default::default()
    }
}

fn unknown(partition: &DescribeQuorumPartition) -> DescribeQuorumResponsePartition {
    DescribeQuorumResponsePartition {
        partition_index: partition.partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition,
        error_message: Some(KString::from_static("Only the metadata has a quorum.")),
        leader_id: -1,
        leader_epoch: -1,
        high_watermark: -1,
        ..Default::default()
    }
}

fn metadata(context: &Context) -> DescribeQuorumResponsePartition {
    let (node, now) = (context.shared.node_id(), clock::now().0);
    let end = i64::try_from(context.shared.topics.metadata_changes()).unwrap_or(i64::MAX);
    DescribeQuorumResponsePartition {
        leader_id: node,
        leader_epoch: LEADER_EPOCH.0,
        high_watermark: end,
        current_voters: vec![ReplicaState {
            replica_id: node,
            log_end_offset: end,
            // A leader is never behind itself.
            last_fetch_timestamp: now,
            last_caught_up_timestamp: now,
            ..Default::default()
        }],
        ..Default::default()
    }
}
