//! InitProducerId, API 22, v0-5: an id for an idempotent producer. Differs from Kafka: no transactions yet.

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::error_code;
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let failed = |error_code| InitProducerIdResponse {
        error_code,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    if let Some(id) = request.transactional_id {
        tracing::info!(transactional_id = %id, "a transactional producer was refused: there are no transactions yet");
        return failed(if id.is_empty() {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::UnsupportedVersion
        });
    }
    // An idempotent producer that lost track asks with its old id and gets a new one: that is all its epoch is for.
    match context.shared.producer_ids.next(&context.shared.topics) {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..Default::default()
        },
        Err(error) => {
            tracing::error!(%error, "no producer id could be given out");
            failed(error_code::of_topic(&error))
        }
    }
}
