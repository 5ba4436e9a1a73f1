//! What must hold of batches before they may enter a log, as far as their headers and lengths tell.

use bytes::Bytes;
use tidemill_protocol::batch::{self as wire, Batch, BatchError, Batches};

use crate::batch::BatchHeader;
use crate::config::{LogConfig, TimestampType};
use crate::disk::DiskError;
use crate::producer_state::{ProducerError, TransactionGuard};
use crate::records;
use crate::types::{LeaderEpoch, Timestamp};

/// Who hands in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's Produce request: everything is checked.
    Client,
    /// A client's Produce request in a transaction that was found to be open.
    Transaction(TransactionGuard),
    /// This broker's own coordinators: they may write markers, and producers' batches without sequences.
    Coordinator,
}

/// The circumstances of an append.
#[derive(Debug, Clone, Copy)]
pub struct Append {
    /// The epoch of this broker's leadership.
    pub leader_epoch: LeaderEpoch,
    /// The wall clock.
    pub now: Timestamp,
    /// Who hands the batches in.
    pub origin: Origin,
}

/// Why batches were not appended. Nothing of them is in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The bytes are damaged or no batches.
    #[error("corrupt batch: {0}")]
    Corrupt(BatchError),
    /// The bytes are whole but not acceptable.
    #[error("invalid batch: {0}")]
    Invalid(#[from] InvalidBatch),
    /// A batch is larger than `max.message.bytes`, or all together larger than a segment.
    #[error("{size} bytes, at most {max} are allowed")]
    TooLarge {
        /// What came.
        size: usize,
        /// What is allowed.
        max: usize,
    },
    /// A record's time is too far from the wall clock.
    #[error("timestamp {timestamp} is too far from {now}")]
    TimestampOutOfRange {
        /// The record's.
        timestamp: Timestamp,
        /// The wall clock.
        now: Timestamp,
    },
    /// The producer's epoch or sequence does not fit.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The log is read-only after a failed write or sync.
    #[error("the log is read-only after a failed write or sync")]
    Poisoned,
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What makes a whole batch unacceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// Its header is not one a producer writes, or its records contradict it.
    #[error(transparent)]
    Content(#[from] BatchError),
    /// There is nothing to append.
    #[error("no records")]
    Empty,
    /// A client sends one batch for a partition, and so does whoever writes for a producer.
    #[error("{0} batches where one is allowed")]
    Several(usize),
    /// A control batch that is no transaction marker.
    #[error("a control batch that is no marker")]
    Marker,
    /// Only the broker stamps with append time.
    #[error("a client's batch with append time")]
    LogAppendTime,
    /// A compacted topic needs keys.
    #[error("record {0} has no key, which a compacted topic needs")]
    NullKey(usize),
}

/// A batch that passed.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
}

/// Cuts `batches` into batches and checks each.
pub(crate) fn check(
    batches: &Bytes,
    append: &Append,
    config: &LogConfig,
) -> Result<Vec<Checked>, AppendError> {
    let max = config.segment_bytes as usize;
    if batches.len() > max {
        return Err(AppendError::TooLarge {
            size: batches.len(),
            max,
        });
    }
    let mut checked = Vec::with_capacity(1);
    for batch in Batches::new(batches) {
        let batch = batch.map_err(AppendError::Corrupt)?;
        check_batch(&batch, append, config)?;
        checked.push(Checked {
            header: batch.header().into(),
            bytes: batches.slice_ref(batch.bytes()),
        });
    }
    let of_producer = checked.iter().any(|batch| batch.header.producer.is_some());
    match checked.len() {
        0 => Err(InvalidBatch::Empty.into()),
        1 => Ok(checked),
        several if of_producer || append.origin != Origin::Coordinator => {
            Err(InvalidBatch::Several(several).into())
        }
        _ => Ok(checked),
    }
}

fn check_batch(batch: &Batch<'_>, append: &Append, config: &LogConfig) -> Result<(), AppendError> {
    let (size, max) = (batch.bytes().len(), config.max_message_bytes as usize);
    if size > max {
        return Err(AppendError::TooLarge { size, max });
    }
    batch.check_crc().map_err(AppendError::Corrupt)?;
    check_content(batch, append.origin, config)?;
    check_timestamps(&batch.header().into(), append.now, config)
}

fn check_content(batch: &Batch<'_>, origin: Origin, config: &LogConfig) -> Result<(), InvalidBatch> {
    let header = batch.header();
    match header.check_produced() {
        Err(BatchError::Control) if origin == Origin::Coordinator => {
            return records::marker(batch.bytes())
                .map(drop)
                .ok_or(InvalidBatch::Marker);
        }
        checked => checked?,
    }
    if origin != Origin::Coordinator
        && header.attributes.timestamp_type() == wire::TimestampType::LogAppendTime
    {
        return Err(InvalidBatch::LogAppendTime);
    }
    if config.cleanup_policy.compacts() {
        records::check_keys(batch)
    } else {
        Ok(batch.check_lengths()?)
    }
}

fn check_timestamps(header: &BatchHeader, now: Timestamp, config: &LogConfig) -> Result<(), AppendError> {
    if config.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let out_of_range = |timestamp| Err(AppendError::TimestampOutOfRange { timestamp, now });
    let (oldest, newest) = (header.base_timestamp, header.max_timestamp);
    if newest > Timestamp::NONE && newest.since(now) > config.timestamp_after_max_ms {
        return out_of_range(newest);
    }
    if oldest > Timestamp::NONE && now.since(oldest) > config.timestamp_before_max_ms {
        return out_of_range(oldest);
    }
    Ok(())
}
