//! EndTxn, API 26, v0-5: commit or abort. From v5 on each transaction has an epoch of its own (KIP-890), and the answer
//! says which is next.

use tidemill_coordinator::{ClientProtocol, Outcome, Producer};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};

use crate::error_code::{self, Fencing};
use crate::shared::Context;
use crate::transactions::Transactions;

const FENCED_FROM: i16 = 2;
const EPOCH_PER_TRANSACTION_FROM: i16 = 5;

pub(crate) async fn handle(context: Context, request: EndTxnRequest) -> EndTxnResponse {
    match end(&context, request).await {
        Ok(producer) => EndTxnResponse {
            producer_id: producer.id.0,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(error_code) => EndTxnResponse {
            error_code,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn end(context: &Context, request: EndTxnRequest) -> Result<Producer, ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let outcome = if request.committed {
        Outcome::Commit
    } else {
        Outcome::Abort
    };
    let protocol = if context.version >= EPOCH_PER_TRANSACTION_FROM {
        ClientProtocol::EpochPerTransaction
    } else {
        ClientProtocol::Classic
    };
    let producer = Producer::new(request.producer_id, request.producer_epoch);
    let ended = Transactions::of(&context.shared)
        .end((&*request.transactional_id).into(), producer, outcome, protocol)
        .await;
    ended
        .map_err(|error| error_code::of_transaction(error, Fencing::known_from(FENCED_FROM, context.version)))
}
