//! Produce, API 0, v3-12: batches into partitions. Differs from Kafka: compressed batches are not looked into unless
//! their topic is compacted (the log checks headers, lengths and CRC of all of them).

use bytes::Bytes;
use tidemill_log::{AppendError, InvalidBatch, Origin, Timestamp};
use tidemill_protocol::batch::Batches;
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::clock;
use crate::error_code;
use crate::shared::Context;
use crate::topics::Topic;

/// The first version whose clients may send zstd.
const ZSTD_FROM: i16 = 7;

pub(crate) async fn handle(context: Context, request: ProduceRequest) -> ProduceResponse {
    let refused = check_request(&request);
    let now = clock::now();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let topic = context.shared.topics.find(&data.name);
        let mut partition_responses = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            partition_responses.push(match refused {
                Some(code) => failed(partition.index, code, None),
                None => append(topic.as_deref(), partition, context.version, now).await,
            });
        }
        responses.push(TopicProduceResponse {
            name: data.name,
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
    if !matches!(request.acks, -1..=1) {
        return Some(ErrorCode::InvalidRequiredAcks);
    }
    // No transactional id was ever given out, so no producer can own one.
    request
        .transactional_id
        .as_ref()
        .map(|_| ErrorCode::InvalidProducerIdMapping)
}

async fn append(
    topic: Option<&Topic>,
    data: PartitionProduceData,
    version: i16,
    now: Timestamp,
) -> PartitionProduceResponse {
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
    match partition.append(records, Origin::Client, now).await {
        Ok(appended) => PartitionProduceResponse {
            index,
            error_code: ErrorCode::None,
            base_offset: appended.base_offset.0,
            log_append_time_ms: appended.log_append_time.map_or(-1, |time| time.0),
            log_start_offset: appended.log_start_offset.0,
            ..Default::default()
        },
        Err(error) => refused(topic, index, &error),
    }
}

fn has_zstd(records: &Bytes) -> bool {
    // A batch that cannot be read is the log's to refuse.
    Batches::new(records)
        .map_while(Result::ok)
        .any(|batch| batch.header().attributes.compression() == Ok(Compression::Zstd))
}

fn refused(topic: &Topic, index: i32, error: &AppendError) -> PartitionProduceResponse {
    let code = error_code::of_append(error);
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
