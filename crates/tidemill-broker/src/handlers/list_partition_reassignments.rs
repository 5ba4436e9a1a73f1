//! ListPartitionReassignments, API 46, v0: with one broker nothing is ever on its way to another.

use tidemill_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::shared::Context;

pub(crate) async fn handle(
    _context: Context,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
