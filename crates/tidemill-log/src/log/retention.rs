//! Deleting from the front: by age, by size, and on request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, OPEN, Writer, guard};
use crate::disk::DiskError;
use crate::segment::Segment;
use crate::types::{Offset, Timestamp};

/// Why records were not deleted on request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// Only committed records are deleted.
    #[error("offset {to} is above the high watermark {high_watermark}")]
    AboveHighWatermark {
        /// What was asked for.
        to: Offset,
        /// Up to where records may be deleted.
        high_watermark: Offset,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Log {
    /// Hides all records before `to`, and deletes the segments that hold nothing else. Returns the new log start.
    pub fn delete_before(&self, to: Offset) -> Result<Offset, DeleteError> {
        let high_watermark = self.high_watermark();
        if to > high_watermark {
            return Err(DeleteError::AboveHighWatermark { to, high_watermark });
        }
        let _replacing = guard(&self.replacing);
        let mut writer = guard(&self.writer);
        self.log_start.fetch_max(to.0, Ordering::AcqRel);
        self.remove_hidden(&mut writer)?;
        Ok(self.log_start_offset())
    }

    /// Deletes segments that `retention.ms` or `retention.bytes` no longer keeps, and those before the log's start.
    /// Returns how many.
    pub fn enforce_retention(&self, now: Timestamp) -> Result<usize, DiskError> {
        let _replacing = guard(&self.replacing);
        let mut writer = guard(&self.writer);
        if self.condition.load(Ordering::Acquire) != OPEN {
            return Ok(0);
        }
        if self.config().cleanup_policy.deletes() {
            let keep_from = self.expired_up_to(now)?;
            if keep_from == self.log_end_offset() {
                // All of it has expired: the active segment goes too, and an empty one takes its place.
                self.roll_now(&mut writer, now)?;
            }
            self.log_start.fetch_max(keep_from.0, Ordering::AcqRel);
        }
        self.remove_hidden(&mut writer)
    }

    /// The first offset that retention keeps. Segments go from the oldest on; the first that stays keeps the rest.
    fn expired_up_to(&self, now: Timestamp) -> Result<Offset, DiskError> {
        let config = self.config();
        let segments = self.segments();
        let mut size = self.size_bytes();
        let mut keep_from = self.log_start_offset();
        let nexts = segments
            .iter()
            .skip(1)
            .map(|next| next.base_offset())
            .chain([self.log_end_offset()]);
        for (segment, next_base) in segments.iter().zip(nexts) {
            let newest = segment.max_timestamp()?;
            let old = config
                .retention_ms
                .is_some_and(|ms| newest > Timestamp::NONE && now.since(newest) > ms);
            let is_active = segments.last().is_some_and(|last| Arc::ptr_eq(last, segment));
            let left = size.saturating_sub(segment.size());
            let large = !is_active && config.retention_bytes.is_some_and(|max| left >= max);
            // Compaction may leave nothing of a segment.
            let empty = segment.size() == 0 && !is_active;
            if (segment.size() == 0 && is_active)
                || next_base > self.high_watermark()
                || !(old || large || empty)
            {
                break;
            }
            size = left;
            keep_from = keep_from.max(next_base);
        }
        Ok(keep_from)
    }

    /// Deletes the segments wholly before the log's start.
    fn remove_hidden(&self, writer: &mut Writer) -> Result<usize, DiskError> {
        let start = self.log_start_offset();
        let segments = self.segments();
        let hidden = segments
            .iter()
            .skip(1)
            .take_while(|next| next.base_offset() <= start)
            .count();
        if hidden == 0 {
            return Ok(0);
        }
        let (gone, kept) = segments.split_at(hidden);
        debug_assert!(
            kept.iter()
                .any(|segment| Arc::ptr_eq(segment, writer.active.segment()))
        );
        self.publish_segments(kept.to_vec());
        guard(&self.transactions).forget_before(start);
        guard(&self.epochs).forget_before(start)?;
        gone.iter()
            .try_for_each(|segment| Segment::remove_files(segment))?;
        Ok(hidden)
    }
}
