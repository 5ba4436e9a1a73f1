//! SyncGroup, API 14, v0-5. The answer waits for the leader's assignment.

use bytes::Bytes;
use tidemill_coordinator::{Event, GroupError, Reply, SyncRequest};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::error_code;
use crate::groups::Groups;
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: SyncGroupRequest) -> SyncGroupResponse {
    if context.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return refusal(GroupError::InconsistentGroupProtocol);
    }
    let assignments = request.assignments.iter();
    let sync = SyncRequest {
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(Into::into),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_ref().map(ToString::to_string),
        protocol: request.protocol_name.as_ref().map(ToString::to_string),
        assignments: assignments
            .map(|each| {
                (
                    (&*each.member_id).into(),
                    Bytes::copy_from_slice(&each.assignment),
                )
            })
            .collect(),
    };
    match Groups::of(&context.shared)
        .ask((&*request.group_id).into(), |to| Event::Sync {
            request: sync,
            to,
        })
        .await
    {
        Some(Reply::Sync(Ok(assigned))) => SyncGroupResponse {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            protocol_type: assigned.protocol_type.map(Into::into),
            protocol_name: assigned.protocol.map(Into::into),
            assignment: assigned.assignment,
        },
        Some(Reply::Sync(Err(error))) => refusal(error),
        _ => refusal(GroupError::CoordinatorNotAvailable),
    }
}

fn refusal(error: GroupError) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error_code::of_group(error),
        ..SyncGroupResponse::default()
    }
}
