//! Reading a coordinator's partition back, after any end of the broker.

use tidemill_coordinator::{Outcome, ProducerId, RecordError};
use tidemill_log::{DiskError, FirstBatch, Log, Offset, ReadError, ReadUpTo};
use tidemill_protocol::batch::{Batch, BatchError, Batches};

use crate::markers;

/// How much of the log is in memory at a time.
const READ_BYTES: usize = 1 << 20;
/// The most that one batch may unpack to: a log written by another broker may be compressed.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Why a partition could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBackError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// What is found in the partition, oldest first.
pub(crate) enum Found<'a> {
    Record {
        /// Whose transaction it is part of.
        transaction: Option<ProducerId>,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    },
    /// A transaction's end.
    Marker { producer: ProducerId, outcome: Outcome },
}

/// Hands everything in the log to `take`; a record that it cannot use is told and skipped.
pub(crate) fn read_back(
    log: &Log,
    mut take: impl FnMut(Found<'_>) -> Result<(), RecordError>,
) -> Result<(), ReadBackError> {
    let mut from = log.log_start_offset();
    let end = log.high_watermark();
    while from < end {
        let fetched = log.read(from, ReadUpTo::HighWatermark, READ_BYTES, FirstBatch::Always)?;
        let mut next = from;
        for bytes in fetched.into_bytes()? {
            for batch in Batches::new(&bytes) {
                let batch = batch?;
                next = Offset(batch.header().next_offset());
                read_batch(log, &batch, &mut take)?;
            }
        }
        if next == from {
            // Nothing is left, though the log says otherwise; an endless loop would help nobody.
            break;
        }
        from = next;
    }
    Ok(())
}

fn read_batch(
    log: &Log,
    batch: &Batch<'_>,
    take: &mut impl FnMut(Found<'_>) -> Result<(), RecordError>,
) -> Result<(), BatchError> {
    let attributes = batch.header().attributes;
    let producer = ProducerId(batch.header().producer_id);
    let payload = batch.payload(BATCH_BYTES_MAX)?;
    for record in batch.records(&payload) {
        let record = record?;
        let found = if attributes.is_control() {
            match record.key.and_then(markers::outcome_of) {
                Some(outcome) => Found::Marker { producer, outcome },
                None => continue,
            }
        } else {
            Found::Record {
                transaction: attributes.is_transactional().then_some(producer),
                key: record.key,
                value: record.value,
            }
        };
        if let Err(error) = take(found) {
            tracing::warn!(partition = %log.topic_partition(), offset = record.offset, %error,
                "a coordinator's record is skipped");
        }
    }
    Ok(())
}
