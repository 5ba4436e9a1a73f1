//! DeleteGroups, API 42, v0-2.

use tidemill_coordinator::{Event, GroupError, Reply};
use tidemill_protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use crate::error_code;
use crate::groups::Groups;
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let groups = Groups::of(&context.shared);
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let answer = match groups.ask((&*group).into(), |to| Event::Delete { to }).await {
            Some(Reply::Delete(answer)) => answer,
            _ => Err(GroupError::CoordinatorNotAvailable),
        };
        results.push(DeletableGroupResult {
            group_id: group,
            error_code: error_code::of_result(answer),
        });
    }
    DeleteGroupsResponse {
        throttle_time_ms: 0,
        results,
    }
}
