//! Heartbeat, API 12, v0-4.

use tidemill_coordinator::{Event, GroupError, HeartbeatRequest as Beat, Reply};
use tidemill_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::error_code;
use crate::groups::Groups;
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let beat = Beat {
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(Into::into),
        generation: request.generation_id,
    };
    let answer = match Groups::of(&context.shared)
        .ask((&*request.group_id).into(), |to| Event::Heartbeat {
            request: beat,
            to,
        })
        .await
    {
        Some(Reply::Heartbeat(answer)) => answer,
        _ => Err(GroupError::CoordinatorNotAvailable),
    };
    HeartbeatResponse {
        throttle_time_ms: 0,
        error_code: error_code::of_result(answer),
    }
}
