//! DescribeGroups, API 15, v0-6. A group nobody knows is `Dead`, and from v6 an error.

use tidemill_coordinator::GroupDescription;
use tidemill_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::groups::Groups;
use crate::shared::Context;

/// Everything that can be done to a group, while nothing is forbidden: read (3), delete (6), describe (8), describe and
/// alter its settings (10, 11), as bits.
pub(crate) const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// The client did not ask.
pub(crate) const NO_OPERATIONS: i32 = i32::MIN;

pub(crate) async fn handle(context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let operations = if request.include_authorized_operations {
        ALL_OPERATIONS
    } else {
        NO_OPERATIONS
    };
    let groups = Groups::of(&context.shared);
    let mut described = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let found = groups.describe((&*group).into()).await;
        let answer = match found {
            Some(description) => known(group, description),
            None => unknown(group, context.version),
        };
        described.push(DescribedGroup {
            authorized_operations: operations,
            ..answer
        });
    }
    DescribeGroupsResponse {
        throttle_time_ms: 0,
        groups: described,
    }
}

fn known(group: KString, description: GroupDescription) -> DescribedGroup {
    let members = description
        .members
        .into_iter()
        .map(|member| DescribedGroupMember {
            member_id: member.member.as_str().into(),
            group_instance_id: member.instance.map(|instance| instance.as_str().into()),
            client_id: member.client_id.into(),
            client_host: member.client_host.into(),
            member_metadata: member.metadata,
            member_assignment: member.assignment,
        });
    DescribedGroup {
        error_code: ErrorCode::None,
        group_id: group,
        group_state: KString::from_static(description.phase.as_str()),
        protocol_type: description.protocol_type.into(),
        protocol_data: description.protocol.into(),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}

fn unknown(group: KString, version: i16) -> DescribedGroup {
    let (error_code, error_message) = if version >= 6 {
        (
            ErrorCode::GroupIdNotFound,
            Some(KString::from(format!("Group {} not found.", &*group))),
        )
    } else {
        (ErrorCode::None, None)
    };
    let group_state = KString::from_static("Dead");
    DescribedGroup {
        error_code,
        error_message,
        group_id: group,
        group_state,
        ..DescribedGroup::default()
    }
}
