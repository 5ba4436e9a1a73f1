//! AddOffsetsToTxn, API 25, v0-4: a group's offsets become part of a transaction.

use tidemill_coordinator::{ClientProtocol, GroupId, Producer};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::error_code::{self, Fencing};
use crate::groups::Groups;
use crate::shared::Context;
use crate::topics::CONSUMER_OFFSETS;
use crate::transactions::Transactions;

const FENCED_FROM: i16 = 2;

pub(crate) async fn handle(context: Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let error_code = add(&context, request).await.err().unwrap_or(ErrorCode::None);
    AddOffsetsToTxnResponse {
        error_code,
        ..Default::default()
    }
}

async fn add(context: &Context, request: AddOffsetsToTxnRequest) -> Result<(), ErrorCode> {
    if request.transactional_id.is_empty() || request.group_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let group = GroupId::from(&*request.group_id);
    let partition = Groups::of(&context.shared)
        .partition_made(&group)
        .await
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let partition = partition.log.topic_partition().partition;
    let added = Transactions::of(&context.shared)
        .add(
            (&*request.transactional_id).into(),
            Producer::new(request.producer_id, request.producer_epoch),
            vec![(CONSUMER_OFFSETS.into(), partition)],
            ClientProtocol::Classic,
        )
        .await;
    added
        .map_err(|error| error_code::of_transaction(error, Fencing::known_from(FENCED_FROM, context.version)))
}
