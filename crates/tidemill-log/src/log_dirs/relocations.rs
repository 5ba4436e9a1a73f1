//! Which logs move to another log directory, and how far they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{DELETED, FUTURE, LogDirs, beside, lies_in};
use crate::disk::{self, Disk, DiskError};
use crate::log::{Log, MOVED, OpenError, OpenOptions, RelocateError, Relocation};
use crate::types::{Timestamp, TopicPartition};

/// The moves that are wanted or under way.
#[derive(Debug, Default)]
pub(super) struct Relocations {
    // The number in the next name of a directory; those of an earlier run are gone.
    next: u64,
    wanted: BTreeMap<TopicPartition, Arc<Relocation>>,
}

/// A move that is wanted or under way, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelocationUnderWay {
    /// Which log.
    pub partition: TopicPartition,
    /// The log directory it moves to.
    pub dir: PathBuf,
    /// The bytes that are there.
    pub copied_bytes: u64,
    /// How many offsets are not there yet.
    pub lag: i64,
}

/// A log that has moved, or what kept it.
pub type Relocated = (TopicPartition, Result<PathBuf, RelocateError>);

/// Whether a move goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocationPace {
    /// At once.
    GoOn,
    /// Not yet: ask again, unless nobody wants it any more.
    Wait,
    /// Not now: the broker stops, and the move begins anew at the next start.
    Stop,
}

/// Why a log cannot move where it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelocationRefused {
    /// It is none of `log.dirs`.
    #[error("{} is none of the log directories", .0.display())]
    UnknownDirectory(PathBuf),
    /// There is no such partition.
    #[error("there is no partition {0}")]
    UnknownPartition(TopicPartition),
    /// A write or sync has failed, so what is on disk is not known.
    #[error("{0} is read-only after a failed write or sync")]
    Poisoned(TopicPartition),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl LogDirs {
    /// Wants a log to lie in `dir`. Another place wanted before is forgotten; so is every move when it lies there
    /// already. [`LogDirs::relocate_next`] does the work.
    pub fn relocate(&self, partition: &TopicPartition, dir: &Path) -> Result<(), RelocationRefused> {
        if !self.dirs().any(|known| known == dir) {
            return Err(RelocationRefused::UnknownDirectory(dir.to_owned()));
        }
        let log = self
            .log(partition)
            .ok_or_else(|| RelocationRefused::UnknownPartition(partition.clone()))?;
        if log.is_read_only() {
            return Err(RelocationRefused::Poisoned(partition.clone()));
        }
        let mut relocations = self.relocations();
        if let Some(wanted) = relocations.wanted.get(partition) {
            if wanted.target.parent() == Some(dir) {
                return Ok(());
            }
            self.cancel(wanted);
            relocations.wanted.remove(partition);
        }
        if lies_in(&log, dir) {
            return Ok(());
        }
        let number = format!("{:x}", relocations.next);
        relocations.next += 1;
        let future = dir.join(beside(partition, &number, FUTURE));
        // There from now on, so that a restart knows of the move.
        self.disk.create_dir(&future)?;
        let relocation = Relocation {
            future,
            target: dir.join(partition.to_string()),
            copied_bytes: AtomicU64::new(0),
            copied_to: AtomicI64::new(log.log_start_offset().0),
            cancelled: AtomicBool::new(false),
            begun: AtomicBool::new(false),
        };
        relocations.wanted.insert(partition.clone(), Arc::new(relocation));
        Ok(())
    }

    /// The moves that are wanted or under way, by partition.
    pub fn relocations_under_way(&self) -> Vec<RelocationUnderWay> {
        let relocations = self.relocations();
        let told = relocations.wanted.iter().filter_map(|(partition, relocation)| {
            let log = self.log(partition)?;
            Some(RelocationUnderWay {
                partition: partition.clone(),
                dir: relocation.target.parent()?.to_owned(),
                copied_bytes: relocation.copied_bytes.load(Ordering::Acquire),
                lag: relocation.lag(log.log_end_offset()),
            })
        });
        told.collect()
    }

    /// Moves the next log that is wanted elsewhere, if there is one, and says which and where it is now. Appends and
    /// reads go on meanwhile. `pace` is told of the bytes that were copied; it may take a short time.
    pub fn relocate_next(
        &self,
        now: Timestamp,
        pace: &mut dyn FnMut(u64) -> RelocationPace,
    ) -> Option<Relocated> {
        let (partition, relocation) = self.take_relocation()?;
        let mut stopped = false;
        let is_wanted = || !relocation.cancelled.load(Ordering::Acquire);
        let result = self.carry_out(&partition, &relocation, now, &mut |bytes| {
            let mut answer = pace(bytes);
            while answer == RelocationPace::Wait && is_wanted() {
                answer = pace(0);
            }
            stopped |= answer == RelocationPace::Stop;
            answer == RelocationPace::GoOn
        });
        if stopped && is_wanted() {
            return Some((partition, Err(RelocateError::Stopped)));
        }
        if result.is_err() {
            self.leftovers().push(relocation.future.clone());
        }
        let mut relocations = self.relocations();
        if relocations
            .wanted
            .get(&partition)
            .is_some_and(|wanted| Arc::ptr_eq(wanted, &relocation))
        {
            relocations.wanted.remove(&partition);
        }
        Some((partition, result))
    }

    fn take_relocation(&self) -> Option<(TopicPartition, Arc<Relocation>)> {
        let relocations = self.relocations();
        let next = relocations
            .wanted
            .iter()
            .find(|(_, relocation)| !relocation.begun.swap(true, Ordering::AcqRel));
        next.map(|(partition, relocation)| (partition.clone(), Arc::clone(relocation)))
    }

    fn carry_out(
        &self,
        partition: &TopicPartition,
        relocation: &Relocation,
        now: Timestamp,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<PathBuf, RelocateError> {
        let log = self.log(partition).ok_or(RelocateError::Stopped)?;
        // One that a crash left would say that this place holds, and not the next one.
        self.unmark(&log.dir())?;
        let copying = log.copy_to(relocation, now, pace)?;
        let mut populations = self.populations();
        if !self
            .log(partition)
            .is_some_and(|current| Arc::ptr_eq(&current, &log))
        {
            return Err(RelocateError::Stopped);
        }
        let from = self.dir_of(&log.dir());
        let to = self.dir_of(&relocation.target);
        let arrival = to.and_then(|to| self.dirs.get(to));
        let old = copying.take_place(now, &mut || {
            let Some(dir) = arrival else { return Ok(()) };
            let logs = self.logs();
            let is_here = |one: &&Arc<Log>| lies_in(one, &dir.path) || Arc::ptr_eq(one, &log);
            let here: Vec<_> = logs.iter().filter(is_here).collect();
            self.write_checkpoints_of(dir, &here)
        })?;
        if let Some(left) = from.and_then(|at| populations.get_mut(at)) {
            *left = left.saturating_sub(1);
        }
        if let Some(reached) = to.and_then(|at| populations.get_mut(at)) {
            *reached += 1;
        }
        if let Err(error) = self.retire(&log, &old) {
            // The new place holds whatever happens, by its mark.
            tracing::error!(%partition, %error, "what was left behind still takes room");
        }
        Ok(log.dir().to_path_buf())
    }

    /// Takes what a move left behind out of the way.
    fn retire(&self, log: &Log, old: &Path) -> Result<(), DiskError> {
        self.write_checkpoints()?;
        self.set_aside(old, log.topic_partition())?;
        self.unmark(&log.dir())
    }

    /// Makes sure that there is nothing at `dir`, where a log is about to be made.
    pub(super) fn clear_the_way(&self, dir: &Path, partition: &TopicPartition) -> Result<(), DiskError> {
        match self.disk.list(dir) {
            Ok(_) => self.set_aside(dir, partition),
            Err(_) => Ok(()),
        }
    }

    fn set_aside(&self, dir: &Path, partition: &TopicPartition) -> Result<(), DiskError> {
        let number = {
            let mut relocations = self.relocations();
            relocations.next += 1;
            format!("{:x}", relocations.next)
        };
        let aside = dir.with_file_name(beside(partition, &number, DELETED));
        self.disk.rename(dir, &aside)?;
        if let Some(parent) = dir.parent() {
            self.disk.sync_dir(parent)?;
        }
        self.leftovers().push(aside);
        Ok(())
    }

    fn unmark(&self, dir: &Path) -> Result<(), DiskError> {
        match self.disk.remove(&dir.join(MOVED)) {
            Ok(()) => self.disk.sync_dir(dir),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn cancel(&self, relocation: &Relocation) {
        relocation.cancelled.store(true, Ordering::Release);
        // Who has taken it up clears it away.
        if !relocation.begun.load(Ordering::Acquire) {
            self.leftovers().push(relocation.future.clone());
        }
    }

    /// Forgets the moves of logs that are deleted.
    pub(super) fn forget_relocations(&self, gone: &[TopicPartition]) {
        let mut relocations = self.relocations();
        for partition in gone {
            if let Some(relocation) = relocations.wanted.remove(partition) {
                self.cancel(&relocation);
            }
        }
    }

    /// Wants again what a stop or crash interrupted.
    pub(super) fn resume_relocations(
        &self,
        interrupted: Vec<(TopicPartition, PathBuf)>,
    ) -> Result<(), DiskError> {
        for (partition, dir) in interrupted {
            match self.relocate(&partition, &dir) {
                Err(RelocationRefused::Disk(error)) => return Err(error),
                // The log was deleted, or is elsewhere for another reason.
                Err(error) => tracing::info!(%error, "a move that was interrupted is not taken up again"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn relocations(&self) -> MutexGuard<'_, Relocations> {
        self.relocations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The partition whose log was on its way to a directory of this name.
pub(super) fn partition_of(name: &str) -> Option<TopicPartition> {
    let (partition, _) = name.strip_suffix(FUTURE)?.rsplit_once('.')?;
    TopicPartition::from_dir_name(partition)
}

/// Of two places of one partition, the one that holds; the other one goes.
pub(super) fn resolve(
    disk: &dyn Disk,
    first: OpenOptions,
    second: OpenOptions,
) -> Result<OpenOptions, OpenError> {
    let is_marked = |place: &OpenOptions| disk::read_if_exists(disk, &place.dir.join(MOVED));
    let (holds, other) = match (is_marked(&first)?, is_marked(&second)?) {
        (Some(_), None) => (first, second),
        (None, Some(_)) => (second, first),
        _ => {
            return Err(OpenError::Twice {
                partition: first.topic_partition,
                first: first.dir,
                second: second.dir,
            });
        }
    };
    tracing::info!(partition = %holds.topic_partition, to = %holds.dir.display(), "finishing a move that was interrupted");
    disk.remove_dir(&other.dir)?;
    if let Some(parent) = other.dir.parent() {
        disk.sync_dir(parent)?;
    }
    disk.remove(&holds.dir.join(MOVED))?;
    disk.sync_dir(&holds.dir)?;
    Ok(holds)
}
