//! Reading a partition of `__consumer_offsets` back, after any end of the broker.

use tidemill_coordinator::{Coordinator, Timestamp};
use tidemill_log::{DiskError, FirstBatch, Log, Offset, ReadError, ReadUpTo};
use tidemill_protocol::batch::{BatchError, Batches};

/// How much of the log is in memory at a time.
const READ_BYTES: usize = 1 << 20;
/// The most that one batch may unpack to: a log written by another broker may be compressed.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Why a partition could not be read back.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// Feeds all records of the log to the coordinator.
pub(super) fn replay(log: &Log, now: Timestamp, coordinator: &mut Coordinator) -> Result<(), LoadError> {
    let mut from = log.log_start_offset();
    let end = log.high_watermark();
    while from < end {
        let fetched = log.read(from, ReadUpTo::HighWatermark, READ_BYTES, FirstBatch::Always)?;
        let mut next = from;
        for bytes in fetched.into_bytes()? {
            replay_batches(log, &bytes, now, coordinator, &mut next)?;
        }
        if next == from {
            // Nothing is left, though the log says otherwise; an endless loop would help nobody.
            break;
        }
        from = next;
    }
    Ok(())
}

fn replay_batches(
    log: &Log,
    bytes: &[u8],
    now: Timestamp,
    coordinator: &mut Coordinator,
    next: &mut Offset,
) -> Result<(), LoadError> {
    for batch in Batches::new(bytes) {
        let batch = batch?;
        *next = Offset(batch.header().next_offset());
        let attributes = batch.header().attributes;
        if attributes.is_control() {
            continue;
        }
        if attributes.is_transactional() {
            // Whether it was committed is not known here: no offset is better than one that was rolled back.
            tracing::warn!(partition = %log.topic_partition(), offset = batch.header().base_offset,
                "offsets of a transaction are skipped");
            continue;
        }
        let payload = batch.payload(BATCH_BYTES_MAX)?;
        for record in batch.records(&payload) {
            let record = record?;
            if let Err(error) = coordinator.replay(now, record.key, record.value) {
                tracing::warn!(partition = %log.topic_partition(), offset = record.offset, %error,
                    "a record of a group is skipped");
            }
        }
    }
    Ok(())
}
