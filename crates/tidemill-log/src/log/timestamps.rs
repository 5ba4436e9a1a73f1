//! Offsets by time.

use std::sync::Arc;

use super::{Log, ReadError, guard};
use crate::records;
use crate::segment::{Located, Segment};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// The record's time.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
    /// The epoch that wrote it.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Log {
    /// The first record that is not older than `timestamp`.
    pub fn offset_for_timestamp(&self, timestamp: Timestamp) -> Result<Option<TimestampedOffset>, ReadError> {
        self.with_segments(|segments| self.find_in(segments, timestamp))
    }

    fn find_in(
        &self,
        segments: &[Arc<Segment>],
        timestamp: Timestamp,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let mut from = self.log_start_offset();
        for segment in segments {
            if segment.size() == 0 || segment.max_timestamp()? < timestamp {
                continue;
            }
            while let Some(batch) = segment.find_time(timestamp, from)? {
                if let Some(found) = self.record_in(segment, &batch, timestamp, from)? {
                    return Ok(Some(found));
                }
                // The record that made the batch this new lies before the log's start.
                from = batch.header.next_offset();
            }
        }
        Ok(None)
    }

    /// The first record with the largest time in the log.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>, ReadError> {
        let newest = self.with_segments(|segments| {
            segments.iter().try_fold(Timestamp::NONE, |newest, segment| {
                Ok(newest.max(segment.max_timestamp()?))
            })
        })?;
        if newest == Timestamp::NONE {
            Ok(None)
        } else {
            self.offset_for_timestamp(newest)
        }
    }

    /// The first record of `batch` that is neither older than `timestamp` nor before `start`.
    fn record_in(
        &self,
        segment: &Segment,
        batch: &Located,
        timestamp: Timestamp,
        start: Offset,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let header = &batch.header;
        let found = if header.is_log_append_time() {
            Some((header.max_timestamp, header.base_offset.max(start)))
        } else {
            let bytes = segment.read_batch(batch)?;
            records::first_at(&bytes, timestamp, start).map_err(|_| ReadError::Damaged {
                first_offset: header.base_offset,
                next_offset: header.next_offset(),
            })?
        };
        Ok(found.map(|(timestamp, offset)| {
            let leader_epoch = guard(&self.epochs).epoch_of(offset);
            TimestampedOffset {
                timestamp,
                offset,
                leader_epoch,
            }
        }))
    }
}
