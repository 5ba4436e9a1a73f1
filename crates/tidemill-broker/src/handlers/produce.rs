//! Produce, API 0, v3-13: batches into partitions. Differs from Kafka: compressed batches are not looked into unless
//! their topic is compacted (the log checks headers, lengths and CRC of all of them).

use bytes::Bytes;
use tidemill_coordinator::{ClientProtocol, Producer, TransactionError, TransactionalId};
use tidemill_log::{AppendError, InvalidBatch, Origin, ProducerEpoch, ProducerId, Timestamp};
use tidemill_protocol::batch::{BatchHeader, Batches};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::clock;
use crate::error_code::{self, Fencing};
use crate::partition::Partition;
use crate::shared::Context;
use crate::topics::Topic;
use crate::transactions::Transactions;

/// The first version whose clients may send zstd.
const ZSTD_FROM: i16 = 7;
/// The first version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;
/// The first version that names topics by their ids.
const IDS_FROM: i16 = 13;
/// The first version that makes a partition part of the transaction by writing to it.
const ADDS_FROM: i16 = 12;

pub(crate) async fn handle(context: Context, request: ProduceRequest) -> ProduceResponse {
    let refused = check_request(&request);
    let transactional_id = request.transactional_id.as_deref().map(TransactionalId::from);
    let now = clock::now();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let (topic, unknown) = match context.version {
            IDS_FROM.. => (
                context.shared.topics.find_id(data.topic_id),
                ErrorCode::UnknownTopicId,
            ),
            _ => (
                context.shared.topics.find(&data.name),
                ErrorCode::UnknownTopicOrPartition,
            ),
        };
        let refused = refused.or(topic.is_none().then_some(unknown));
        let mut partition_responses = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            partition_responses.push(match refused {
                Some(code) => failed(partition.index, code, None),
                None => {
                    append(
                        &context,
                        topic.as_deref(),
                        partition,
                        transactional_id.as_ref(),
                        now,
                    )
                    .await
                }
            });
        }
        responses.push(TopicProduceResponse {
            name: data.name,
            topic_id: data.topic_id,
            partition_responses,
        });
    }
    ProduceResponse {
        responses,
        ..Default::default()
    }
}

/// What is wrong with the request as a whole.
fn check_request(request: &ProduceRequest) -> Option<ErrorCode> {
    (!matches!(request.acks, -1..=1)).then_some(ErrorCode::InvalidRequiredAcks)
}

async fn append(
    context: &Context,
    topic: Option<&Topic>,
    data: PartitionProduceData,
    transactional_id: Option<&TransactionalId>,
    now: Timestamp,
) -> PartitionProduceResponse {
    let version = context.version;
    let index = data.index;
    let Some((topic, partition)) = topic.and_then(|topic| Some((topic, topic.partition(index)?))) else {
        return failed(index, ErrorCode::UnknownTopicOrPartition, None);
    };
    if topic.is_internal() {
        return failed(
            index,
            ErrorCode::InvalidTopicException,
            Some("Only the broker writes to internal topics.".into()),
        );
    }
    let records = data
        .records
        .map(|records| records.into_bytes())
        .unwrap_or_default();
    if version < ZSTD_FROM && has_zstd(&records) {
        let message = "Produce requests below version 7 may not use zstd.";
        return failed(index, ErrorCode::UnsupportedCompressionType, Some(message.into()));
    }
    let origin = match origin(context, partition, &records, transactional_id).await {
        Ok(origin) => origin,
        Err(code) => return failed(index, code, None),
    };
    match partition.append(records, origin, now).await {
        Ok(appended) => PartitionProduceResponse {
            index,
            error_code: ErrorCode::None,
            base_offset: appended.base_offset.0,
            log_append_time_ms: appended.log_append_time.map_or(-1, |time| time.0),
            log_start_offset: appended.log_start_offset.0,
            ..Default::default()
        },
        Err(error) => refused(topic, index, &error, version),
    }
}

/// What vouches for the records: nothing where they belong to no transaction, else that it is open. What of a
/// transaction comes first to a partition is checked with the coordinator (KIP-890), or from v12 on told to it.
async fn origin(
    context: &Context,
    partition: &Partition,
    records: &Bytes,
    transactional_id: Option<&TransactionalId>,
) -> Result<Origin, ErrorCode> {
    // A batch that cannot be read is the log's to refuse.
    let Ok(header) = BatchHeader::parse(records) else {
        return Ok(Origin::Client);
    };
    if !header.attributes.is_transactional() {
        return Ok(Origin::Client);
    }
    let id = transactional_id.ok_or(ErrorCode::TransactionalIdAuthorizationFailed)?;
    // Taken before the question: what ends the transaction after the answer makes the append fail.
    let guard = partition.log.transaction_guard(ProducerId(header.producer_id));
    if !guard.is_open(ProducerEpoch(header.producer_epoch)) {
        let producer = Producer::new(header.producer_id, header.producer_epoch);
        let name = partition.log.topic_partition();
        let at = (name.topic.as_str().into(), name.partition);
        let transactions = Transactions::of(&context.shared);
        let part_of_it = if context.version >= ADDS_FROM {
            let protocol = ClientProtocol::EpochPerTransaction;
            transactions.add(id.clone(), producer, vec![at], protocol).await
        } else {
            transactions.verify(id.clone(), producer, at).await
        };
        part_of_it.map_err(|error| code_of_transaction(error, context.version))?;
    }
    Ok(Origin::Transaction(guard))
}

/// Producers know fencing by the epoch here, and what can be tried again as too few replicas.
fn code_of_transaction(error: TransactionError, version: i16) -> ErrorCode {
    match error {
        TransactionError::ConcurrentTransactions if version >= ADDS_FROM => ErrorCode::ConcurrentTransactions,
        TransactionError::ConcurrentTransactions
        | TransactionError::CoordinatorNotAvailable
        | TransactionError::NotCoordinator => ErrorCode::NotEnoughReplicas,
        TransactionError::NotInTransaction if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        error => error_code::of_transaction(error, Fencing::ByEpoch),
    }
}

fn has_zstd(records: &Bytes) -> bool {
    // A batch that cannot be read is the log's to refuse.
    Batches::new(records)
        .map_while(Result::ok)
        .any(|batch| batch.header().attributes.compression() == Ok(Compression::Zstd))
}

fn refused(topic: &Topic, index: i32, error: &AppendError, version: i16) -> PartitionProduceResponse {
    let code = match error_code::of_append(error) {
        ErrorCode::InvalidTxnState if version >= ABORTABLE_FROM => ErrorCode::TransactionAbortable,
        code => code,
    };
    if code == ErrorCode::KafkaStorageError {
        tracing::error!(topic = topic.name, partition = index, %error, "records were not written");
    } else {
        tracing::debug!(topic = topic.name, partition = index, %error, "records were refused");
    }
    let mut response = failed(index, code, Some(error.to_string().into()));
    if let AppendError::Invalid(InvalidBatch::NullKey(record)) = error {
        response.record_errors.push(BatchIndexAndErrorMessage {
            batch_index: i32::try_from(*record).unwrap_or(i32::MAX),
            batch_index_error_message: Some("Compacted topic cannot accept message without key.".into()),
        });
    }
    response
}

fn failed(index: i32, error_code: ErrorCode, error_message: Option<KString>) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code,
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message,
        ..Default::default()
    }
}
