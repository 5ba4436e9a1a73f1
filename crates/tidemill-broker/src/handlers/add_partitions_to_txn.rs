//! AddPartitionsToTxn, API 24, v0-5: what a transaction writes to. v4 and later carry several transactions, and may only
//! ask whether the partitions are part of them.

use tidemill_coordinator::{ClientProtocol, Producer, TransactionPartition};
use tidemill_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::error_code::{self, Fencing};
use crate::shared::Context;
use crate::transactions::Transactions;

const FENCED_FROM: i16 = 2;
const BATCHED_FROM: i16 = 4;

pub(crate) async fn handle(
    context: Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if context.version < BATCHED_FROM {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: add(&context, &transaction).await,
            ..Default::default()
        };
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for transaction in &request.transactions {
        results.push(AddPartitionsToTxnResult {
            transactional_id: transaction.transactional_id.clone(),
            topic_results: add(&context, transaction).await,
        });
    }
    AddPartitionsToTxnResponse {
        results_by_transaction: results,
        ..Default::default()
    }
}

async fn add(
    context: &Context,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = &transaction.topics;
    if transaction.transactional_id.is_empty() {
        return answer(topics, |_, _| ErrorCode::InvalidRequest);
    }
    let missing = |topic: &KString, partition: i32| {
        let found = context.shared.topics.find(topic);
        // What only coordinators write to is part of no client's transaction; groups' offsets come by AddOffsetsToTxn.
        if found.as_ref().is_some_and(|topic| topic.is_internal()) {
            return Some(ErrorCode::TopicAuthorizationFailed);
        }
        let known = found.is_some_and(|topic| topic.partition(partition).is_some());
        (!known).then_some(ErrorCode::UnknownTopicOrPartition)
    };
    let all = || {
        topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |at| (&topic.name, *at)))
    };
    // All of them become part of the transaction, or none.
    if all().any(|(topic, partition)| missing(topic, partition).is_some()) {
        return answer(topics, |topic, partition| {
            missing(topic, partition).unwrap_or(ErrorCode::OperationNotAttempted)
        });
    }
    let partitions: Vec<TransactionPartition> = all().map(|(topic, at)| ((&**topic).into(), at)).collect();
    let fencing = Fencing::known_from(FENCED_FROM, context.version);
    let producer = Producer::new(transaction.producer_id, transaction.producer_epoch);
    let id = (&*transaction.transactional_id).into();
    let transactions = Transactions::of(&context.shared);
    if transaction.verify_only {
        let mut codes = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let verified = transactions
                .verify((&*transaction.transactional_id).into(), producer, partition)
                .await;
            codes
                .push(verified.map_or_else(|e| error_code::of_transaction(e, fencing), |()| ErrorCode::None));
        }
        let mut codes = codes.into_iter();
        return answer(topics, |_, _| {
            codes.next().unwrap_or(ErrorCode::UnknownServerError)
        });
    }
    let added = transactions
        .add(id, producer, partitions, ClientProtocol::Classic)
        .await;
    let code = added.map_or_else(|e| error_code::of_transaction(e, fencing), |()| ErrorCode::None);
    answer(topics, |_, _| code)
}

fn answer(
    topics: &[AddPartitionsToTxnTopic],
    mut code_of: impl FnMut(&KString, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut results = Vec::with_capacity(topics.len());
    for topic in topics {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| AddPartitionsToTxnPartitionResult {
                partition_index: *partition,
                partition_error_code: code_of(&topic.name, *partition),
            });
        results.push(AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: partitions.collect(),
        });
    }
    results
}
