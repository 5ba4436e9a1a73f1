//! The writer's half of a segment: appending, index entries, and when the segment is full.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Segment, lock};
use crate::config::LogConfig;
use crate::disk::DiskError;
use crate::index::{OffsetEntry, TimeEntry, relative};
use crate::types::{Offset, Timestamp};

/// The one segment that is appended to; the writer owns it.
#[derive(Debug)]
pub(crate) struct Active {
    segment: Arc<Segment>,
    created: Timestamp,
    // When the first batch with a time came; `segment.ms` counts from here.
    first_timestamp: Option<Timestamp>,
    bytes_since_entry: u64,
    // The batch that made the largest timestamp, for the time index.
    max_timestamp_offset: Offset,
}

/// A batch that is about to be appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) size: usize,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: Timestamp,
}

impl Active {
    /// Takes up a segment to append to; its indexes are in memory from here on.
    pub(crate) fn new(segment: Arc<Segment>, now: Timestamp, tail: Tail) -> Result<Self, DiskError> {
        lock(&segment.offsets).load(&*segment.disk)?;
        lock(&segment.times).load(&*segment.disk)?;
        Ok(Self {
            segment,
            created: now,
            first_timestamp: tail.first_timestamp,
            bytes_since_entry: tail.bytes_since_entry,
            max_timestamp_offset: tail.max_timestamp_offset,
        })
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether a batch of `bytes` that ends at `last_offset` must go to a new segment.
    pub(crate) fn is_full(&self, bytes: usize, last_offset: Offset, config: &LogConfig) -> bool {
        let size = self.segment.size();
        if size == 0 {
            return false;
        }
        let index_entries_max =
            config.segment_index_bytes as usize / <OffsetEntry as crate::index::Entry>::SIZE;
        size.saturating_add(bytes as u64) > u64::from(config.segment_bytes)
            || lock(&self.segment.offsets).len() >= index_entries_max.max(1)
            || last_offset.since(self.segment.base_offset) > i64::from(i32::MAX)
    }

    /// Whether `segment.ms` has passed: by the records' time where they have one, else since the segment was made.
    pub(crate) fn is_old(&self, batch: Timestamp, now: Timestamp, config: &LogConfig) -> bool {
        let age = match self.first_timestamp {
            Some(first) if batch > Timestamp::NONE => batch.since(first),
            _ => now.since(self.created),
        };
        self.segment.size() > 0 && age > config.segment_age_ms_max()
    }

    /// Writes `parts`, the bytes of `batches`, behind what is there, and publishes them. After an error nothing is
    /// published and the file is as long as before, or the error says that it could not be cut.
    pub(crate) fn append(
        &mut self,
        parts: &mut [IoSlice<'_>],
        batches: &[Placed],
        index_interval_bytes: u32,
    ) -> Result<(), AppendFailure> {
        let segment = Arc::clone(&self.segment);
        let start = segment.size();
        let data = segment.data().map_err(AppendFailure::Undone)?;
        if let Err(error) = data.write_at(start, parts) {
            return Err(match data.truncate(start) {
                Ok(()) => AppendFailure::Undone(error),
                Err(_) => AppendFailure::Torn(error),
            });
        }
        let mut position = start;
        for batch in batches {
            self.note(*batch, position, index_interval_bytes)
                .map_err(AppendFailure::Torn)?;
            position += batch.size as u64;
        }
        segment.size.store(position, Ordering::Release);
        Ok(())
    }

    /// Keeps timestamps and indexes current for a batch at `position`.
    fn note(&mut self, batch: Placed, position: u64, interval: u32) -> Result<(), DiskError> {
        let segment = &*self.segment;
        if self.first_timestamp.is_none() && batch.max_timestamp > Timestamp::NONE {
            self.first_timestamp = Some(batch.max_timestamp);
        }
        if batch.max_timestamp.0 > segment.max_timestamp.load(Ordering::Acquire) {
            segment
                .max_timestamp
                .store(batch.max_timestamp.0, Ordering::Release);
            self.max_timestamp_offset = batch.last_offset;
        }
        if self.bytes_since_entry > u64::from(interval) {
            let relative_offset = relative(segment.base_offset, batch.last_offset);
            let position = u32::try_from(position).expect("segment.bytes bounds positions to 32 bits");
            lock(&segment.offsets).push(
                &*segment.disk,
                OffsetEntry {
                    relative_offset,
                    position,
                },
            )?;
            self.note_max_timestamp()?;
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += batch.size as u64;
        Ok(())
    }

    /// Adds the largest timestamp so far to the time index, unless it is there.
    fn note_max_timestamp(&self) -> Result<(), DiskError> {
        let segment = &*self.segment;
        let timestamp = Timestamp(segment.max_timestamp.load(Ordering::Acquire));
        let mut times = lock(&segment.times);
        let last = times
            .last(&*segment.disk)?
            .map_or(Timestamp::NONE, |entry| entry.timestamp);
        if timestamp > last {
            let relative_offset = relative(segment.base_offset, self.max_timestamp_offset);
            times.push(
                &*segment.disk,
                TimeEntry {
                    timestamp,
                    relative_offset,
                },
            )?;
        }
        Ok(())
    }

    /// Writes the indexes out as far as they go, the last word on timestamps included.
    pub(crate) fn complete_indexes(&self) -> Result<(), DiskError> {
        if self.segment.size() > 0 {
            self.note_max_timestamp()?;
        }
        lock(&self.segment.offsets).write_out(&*self.segment.disk)?;
        lock(&self.segment.times).write_out(&*self.segment.disk)
    }

    /// Ends appending: indexes are complete, and in their files only.
    pub(crate) fn seal(&self) -> Result<(), DiskError> {
        self.complete_indexes()?;
        lock(&self.segment.offsets).seal(&*self.segment.disk)?;
        lock(&self.segment.times).seal(&*self.segment.disk)
    }
}

/// What the end of a segment found on disk tells its writer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tail {
    pub(crate) first_timestamp: Option<Timestamp>,
    pub(crate) bytes_since_entry: u64,
    pub(crate) max_timestamp_offset: Offset,
}

/// Why an append did not happen.
#[derive(Debug)]
pub(crate) enum AppendFailure {
    /// The file is as it was.
    Undone(DiskError),
    /// The file may hold part of what was written.
    Torn(DiskError),
}
