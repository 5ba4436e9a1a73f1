//! OffsetFetch, API 9, v1-9: one group up to v7, several from v8. No topics mean all. `require_stable` (v7) refuses
//! partitions whose offset an open transaction may yet change; v9 checks the epoch of a member.

use tidemill_coordinator::{FetchedOffset, TopicName};
use tidemill_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::error_code;
use crate::groups::{Gone, Groups, Reader};
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let groups = Groups::of(&context.shared);
    if context.version >= 8 {
        let mut answers = Vec::with_capacity(request.groups.len());
        for group in &request.groups {
            let wanted = group.topics.as_ref().map(|topics| {
                let partitions = topics
                    .iter()
                    .map(|topic| (&topic.name, topic.partition_indexes.as_slice()));
                wanted(partitions)
            });
            let by = Reader {
                member: group.member_id.as_deref().unwrap_or_default().into(),
                epoch: group.member_epoch,
            };
            answers.push(fetch_group(&groups, &group.group_id, by, wanted, request.require_stable).await);
        }
        return OffsetFetchResponse {
            groups: answers,
            ..OffsetFetchResponse::default()
        };
    }
    let wanted = request.topics.as_ref().map(|topics| {
        let partitions = topics
            .iter()
            .map(|topic| (&topic.name, topic.partition_indexes.as_slice()));
        wanted(partitions)
    });
    let group = fetch_group(
        &groups,
        &request.group_id,
        Reader::nobody(),
        wanted,
        request.require_stable,
    )
    .await;
    OffsetFetchResponse {
        throttle_time_ms: 0,
        topics: group.topics.into_iter().map(as_single_group).collect(),
        error_code: group.error_code,
        groups: Vec::new(),
    }
}

fn wanted<'a>(topics: impl Iterator<Item = (&'a KString, &'a [i32])>) -> Vec<(TopicName, i32)> {
    let partitions = topics.flat_map(|(topic, partitions)| {
        let topic = TopicName::from(&**topic);
        partitions
            .iter()
            .map(move |partition| (topic.clone(), *partition))
    });
    partitions.collect()
}

async fn fetch_group(
    groups: &Groups,
    group: &KString,
    by: Reader,
    wanted: Option<Vec<(TopicName, i32)>>,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let (error_code, fetched) = match groups.fetch_offsets((&**group).into(), by, wanted).await {
        Ok(Ok(fetched)) => (ErrorCode::None, fetched),
        Ok(Err(error)) => (error_code::of_group(error), Vec::new()),
        Err(Gone) => (ErrorCode::CoordinatorNotAvailable, Vec::new()),
    };
    OffsetFetchResponseGroup {
        group_id: group.clone(),
        topics: by_topic(fetched, require_stable),
        error_code,
    }
}

fn by_topic(fetched: Vec<FetchedOffset>, require_stable: bool) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for FetchedOffset {
        topic,
        partition,
        committed,
        unstable,
    } in fetched
    {
        let error_code = if unstable && require_stable {
            ErrorCode::UnstableOffsetCommit
        } else {
            ErrorCode::None
        };
        let partition = match committed.filter(|_| error_code.is_ok()) {
            Some(offset) => OffsetFetchResponsePartitions {
                partition_index: partition,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
                metadata: Some(offset.metadata.into()),
                error_code,
            },
            None => OffsetFetchResponsePartitions {
                partition_index: partition,
                committed_offset: -1,
                committed_leader_epoch: -1,
                metadata: Some(KString::from_static("")),
                error_code,
            },
        };
        match topics.last_mut().filter(|last| *last.name == *topic.as_str()) {
            Some(last) => last.partitions.push(partition),
            None => {
                topics.push(OffsetFetchResponseTopics {
                    name: topic.as_str().into(),
                    partitions: vec![partition],
                });
            }
        }
    }
    topics
}

fn as_single_group(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| OffsetFetchResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        });
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
    }
}
