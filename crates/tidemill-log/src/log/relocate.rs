//! Moving a log to another log directory while it is in use, so that a crash between any two steps leaves either the
//! old place or the new one.
//!
//! ```text
//!  1 <new dir>/<t>-<p>.<n>-future/ gets the sealed segments, one by one, each synced; appends, reads, retention and
//!    compaction go on
//!  2 no compaction begins any more; what the last one changed is copied again
//!  3 appends wait: the active segment is sealed and copied, `moved` is written, all of it synced, and the checkpoints of
//!    the new directory know the partition
//!  4 renamed to <new dir>/<t>-<p>; directory synced                              from here on the copy is the log
//!  5 the old one is renamed to -delete; directory synced                         (5 and 6: `LogDirs`)
//!  6 `moved` removed; directory synced
//! ```
//! What opening finds: a `-future` goes, and the move begins anew. Of two places the one with `moved` holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use super::{Log, OPEN, Writer, guard};
use crate::disk::DiskError;
use crate::leader_epochs::LeaderEpochs;
use crate::partition_metadata;
use crate::segment::{self, Active, Segment, Tail};
use crate::types::{Offset, Timestamp};

/// The file that says which of two places of a partition holds.
pub(crate) const MOVED: &str = "moved";

/// What may be left to copy when appends begin to wait: a few milliseconds of a slow disk.
const LAST_BYTES_MAX: u64 = 1 << 20;
/// How often the active segment is sealed to get below that. A log that grows faster than it is copied waits longer.
const ROLLS_MAX: usize = 8;

/// Why a log did not move. It stays where it is, in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelocateError {
    /// It was told to stop, or the log was deleted or closed.
    #[error("stopped")]
    Stopped,
    /// A write or sync has failed here, so what is on disk is not known.
    #[error("the log is read-only after a failed write or sync")]
    Poisoned,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// One move: from where its log is to `target`, by way of `future`.
#[derive(Debug)]
pub(crate) struct Relocation {
    /// `<new dir>/<t>-<p>.<n>-future`.
    pub(crate) future: PathBuf,
    /// `<new dir>/<t>-<p>`.
    pub(crate) target: PathBuf,
    /// The bytes of batches that were copied.
    pub(crate) copied_bytes: AtomicU64,
    /// The offset up to which they were.
    pub(crate) copied_to: AtomicI64,
    /// Set when nobody wants it any more.
    pub(crate) cancelled: AtomicBool,
    /// Whether a thread has taken it up.
    pub(crate) begun: AtomicBool,
}

/// A copy that is complete up to what still changes.
#[derive(Debug)]
pub(crate) struct Copying<'a> {
    log: &'a Log,
    relocation: &'a Relocation,
    future: Arc<Path>,
    // Those whose files are in the copy.
    copied: BTreeMap<Offset, Arc<Segment>>,
}

impl Log {
    /// Steps 1 and 2. `pace` is told of the bytes that were copied, and may take its time or say no.
    pub(crate) fn copy_to<'a>(
        &'a self,
        relocation: &'a Relocation,
        now: Timestamp,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Copying<'a>, RelocateError> {
        let mut copying = Copying {
            log: self,
            relocation,
            future: Arc::from(relocation.future.as_path()),
            copied: BTreeMap::new(),
        };
        copying.copy_sealed(pace)?;
        for _ in 0..ROLLS_MAX {
            let active = guard(&self.writer).active.segment().size();
            if active <= LAST_BYTES_MAX {
                break;
            }
            self.roll(now)?;
            copying.copy_sealed(pace)?;
        }
        self.relocating.store(true, Ordering::Release);
        // One that has begun goes on to its end, and may change what was copied.
        drop(guard(&self.compacting));
        copying.copy_sealed(pace)?;
        Ok(copying)
    }

    /// Swaps in the segments of the new place, of which the last one is the writer's.
    fn publish_relocated(&self, writer: &mut Writer, target: &Arc<Path>, active: Active) {
        let mut segments: Vec<Arc<Segment>> = self.segments().to_vec();
        segments.pop();
        let mut moved: Vec<_> = segments
            .iter()
            .map(|sealed| Arc::new(sealed.in_dir(target)))
            .collect();
        moved.push(Arc::clone(active.segment()));
        writer.active = active;
        *self.dir.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(target);
        self.publish_segments(moved);
        guard(&self.epochs).move_to(target.join(LeaderEpochs::FILE));
        // All of it has been synced.
        self.recovery_point
            .fetch_max(self.log_end_offset().0, Ordering::AcqRel);
        writer.unsynced_records = 0;
        writer.unsynced_since = None;
    }
}

impl Copying<'_> {
    /// Copies the sealed segments that are not in the copy, and takes out of it what is not in the log any more.
    fn copy_sealed(&mut self, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), RelocateError> {
        loop {
            let segments = self.log.segments();
            let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
            self.drop_gone(sealed)?;
            let Some(segment) = sealed.iter().find(|segment| !self.has(segment)) else {
                return Ok(());
            };
            match self.copy(segment, pace) {
                Ok(()) => {
                    self.copied.insert(segment.base_offset(), Arc::clone(segment));
                }
                // Deleted or replaced under our eyes: the next look begins with another.
                Err(RelocateError::Disk(_)) if !contains(&self.log.segments(), segment) => {}
                Err(error) => {
                    self.check_wanted()?;
                    return Err(error);
                }
            }
            self.note_progress(&segments);
        }
    }

    fn copy(&self, segment: &Segment, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), RelocateError> {
        segment.copy_to(&self.future, &mut |bytes| {
            self.relocation.copied_bytes.fetch_add(bytes, Ordering::AcqRel);
            self.check_wanted()?;
            if pace(bytes) {
                Ok(())
            } else {
                Err(RelocateError::Stopped)
            }
        })
    }

    fn check_wanted(&self) -> Result<(), RelocateError> {
        let unwanted = self.relocation.cancelled.load(Ordering::Acquire);
        match self.log.condition.load(Ordering::Acquire) {
            _ if unwanted => Err(RelocateError::Stopped),
            OPEN => Ok(()),
            super::READ_ONLY => Err(RelocateError::Poisoned),
            _ => Err(RelocateError::Stopped),
        }
    }

    fn has(&self, segment: &Arc<Segment>) -> bool {
        let copied = self.copied.get(&segment.base_offset());
        copied.is_some_and(|copied| Arc::ptr_eq(copied, segment))
    }

    fn drop_gone(&mut self, sealed: &[Arc<Segment>]) -> Result<(), DiskError> {
        let gone: Vec<Arc<Segment>> = self
            .copied
            .extract_if(.., |_, one| !contains(sealed, one))
            .map(|(_, segment)| segment)
            .collect();
        gone.iter()
            .try_for_each(|segment| segment.in_dir(&self.future).remove_files())
    }

    fn note_progress(&self, segments: &[Arc<Segment>]) {
        let bytes = self.copied.values().map(|segment| segment.size()).sum();
        self.relocation.copied_bytes.store(bytes, Ordering::Release);
        let missing = segments.iter().find(|segment| !self.has(segment));
        let to = missing.map_or(self.log.log_end_offset(), |segment| segment.base_offset());
        self.relocation.copied_to.store(to.0, Ordering::Release);
    }

    /// Steps 3 and 4; returns where the log was. `settle` makes the checkpoints of the new directory know the
    /// partition.
    pub(crate) fn take_place(
        mut self,
        now: Timestamp,
        settle: &mut dyn FnMut() -> Result<(), DiskError>,
    ) -> Result<Arc<Path>, RelocateError> {
        let log = self.log;
        let _replacing = guard(&log.replacing);
        let mut writer = guard(&log.writer);
        self.check_wanted()?;
        log.roll_now(&mut writer, now)?;
        self.copy_sealed(&mut |_| true)?;
        let base = log.log_end_offset();
        let empty = Segment::create(&log.disk, &self.future, base)?;
        self.write_rest(&writer, &empty)?;
        settle()?;
        let target: Arc<Path> = Arc::from(self.relocation.target.as_path());
        // Nothing that can fail stands between the rename and its taking effect here.
        let tail = Tail {
            max_timestamp_offset: base,
            ..Tail::default()
        };
        let active = Active::new(Arc::new(empty.emptied_in_dir(&target)?), now, tail)?;
        log.disk.rename(&self.future, &target)?;
        if let Some(parent) = target.parent() {
            let poison = |error: &DiskError| log.poison(error);
            log.disk.sync_dir(parent).inspect_err(poison)?;
        }
        let old = log.dir();
        log.publish_relocated(&mut writer, &target, active);
        Ok(old)
    }

    /// What belongs to the log as a whole, and the mark that the copy holds.
    fn write_rest(&self, writer: &Writer, active: &Segment) -> Result<(), DiskError> {
        let (log, future) = (self.log, &*self.future);
        let snapshot = segment::file_path(future, active.base_offset(), segment::SNAPSHOT);
        let mut files = vec![snapshot, future.join(LeaderEpochs::FILE), future.join(MOVED)];
        let [snapshot, epochs, moved] = &*files else {
            unreachable!("three were listed")
        };
        crate::disk::replace_unsynced(&*log.disk, snapshot, &writer.producers.snapshot())?;
        guard(&log.epochs).write_to(epochs)?;
        log.disk.create(moved)?;
        if let Some(id) = log.topic_id {
            partition_metadata::write(&*log.disk, future, id)?;
            files.push(future.join(partition_metadata::FILE));
        }
        for file in &files {
            log.disk.open(file)?.sync()?;
        }
        active.sync_data()?;
        active.sync_indexes()?;
        log.disk.sync_dir(future)
    }
}

/// Whether `segments`, in order, have this one.
fn contains(segments: &[Arc<Segment>], one: &Arc<Segment>) -> bool {
    let at = segments.binary_search_by_key(&one.base_offset(), |segment| segment.base_offset());
    let found = at.ok().and_then(|at| segments.get(at));
    found.is_some_and(|segment| Arc::ptr_eq(segment, one))
}

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        self.log.relocating.store(false, Ordering::Release);
    }
}

impl Relocation {
    /// How far the copy is behind a log that ends at `log_end`.
    pub(crate) fn lag(&self, log_end: Offset) -> i64 {
        log_end
            .since(Offset(self.copied_to.load(Ordering::Acquire)))
            .max(0)
    }
}
