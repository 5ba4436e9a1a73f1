//! As much of the records as a log must know: what a marker says, that keys are there, and which record has a time.

use tidemill_protocol::batch::{Batch, BatchError};

use crate::producer_state::Marker;
use crate::types::{Offset, Timestamp};
use crate::validation::InvalidBatch;

/// The most a batch may grow when decompressed here: as much as a request may have.
pub(crate) const UNCOMPRESSED_BYTES_MAX: usize = 100 << 20;

const CONTROL_ABORT: i16 = 0;
const CONTROL_COMMIT: i16 = 1;

/// Reads a control batch's one record: `None` when it is no transaction marker.
pub(crate) fn marker(batch: &[u8]) -> Option<Marker> {
    let batch = Batch::parse(batch).ok()?;
    let payload = batch.payload(UNCOMPRESSED_BYTES_MAX).ok()?;
    let record = batch.records(&payload).next()?.ok()?;
    // Key: version i16, type i16. Value: version i16, coordinator epoch i32.
    let kind = i16::from_be_bytes(*record.key?.get(2..)?.first_chunk()?);
    let coordinator_epoch = i32::from_be_bytes(*record.value?.get(2..)?.first_chunk()?);
    match kind {
        CONTROL_COMMIT => Some(Marker {
            committed: true,
            coordinator_epoch,
        }),
        CONTROL_ABORT => Some(Marker {
            committed: false,
            coordinator_epoch,
        }),
        _ => None,
    }
}

/// Checks that every record has a key, as a compacted topic needs.
pub(crate) fn check_keys(batch: &Batch<'_>) -> Result<(), InvalidBatch> {
    let payload = batch.payload(UNCOMPRESSED_BYTES_MAX)?;
    for (index, record) in batch.records(&payload).enumerate() {
        if record?.key.is_none() {
            return Err(InvalidBatch::NullKey(index));
        }
    }
    Ok(())
}

/// The first record of `batch` that is neither older than `timestamp` nor before `start`.
pub(crate) fn first_at(
    batch: &[u8],
    timestamp: Timestamp,
    start: Offset,
) -> Result<Option<(Timestamp, Offset)>, BatchError> {
    let batch = Batch::parse(batch)?;
    let payload = batch.payload(UNCOMPRESSED_BYTES_MAX)?;
    for record in batch.records(&payload) {
        let record = record?;
        let (time, offset) = (Timestamp(record.timestamp), Offset(record.offset));
        if time >= timestamp && offset >= start {
            return Ok(Some((time, offset)));
        }
    }
    Ok(None)
}
