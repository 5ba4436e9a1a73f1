//! OffsetForLeaderEpoch, API 23, v2-4: where an epoch's records end, so that clients notice truncation (KIP-320).

use tidemill_log::LeaderEpoch;
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use crate::partition::check_epoch;
use crate::shared::Context;
use crate::topics::Topic;

pub(crate) async fn handle(
    context: Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = context.shared.topics.find(&asked.topic);
        let partitions = asked
            .partitions
            .iter()
            .map(|partition| end_of(topic.as_deref(), partition))
            .collect();
        OffsetForLeaderTopicResult {
            topic: asked.topic,
            partitions,
        }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn end_of(topic: Option<&Topic>, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let answer = |error_code, leader_epoch, end_offset| EpochEndOffset {
        error_code,
        partition: asked.partition,
        leader_epoch,
        end_offset,
    };
    let Some(partition) = topic.and_then(|topic| topic.partition(asked.partition)) else {
        return answer(ErrorCode::UnknownTopicOrPartition, -1, -1);
    };
    if let Err(code) = check_epoch(asked.current_leader_epoch) {
        return answer(code, -1, -1);
    }
    match partition
        .log
        .end_offset_for_epoch(LeaderEpoch(asked.leader_epoch))
    {
        Some(end) => answer(ErrorCode::None, end.leader_epoch.0, end.end_offset.0),
        None => answer(ErrorCode::None, -1, -1),
    }
}
