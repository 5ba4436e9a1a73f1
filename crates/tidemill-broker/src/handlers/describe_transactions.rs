//! DescribeTransactions, API 65, v0.

use tidemill_coordinator::{TransactionMetadata, TransactionPhase};
use tidemill_protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::shared::Context;
use crate::transactions::{Gone, Transactions};

pub(crate) async fn handle(
    context: Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let transactions = Transactions::of(&context.shared);
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    for id in &request.transactional_ids {
        let described = if id.is_empty() {
            Err(ErrorCode::InvalidRequest)
        } else {
            match transactions.describe((&**id).into()).await {
                Ok(Some(metadata)) => Ok(metadata),
                Ok(None) => Err(ErrorCode::TransactionalIdNotFound),
                Err(Gone) => Err(ErrorCode::CoordinatorNotAvailable),
            }
        };
        transaction_states.push(match described {
            Ok(metadata) => state(id, &metadata),
            Err(error_code) => TransactionState {
                error_code,
                transactional_id: id.clone(),
                transaction_start_time_ms: -1,
                producer_id: -1,
                producer_epoch: -1,
                ..Default::default()
            },
        });
    }
    DescribeTransactionsResponse {
        transaction_states,
        ..Default::default()
    }
}

fn state(id: &KString, metadata: &TransactionMetadata) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for (topic, partition) in &metadata.partitions {
        // Sorted by topic, so that all of one stand together.
        match topics.last_mut().filter(|last| *last.topic == *topic.as_str()) {
            Some(last) => last.partitions.push(*partition),
            None => topics.push(TopicData {
                topic: topic.as_str().into(),
                partitions: vec![*partition],
            }),
        }
    }
    let running = matches!(
        metadata.phase,
        TransactionPhase::Ongoing | TransactionPhase::PrepareCommit | TransactionPhase::PrepareAbort
    );
    TransactionState {
        error_code: ErrorCode::None,
        transactional_id: id.clone(),
        transaction_state: metadata.phase.as_str().into(),
        transaction_timeout_ms: metadata.timeout_ms,
        transaction_start_time_ms: metadata.started_at.filter(|_| running).map_or(-1, |at| at.0),
        producer_id: metadata.producer.id.0,
        producer_epoch: metadata.producer.epoch,
        topics,
    }
}
