//! InitProducerId, API 22, v0-5: an id and epoch for an idempotent or transactional producer.

use tidemill_coordinator::{InitRequest, Producer, TransactionError};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::error_code::{self, Fencing};
use crate::shared::Context;
use crate::transactions::Transactions;

/// The first version whose clients know PRODUCER_FENCED; those before it know the older INVALID_PRODUCER_EPOCH.
const FENCED_FROM: i16 = 4;

pub(crate) async fn handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match init(&context, request).await {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.id.0,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(error_code) => InitProducerIdResponse {
            error_code,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn init(context: &Context, request: InitProducerIdRequest) -> Result<Producer, ErrorCode> {
    let Some(id) = request.transactional_id else {
        return idempotent(context).await;
    };
    // An id without an epoch, or the other way round, is nobody.
    if id.is_empty() || (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    let was = Producer::new(request.producer_id, request.producer_epoch);
    let asked = InitRequest {
        timeout_ms: request.transaction_timeout_ms,
        was: Some(was).filter(|was| was.epoch != -1),
    };
    let answer = Transactions::of(&context.shared).init((&*id).into(), asked).await;
    answer.map_err(|error: TransactionError| {
        error_code::of_transaction(error, Fencing::known_from(FENCED_FROM, context.version))
    })
}

/// An idempotent producer that lost track asks with its old id and gets a new one: that is all its epoch is for.
async fn idempotent(context: &Context) -> Result<Producer, ErrorCode> {
    let shared = context.shared.clone();
    let next = tokio::task::spawn_blocking(move || shared.producer_ids.next(&shared.topics));
    match next.await {
        Ok(Ok(id)) => Ok(Producer::new(id, 0)),
        Ok(Err(error)) => {
            tracing::error!(%error, "no producer id could be given out");
            Err(error_code::of_topic(&error))
        }
        Err(_) => Err(ErrorCode::UnknownServerError),
    }
}
