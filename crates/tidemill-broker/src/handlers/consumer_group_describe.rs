//! ConsumerGroupDescribe, API 69, v0-1: groups of the consumer protocol. v1 says of what kind each member is.

use tidemill_coordinator::{ConsumerDescription, ConsumerMemberDescription, TopicId, TopicName};
use tidemill_protocol::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup, Member,
    TopicPartitions,
};
use tidemill_protocol::{ErrorCode, KString, Uuid};

use super::describe_groups::{ALL_OPERATIONS, NO_OPERATIONS};
use crate::groups::Groups;
use crate::shared::Context;

const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

pub(crate) async fn handle(
    context: Context,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let authorized_operations = if request.include_authorized_operations {
        ALL_OPERATIONS
    } else {
        NO_OPERATIONS
    };
    let groups = Groups::of(&context.shared);
    let mut described = Vec::with_capacity(request.group_ids.len());
    for group in request.group_ids {
        let answer = match groups.describe_consumers((&*group).into()).await {
            _ if group.is_empty() => unknown(group, ErrorCode::InvalidGroupId, "The group id is empty."),
            Some(description) => known(group, description),
            None => {
                let message = "There is no such group of the consumer protocol.";
                unknown(group, ErrorCode::GroupIdNotFound, message)
            }
        };
        described.push(DescribedGroup {
            authorized_operations,
            ..answer
        });
    }
    ConsumerGroupDescribeResponse {
        groups: described,
        ..Default::default()
    }
}

fn unknown(group_id: KString, error_code: ErrorCode, message: &'static str) -> DescribedGroup {
    DescribedGroup {
        error_code,
        error_message: Some(KString::from_static(message)),
        group_id,
        ..Default::default()
    }
}

fn known(group_id: KString, description: ConsumerDescription) -> DescribedGroup {
    DescribedGroup {
        group_id,
        group_state: KString::from_static(description.phase.as_str()),
        group_epoch: description.epoch,
        assignment_epoch: description.target_epoch,
        assignor_name: KString::from_static(description.assignor.as_str()),
        members: description.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn member(member: ConsumerMemberDescription) -> Member {
    Member {
        member_id: member.member.as_str().into(),
        instance_id: member.instance.map(|instance| instance.as_str().into()),
        rack_id: member.rack.map(Into::into),
        member_epoch: member.epoch,
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        subscribed_topic_names: member.names.iter().map(|name| name.as_str().into()).collect(),
        subscribed_topic_regex: member.pattern.map(Into::into),
        assignment: assignment(member.assigned),
        target_assignment: assignment(member.target),
        member_type: if member.classic { CLASSIC } else { CONSUMER },
    }
}

fn assignment(topics: Vec<(TopicId, TopicName, Vec<i32>)>) -> Assignment {
    let topics = topics.into_iter().map(|(id, name, partitions)| TopicPartitions {
        topic_id: Uuid::from_u128(id.0),
        topic_name: name.as_str().into(),
        partitions,
    });
    Assignment {
        topic_partitions: topics.collect(),
    }
}
