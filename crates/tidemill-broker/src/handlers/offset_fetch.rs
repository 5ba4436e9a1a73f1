//! OffsetFetch, API 9, v1-10: one group up to v7, several from v8. No topics mean all. `require_stable` (v7) refuses
//! partitions whose offset an open transaction may yet change; v9 checks the epoch of a member; v10 names topics by
//! their ids.

use std::collections::HashMap;

use tidemill_coordinator::{FetchedOffset, TopicName};
use tidemill_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::error_code;
use crate::groups::{Gone, Groups, Reader};
use crate::shared::Context;

/// The first version that names topics by their ids.
const BY_ID: i16 = 10;

pub(crate) async fn handle(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let groups = Groups::of(&context.shared);
    if context.version >= 8 {
        let mut answers = Vec::with_capacity(request.groups.len());
        for group in &request.groups {
            let answer = if context.version >= BY_ID {
                fetch_by_id(&context, group, request.require_stable).await
            } else {
                fetch_by_name(&groups, group, request.require_stable).await
            };
            answers.push(answer);
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

async fn fetch_by_name(
    groups: &Groups,
    group: &OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let wanted = group.topics.as_ref().map(|topics| {
        let partitions = topics
            .iter()
            .map(|topic| (&topic.name, topic.partition_indexes.as_slice()));
        wanted(partitions)
    });
    fetch_group(groups, &group.group_id, reader(group), wanted, require_stable).await
}

/// As by name; partitions of ids that nobody has come back with an error, and what is kept under a name that no topic
/// has any more stays out of the list of all.
async fn fetch_by_id(
    context: &Context,
    group: &OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let (topics, groups) = (&context.shared.topics, Groups::of(&context.shared));
    let (mut unknown, mut ids) = (Vec::new(), HashMap::new());
    let wanted = group.topics.as_ref().map(|asked| {
        let mut known = Vec::new();
        for asked in asked {
            match topics.find_id(asked.topic_id) {
                Some(topic) => {
                    ids.insert(topic.name.clone(), topic.id);
                    known.push((topic.wire_name(), asked.partition_indexes.as_slice()));
                }
                None => unknown.push(refused(asked)),
            }
        }
        wanted(known.iter().map(|(name, partitions)| (name, *partitions)))
    });
    let mut answer = fetch_group(&groups, &group.group_id, reader(group), wanted, require_stable).await;
    answer.topics.retain_mut(|topic| {
        // As it was asked, though the topic may be gone by now.
        let asked = ids.get(&*topic.name).copied();
        let id = asked.or_else(|| Some(topics.find(&topic.name)?.id));
        topic.topic_id = id.unwrap_or_default();
        id.is_some()
    });
    if answer.error_code.is_ok() {
        answer.topics.append(&mut unknown);
    }
    answer
}

fn reader(group: &OffsetFetchRequestGroup) -> Reader {
    Reader {
        member: group.member_id.as_deref().unwrap_or_default().into(),
        epoch: group.member_epoch,
    }
}

fn refused(asked: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| nothing(*index, ErrorCode::UnknownTopicId);
    OffsetFetchResponseTopics {
        topic_id: asked.topic_id,
        partitions: asked.partition_indexes.iter().map(partition).collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

fn nothing(partition: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(KString::from_static("")),
        error_code,
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
            None => nothing(partition, error_code),
        };
        match topics.last_mut().filter(|last| *last.name == *topic.as_str()) {
            Some(last) => last.partitions.push(partition),
            None => {
                topics.push(OffsetFetchResponseTopics {
                    name: topic.as_str().into(),
                    partitions: vec![partition],
                    ..OffsetFetchResponseTopics::default()
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
