//! JoinGroup, API 11, v0-9. The answer waits for the other members.

use bytes::Bytes;
use tidemill_coordinator::{Event, GroupError, JoinRefused, JoinRequest, Joined, MemberId, Protocol, Reply};
use tidemill_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use tidemill_protocol::{ErrorCode, KString};
use uuid::Uuid;

use crate::error_code;
use crate::groups::Groups;
use crate::shared::Context;

/// How much of a client's name goes into its member id, which must fit the wire together with the rest.
const NAME_CHARS_MAX: usize = 1_024;

pub(crate) async fn handle(context: Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let group = (&*request.group_id).into();
    let member = MemberId::from(&*request.member_id);
    let join = join_request(&request, &context);
    let answer = match Groups::of(&context.shared)
        .ask(group, |to| Event::Join { request: join, to })
        .await
    {
        Some(Reply::Join(answer)) => answer,
        _ => Err(JoinRefused {
            error: GroupError::CoordinatorNotAvailable,
            member,
        }),
    };
    match answer {
        Ok(joined) => accepted(joined),
        Err(refused) => refusal(&refused, context.version),
    }
}

fn join_request(request: &JoinGroupRequest, context: &Context) -> JoinRequest {
    let name = request.group_instance_id.as_deref().unwrap_or(&context.client_id);
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    // The member outlives the request: copies, so that it does not keep the frame alive.
    let protocols = request.protocols.iter();
    JoinRequest {
        member: MemberId::from(&*request.member_id),
        fresh_member: MemberId::from(format!("{name}-{}", Uuid::new_v4())),
        instance: request.group_instance_id.as_deref().map(Into::into),
        client_id: context.client_id.clone(),
        client_host: format!("/{}", context.client_address),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match context.version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols
            .map(|p| Protocol::new(p.name.to_string(), Bytes::copy_from_slice(&p.metadata)))
            .collect(),
        member_id_required: context.version >= 4,
        skips_assignment: context.version >= 9,
        topics: Groups::of(&context.shared).topics(),
    }
}

fn accepted(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member.as_str().into(),
        group_instance_id: member.instance.map(|instance| instance.as_str().into()),
        metadata: member.metadata,
    });
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::None,
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.map(Into::into),
        protocol_name: joined.protocol.map(Into::into),
        leader: joined.leader.as_str().into(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member.as_str().into(),
        members: members.collect(),
    }
}

fn refusal(refused: &JoinRefused, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: error_code::of_group(refused.error),
        generation_id: -1,
        protocol_type: None,
        // Null only where the version has it.
        protocol_name: (version < 7).then(|| KString::from_static("")),
        leader: KString::from_static(""),
        skip_assignment: false,
        member_id: refused.member.as_str().into(),
        members: Vec::new(),
    }
}
