//! OffsetCommit, API 8, v2-10: v10 names topics by their ids, so that what is meant for a deleted topic does not count
//! for another of the same name.

use std::sync::Arc;

use tidemill_coordinator::{CommitAnswers, CommitRequest, Event, GroupError, OffsetToCommit, Reply};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::error_code;
use crate::groups::Groups;
use crate::shared::Context;
use crate::topics::Topic;

/// The first version that names topics by their ids.
const BY_ID: i16 = 10;

pub(crate) async fn handle(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = &context.shared.topics;
    let by_id = context.version >= BY_ID;
    let found = request.topics.iter().map(|topic| match by_id {
        true => topics.find_id(topic.topic_id),
        false => topics.find(&topic.name),
    });
    let found: Vec<Option<Arc<Topic>>> = found.collect();
    let commit = commit_request(&request, &found, context.version);
    let answer = if commit.offsets.is_empty() {
        Ok(CommitAnswers::new())
    } else {
        match Groups::of(&context.shared)
            .ask((&*request.group_id).into(), |to| Event::Commit {
                request: commit,
                to,
            })
            .await
        {
            Some(Reply::Commit(answer)) => answer,
            _ => Err(GroupError::CoordinatorNotAvailable),
        }
    };
    // The coordinator answers partition by partition, in the order of the request.
    let mut answers = answer.map(Vec::into_iter);
    let mut code_of_next = |known: bool| match &mut answers {
        _ if !known && by_id => ErrorCode::UnknownTopicId,
        _ if !known => ErrorCode::UnknownTopicOrPartition,
        Ok(answers) => answers
            .next()
            .map_or(ErrorCode::UnknownServerError, |(_, _, each)| {
                error_code::of_result(each)
            }),
        Err(error) => error_code::of_group(*error),
    };
    let topics = request
        .topics
        .iter()
        .zip(found)
        .map(|(topic, found)| OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code_of_next(found.is_some()),
                })
                .collect(),
        });
    OffsetCommitResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

fn commit_request(
    request: &OffsetCommitRequest,
    found: &[Option<Arc<Topic>>],
    version: i16,
) -> CommitRequest {
    let topics = request.topics.iter().zip(found);
    let known = topics.filter_map(|(topic, found)| Some((topic, found.as_ref()?)));
    let offsets = known.flat_map(|(topic, found)| {
        topic.partitions.iter().map(|partition| OffsetToCommit {
            topic: found.name.as_str().into(),
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: Some(partition.committed_leader_epoch).filter(|epoch| *epoch >= 0),
            metadata: partition
                .committed_metadata
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
    });
    CommitRequest {
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(Into::into),
        generation: request.generation_id_or_member_epoch,
        // Only v2 to v4 have it; the others read as -1.
        retention_ms: Some(request.retention_time_ms).filter(|ms| (2..=4).contains(&version) && *ms >= 0),
        knows_group_not_found: version >= 9,
        transaction: None,
        offsets: offsets.collect(),
    }
}
