//! DeleteRecords, API 21, v0-2: hides the oldest records. Kafka Streams empties its repartition topics with it.

use tidemill_log::{DeleteError, Offset};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use crate::partition::Partition;
use crate::shared::Context;

/// The offset that means everything there is.
const HIGH_WATERMARK: i64 = -1;

pub(crate) fn handle(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = context.shared.topics.find(&asked.name);
        let partitions = asked.partitions.iter().map(|wanted| {
            let partition = topic
                .as_ref()
                .and_then(|topic| topic.partition(wanted.partition_index));
            let (low_watermark, error_code) =
                match delete(partition.map(|partition| &**partition), wanted.offset) {
                    Ok(start) => (start.0, ErrorCode::None),
                    Err(code) => (-1, code),
                };
            DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark,
                error_code,
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult {
            name: asked.name,
            partitions,
        }
    });
    let mut topics: Vec<DeleteRecordsTopicResult> = topics.collect();
    // The log starts are written down before the answer: what is told to be gone must not come back after a crash.
    if let Err(error) = context.shared.dirs.checkpoint() {
        tracing::error!(%error, "log starts were not written");
        let deleted = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in deleted.filter(|partition| partition.error_code.is_ok()) {
            (partition.low_watermark, partition.error_code) = (-1, ErrorCode::KafkaStorageError);
        }
    }
    DeleteRecordsResponse {
        topics,
        ..Default::default()
    }
}

fn delete(partition: Option<&Partition>, offset: i64) -> Result<Offset, ErrorCode> {
    let log = &partition.ok_or(ErrorCode::UnknownTopicOrPartition)?.log;
    if offset < HIGH_WATERMARK {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let to = if offset == HIGH_WATERMARK {
        log.high_watermark()
    } else {
        Offset(offset)
    };
    log.delete_before(to).map_err(|error| match error {
        DeleteError::AboveHighWatermark { .. } => ErrorCode::OffsetOutOfRange,
        _ => ErrorCode::KafkaStorageError,
    })
}
