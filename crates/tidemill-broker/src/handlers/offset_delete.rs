//! OffsetDelete, API 47, v0.

use tidemill_coordinator::{CommitAnswers, Event, GroupError, Reply};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::error_code;
use crate::groups::Groups;
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let topics = &context.shared.topics;
    let known: Vec<bool> = request
        .topics
        .iter()
        .map(|topic| topics.find(&topic.name).is_some())
        .collect();
    let known_topics = request.topics.iter().zip(&known).filter(|(_, known)| **known);
    let partitions: Vec<_> = known_topics
        .flat_map(|(topic, _)| {
            topic
                .partitions
                .iter()
                .map(|each| ((&*topic.name).into(), each.partition_index))
        })
        .collect();
    let answer = match Groups::of(&context.shared)
        .ask((&*request.group_id).into(), |to| Event::DeleteOffsets {
            partitions,
            to,
        })
        .await
    {
        Some(Reply::DeleteOffsets(answer)) => answer,
        _ => Err(GroupError::CoordinatorNotAvailable),
    };
    match answer {
        Err(error) => OffsetDeleteResponse {
            error_code: error_code::of_group(error),
            ..OffsetDeleteResponse::default()
        },
        Ok(answers) => OffsetDeleteResponse {
            error_code: ErrorCode::None,
            throttle_time_ms: 0,
            topics: answered(&request, &known, answers),
        },
    }
}

/// The coordinator answers partition by partition, in the order of the request.
fn answered(
    request: &OffsetDeleteRequest,
    known: &[bool],
    answers: CommitAnswers,
) -> Vec<OffsetDeleteResponseTopic> {
    let mut answers = answers.into_iter();
    let mut code_of_next = |known: bool| match known {
        false => ErrorCode::UnknownTopicOrPartition,
        true => answers
            .next()
            .map_or(ErrorCode::UnknownServerError, |(_, _, each)| {
                error_code::of_result(each)
            }),
    };
    let topics = request
        .topics
        .iter()
        .zip(known)
        .map(|(topic, known)| OffsetDeleteResponseTopic {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|each| OffsetDeleteResponsePartition {
                    partition_index: each.partition_index,
                    error_code: code_of_next(*known),
                })
                .collect(),
        });
    topics.collect()
}
