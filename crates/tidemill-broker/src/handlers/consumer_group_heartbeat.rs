//! ConsumerGroupHeartbeat, API 68, v0-1: members of the consumer protocol (KIP-848). In v1 the client makes its id, and
//! may choose topics by a pattern.

use tidemill_coordinator::{ConsumerHeartbeat, Event, GroupError, MemberEpoch, Partitions, Reply, TopicId};
use tidemill_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use tidemill_protocol::{ErrorCode, KString, Uuid};

use crate::error_code;
use crate::features::GROUP_VERSION;
use crate::groups::Groups;
use crate::shared::Context;

/// From here on the client makes its member id.
const CLIENT_MAKES_ID_FROM: i16 = 1;

pub(crate) async fn handle(
    context: Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if context.shared.topics.levels().of(GROUP_VERSION) == 0 {
        let message = "The consumer group protocol is switched off: group.version is 0.";
        return failed(ErrorCode::UnsupportedVersion, message.to_owned());
    }
    let epoch = match check(&request, context.version) {
        Ok(epoch) => epoch,
        Err(message) => return failed(ErrorCode::InvalidRequest, message.to_owned()),
    };
    let groups = Groups::of(&context.shared);
    let beat = Box::new(heartbeat(&context, &request, epoch, &groups));
    let answer = groups
        .ask((&*request.group_id).into(), |to| Event::ConsumerHeartbeat {
            request: beat,
            to,
        })
        .await;
    let answer = match answer {
        Some(Reply::ConsumerHeartbeat(answer)) => answer,
        _ => Err(GroupError::CoordinatorNotAvailable),
    };
    match answer {
        Ok(beat) => ConsumerGroupHeartbeatResponse {
            member_id: Some(beat.member.as_str().into()),
            member_epoch: beat.epoch,
            heartbeat_interval_ms: beat.interval_ms,
            assignment: beat.assignment.as_ref().map(assignment),
            ..Default::default()
        },
        Err(error) => failed(error_code::of_group(error), error.to_string()),
    }
}

fn failed(error_code: ErrorCode, message: String) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code,
        error_message: Some(message.into()),
        ..Default::default()
    }
}

/// What must be said, by whom.
fn check(request: &ConsumerGroupHeartbeatRequest, version: i16) -> Result<MemberEpoch, &'static str> {
    let given_empty = |text: &Option<KString>| text.as_ref().is_some_and(|text| text.is_empty());
    let epoch = MemberEpoch::of_wire(request.member_epoch).ok_or("MemberEpoch is below -2.")?;
    if request.group_id.is_empty() {
        return Err("GroupId can't be empty.");
    }
    if given_empty(&request.instance_id) {
        return Err("InstanceId can't be empty.");
    }
    if given_empty(&request.rack_id) {
        return Err("RackId can't be empty.");
    }
    if given_empty(&request.server_assignor) {
        return Err("ServerAssignor can't be empty.");
    }
    let makes_id = epoch == MemberEpoch::Joining && version < CLIENT_MAKES_ID_FROM;
    if request.member_id.is_empty() && !makes_id {
        return Err("MemberId can't be empty.");
    }
    match epoch {
        MemberEpoch::Joining => check_joining(request)?,
        MemberEpoch::Away if request.instance_id.is_none() => return Err("InstanceId can't be null."),
        _ => {}
    }
    Ok(epoch)
}

fn check_joining(request: &ConsumerGroupHeartbeatRequest) -> Result<(), &'static str> {
    if request.rebalance_timeout_ms < 0 {
        return Err("RebalanceTimeoutMs must be provided in first request.");
    }
    if request
        .topic_partitions
        .as_ref()
        .is_none_or(|held| !held.is_empty())
    {
        return Err("TopicPartitions must be empty when (re-)joining.");
    }
    let pattern = request.subscribed_topic_regex.as_ref();
    if request.subscribed_topic_names.is_none() && pattern.is_none_or(|pattern| pattern.is_empty()) {
        return Err("Either SubscribedTopicNames or SubscribedTopicRegex must be set when (re-)joining.");
    }
    Ok(())
}

// The member outlives the request: copies, so that it does not keep the frame alive.
fn heartbeat(
    context: &Context,
    request: &ConsumerGroupHeartbeatRequest,
    epoch: MemberEpoch,
    groups: &Groups,
) -> ConsumerHeartbeat {
    let member = if request.member_id.is_empty() {
        Uuid::new_v4().to_string()
    } else {
        request.member_id.to_string()
    };
    let text = |text: &Option<KString>| text.as_ref().map(ToString::to_string);
    let names = request
        .subscribed_topic_names
        .as_ref()
        .map(|names| names.iter().map(|name| (&**name).into()).collect());
    ConsumerHeartbeat {
        member: member.into(),
        epoch,
        instance: request.instance_id.as_deref().map(Into::into),
        rack: text(&request.rack_id),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|ms| *ms >= 0),
        names,
        pattern: text(&request.subscribed_topic_regex),
        assignor: text(&request.server_assignor),
        holds: request.topic_partitions.as_deref().map(partitions),
        client_id: context.client_id.clone(),
        client_host: format!("/{}", context.client_address),
        topics: groups.topics(),
    }
}

fn partitions(topics: &[TopicPartitions]) -> Partitions {
    let all = topics.iter().flat_map(|topic| {
        let id = TopicId(topic.topic_id.as_u128());
        topic.partitions.iter().map(move |partition| (id, *partition))
    });
    all.collect()
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topics = partitions.topics().map(|(topic, partitions)| TopicPartitions {
        topic_id: Uuid::from_u128(topic.0),
        partitions: partitions.iter().copied().collect(),
    });
    Assignment {
        topic_partitions: topics.collect(),
    }
}
