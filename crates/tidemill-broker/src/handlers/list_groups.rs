//! ListGroups, API 16, v0-5: v4 filters by state, v5 by type.

use tidemill_coordinator::GroupFilter;
use tidemill_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use tidemill_protocol::{ErrorCode, KString};

use crate::groups::{Gone, Groups};
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let filter = GroupFilter {
        states: request.states_filter.iter().map(ToString::to_string).collect(),
        types: request.types_filter.iter().map(ToString::to_string).collect(),
    };
    let (error_code, listed) = match Groups::of(&context.shared).list(&filter).await {
        Ok(listed) => (ErrorCode::None, listed),
        Err(Gone) => (ErrorCode::CoordinatorNotAvailable, Vec::new()),
    };
    let groups = listed.into_iter().map(|group| ListedGroup {
        group_id: group.group.as_str().into(),
        protocol_type: group.protocol_type.into(),
        group_state: KString::from_static(group.phase.as_str()),
        group_type: KString::from_static(group.kind),
    });
    ListGroupsResponse {
        throttle_time_ms: 0,
        error_code,
        groups: groups.collect(),
    }
}
