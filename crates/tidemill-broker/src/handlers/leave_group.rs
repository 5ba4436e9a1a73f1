//! LeaveGroup, API 13, v0-5: one member up to v2, several from v3.

use tidemill_coordinator::{Event, GroupError, LeavingMember, Reply};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use crate::error_code;
use crate::groups::Groups;
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let version = context.version;
    let members = if version <= 2 {
        vec![LeavingMember {
            member: (&*request.member_id).into(),
            instance: None,
            reason: None,
        }]
    } else {
        let members = request.members.iter().map(|member| LeavingMember {
            member: (&*member.member_id).into(),
            instance: member.group_instance_id.as_deref().map(Into::into),
            reason: member.reason.as_ref().map(ToString::to_string),
        });
        members.collect()
    };
    let answer = match Groups::of(&context.shared)
        .ask((&*request.group_id).into(), |to| Event::Leave { members, to })
        .await
    {
        Some(Reply::Leave(answer)) => answer,
        _ => Err(GroupError::CoordinatorNotAvailable),
    };
    let (error_code, answers) = match answer {
        Err(error) => (error_code::of_group(error), Vec::new()),
        // Old versions have one error, that of the one member.
        Ok(answers) if version <= 2 => {
            let first = answers.first().map_or(Ok(()), |answer| answer.result);
            (error_code::of_result(first), Vec::new())
        }
        Ok(answers) => (ErrorCode::None, answers),
    };
    let members = answers.into_iter().map(|answer| MemberResponse {
        member_id: answer.member.as_str().into(),
        group_instance_id: answer.instance.map(|instance| instance.as_str().into()),
        error_code: error_code::of_result(answer.result),
    });
    LeaveGroupResponse {
        throttle_time_ms: 0,
        error_code,
        members: members.collect(),
    }
}
