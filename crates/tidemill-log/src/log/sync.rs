//! Making records durable, and the end of a log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{CLOSED, Log, OPEN, READ_ONLY, guard};
use crate::disk::DiskError;
use crate::segment::{self, Segment};
use crate::types::{Offset, Timestamp};

/// Why records could not be made durable. The log is read-only from then on: pages may be lost that look written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// An earlier write or sync failed.
    #[error("the log is read-only after a failed write or sync")]
    Poisoned,
    /// This sync failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Log {
    /// Makes everything appended so far durable, and says up to which offset. Callers that come while a sync runs
    /// share the next one.
    pub fn flush(&self) -> Result<Offset, FlushError> {
        let wanted = self.log_end_offset();
        let _turn = guard(&self.syncing);
        if self.condition.load(Ordering::Acquire) == READ_ONLY {
            return Err(FlushError::Poisoned);
        }
        let durable = self.recovery_point();
        if durable >= wanted && !self.dir_changed.load(Ordering::Acquire) {
            return Ok(durable);
        }
        let end = {
            let mut writer = guard(&self.writer);
            writer.unsynced_records = 0;
            writer.unsynced_since = None;
            self.log_end_offset()
        };
        match self.sync_files(durable) {
            Ok(()) => {
                self.recovery_point.fetch_max(end.0, Ordering::AcqRel);
                Ok(end)
            }
            Err(error) => {
                self.poison(&error);
                Err(error.into())
            }
        }
    }

    /// Syncs if `flush.ms` has passed since the oldest record that is not durable.
    pub fn flush_if_due(&self, now: Timestamp) -> Result<(), FlushError> {
        let Some(flush_ms) = self.config().flush_ms else {
            return Ok(());
        };
        let since = guard(&self.writer).unsynced_since;
        if since.is_some_and(|since| now.since(since) >= flush_ms) {
            self.flush().map(drop)
        } else {
            Ok(())
        }
    }

    fn sync_files(&self, durable: Offset) -> Result<(), DiskError> {
        loop {
            let segments = self.segments();
            match self.sync_segments(&segments, durable) {
                // A segment was deleted or replaced meanwhile, and its files with it: what took its place is looked at.
                Err(error) if error.is_not_found() && !Arc::ptr_eq(&segments, &self.segments()) => {}
                other => return other,
            }
        }
    }

    fn sync_segments(&self, segments: &[Arc<Segment>], durable: Offset) -> Result<(), DiskError> {
        let nexts = segments
            .iter()
            .skip(1)
            .map(|next| Some(next.base_offset()))
            .chain([None]);
        for (segment, next_base) in segments.iter().zip(nexts) {
            match next_base {
                // Sealed: its indexes are complete, and are trusted once the recovery point lies behind it.
                Some(base) if base >= durable => {
                    segment.sync_data()?;
                    segment.sync_indexes()?;
                }
                Some(_) => {}
                // The active one's indexes are rebuilt after a crash.
                None => segment.sync_data()?,
            }
        }
        // Sync the directory too: without it a crash can keep the bytes and lose the name.
        if self.dir_changed.swap(false, Ordering::AcqRel) {
            self.disk.sync_dir(&self.dir())?;
        }
        Ok(())
    }

    /// Ends the log cleanly: everything durable, indexes complete, producers' state written. Later appends and reads
    /// are refused.
    pub fn close(&self) -> Result<(), FlushError> {
        self.end_compaction();
        {
            let writer = guard(&self.writer);
            if self.condition.load(Ordering::Acquire) == READ_ONLY {
                return Err(FlushError::Poisoned);
            }
            writer.active.complete_indexes()?;
            let end = self.log_end_offset();
            // One that is there is as good: it was made, or read, when the log ended here.
            if self
                .disk
                .open(&segment::file_path(&self.dir(), end, segment::SNAPSHOT))
                .is_err()
            {
                self.write_snapshot(&writer, end)?;
            }
            // From here on nothing changes what was just written.
            let _ = self
                .condition
                .compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        }
        self.flush()?;
        self.tail.clear();
        Ok(())
    }

    /// Ends the log because it is about to be deleted.
    pub(crate) fn abandon(&self) {
        self.end_compaction();
        let _replacing = guard(&self.replacing);
        let _writer = guard(&self.writer);
        self.condition.store(CLOSED, Ordering::Release);
        self.tail.clear();
    }

    /// Lets no compaction begin, and waits for the end of one that runs.
    fn end_compaction(&self) {
        self.compaction_ended.store(true, Ordering::Release);
        drop(guard(&self.compacting));
    }
}
