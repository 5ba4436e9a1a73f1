//! DescribeTopicPartitions, API 75, v0: topics and their partitions, a bounded number at a time.

use std::collections::BTreeSet;

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};

use crate::partition::LEADER_EPOCH;
use crate::shared::{Context, Shared};

pub(crate) async fn handle(
    context: Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let shared = &context.shared;
    let mut names: BTreeSet<String> = request
        .topics
        .iter()
        .map(|topic| topic.name.to_string())
        .collect();
    if names.is_empty() {
        names = shared
            .topics
            .all()
            .iter()
            .map(|topic| topic.name.clone())
            .collect();
    }
    let asked = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .max(1);
    let mut left = asked.min(shared.settings.described_partitions_max);
    // Topics go by name, so that a cursor means the same in the next request.
    let start = request
        .cursor
        .as_ref()
        .map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let first = match &start {
            Some((topic, _)) if name < *topic => continue,
            Some((topic, index)) if name == *topic => usize::try_from(*index).unwrap_or(0),
            _ => 0,
        };
        if left == 0 {
            response.next_cursor = Some(Cursor {
                topic_name: name.into(),
                partition_index: 0,
            });
            break;
        }
        let (topic, more) = describe(shared, &name, first, left);
        left -= topic.partitions.len();
        let next = i32::try_from(first + topic.partitions.len()).unwrap_or(i32::MAX);
        response.topics.push(topic);
        if more {
            response.next_cursor = Some(Cursor {
                topic_name: name.into(),
                partition_index: next,
            });
            break;
        }
    }
    response
}

/// At most `count` partitions of a topic from `first` on, and whether there are more.
fn describe(
    shared: &Shared,
    name: &str,
    first: usize,
    count: usize,
) -> (DescribeTopicPartitionsResponseTopic, bool) {
    let Some(topic) = shared.topics.find(name) else {
        let unknown = DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::UnknownTopicOrPartition,
            name: Some(name.into()),
            topic_authorized_operations: i32::MIN,
            ..Default::default()
        };
        return (unknown, false);
    };
    let node = shared.node_id();
    let partitions = topic.partitions.iter().skip(first).take(count).map(|partition| {
        DescribeTopicPartitionsResponsePartition {
            partition_index: partition.log.topic_partition().partition,
            leader_id: node,
            leader_epoch: LEADER_EPOCH.0,
            replica_nodes: vec![node],
            isr_nodes: vec![node],
            // The schema lets these be null, but Java's admin client walks them without asking.
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..Default::default()
        }
    });
    let described = DescribeTopicPartitionsResponseTopic {
        name: Some(topic.wire_name()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations: i32::MIN,
        ..Default::default()
    };
    (described, topic.partitions.len() > first + count)
}
