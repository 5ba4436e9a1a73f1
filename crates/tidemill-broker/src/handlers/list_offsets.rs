//! ListOffsets, API 2, v1-11: offsets by time, and the first and last ones.

use tidemill_log::{ReadError, Timestamp};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use crate::error_code;
use crate::partition::{LEADER_EPOCH, Partition, check_epoch};
use crate::shared::Context;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const READ_COMMITTED: i8 = 1;

/// A timestamp and an offset; -1 is none.
type Found = (i64, i64);

pub(crate) async fn handle(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = context.shared.topics.find(&asked.name);
        let partitions = asked.partitions.iter().map(|wanted| {
            let partition = topic
                .as_ref()
                .and_then(|topic| topic.partition(wanted.partition_index));
            answer(
                find(
                    partition.map(|p| &**p),
                    wanted,
                    request.isolation_level,
                    context.version,
                ),
                wanted,
            )
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse {
            name: asked.name,
            partitions,
        }
    });
    ListOffsetsResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn answer(found: Result<Found, ErrorCode>, wanted: &ListOffsetsPartition) -> ListOffsetsPartitionResponse {
    let (error_code, (timestamp, offset)) = match found {
        Ok(found) => (ErrorCode::None, found),
        Err(code) => (code, (-1, -1)),
    };
    let leader_epoch = if offset < 0 { -1 } else { LEADER_EPOCH.0 };
    ListOffsetsPartitionResponse {
        partition_index: wanted.partition_index,
        error_code,
        timestamp,
        offset,
        leader_epoch,
    }
}

fn find(
    partition: Option<&Partition>,
    wanted: &ListOffsetsPartition,
    isolation_level: i8,
    version: i16,
) -> Result<Found, ErrorCode> {
    let log = &partition.ok_or(ErrorCode::UnknownTopicOrPartition)?.log;
    check_epoch(wanted.current_leader_epoch)?;
    let end = if isolation_level == READ_COMMITTED {
        log.last_stable_offset()
    } else {
        log.high_watermark()
    };
    // A record is to be found only where the reader may see it.
    let visible = |(timestamp, offset): Found| {
        if offset < end.0 {
            (timestamp, offset)
        } else {
            (-1, -1)
        }
    };
    match wanted.timestamp {
        LATEST => Ok((-1, end.0)),
        EARLIEST => Ok((-1, log.log_start_offset().0)),
        EARLIEST_LOCAL if version >= 8 => Ok((-1, log.log_start_offset().0)),
        // There is no remote tier, so nothing lies on one and nothing waits for one.
        LATEST_TIERED if version >= 9 => Ok((-1, -1)),
        EARLIEST_PENDING_UPLOAD if version >= 11 => Ok((-1, -1)),
        MAX_TIMESTAMP if version >= 7 => found(log.offset_of_max_timestamp()).map(visible),
        timestamp if timestamp >= 0 => found(log.offset_for_timestamp(Timestamp(timestamp))).map(visible),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn found(found: Result<Option<tidemill_log::TimestampedOffset>, ReadError>) -> Result<Found, ErrorCode> {
    let found = found.map_err(|error| error_code::of_read(&error))?;
    Ok(found.map_or((-1, -1), |found| (found.timestamp.0, found.offset.0)))
}
