//! Which leader epoch wrote which offsets, kept in `leader-epoch-checkpoint`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint;
use crate::disk::{Disk, DiskError};
use crate::types::{LeaderEpoch, Offset};

/// The end of an epoch's offsets, as `OffsetForLeaderEpoch` answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch that is not above the one asked for.
    pub leader_epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// The epochs of one log, oldest first.
#[derive(Debug)]
pub(crate) struct LeaderEpochs {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    // Invariant: both epochs and start offsets only grow.
    starts: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    pub(crate) const FILE: &str = "leader-epoch-checkpoint";

    pub(crate) fn open(disk: &Arc<dyn Disk>, path: PathBuf) -> Result<Self, DiskError> {
        let entry = |line: &str| {
            let (epoch, start) = line.split_once(' ')?;
            Some((
                LeaderEpoch(epoch.parse().ok()?),
                Offset(start.trim().parse().ok()?),
            ))
        };
        let mut starts = checkpoint::read(&**disk, &path, entry)?.unwrap_or_default();
        if !starts.is_sorted() {
            starts.clear();
        }
        Ok(Self {
            disk: Arc::clone(disk),
            path,
            starts,
        })
    }

    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// Notes that `epoch` writes from `start` on, unless it does already.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), DiskError> {
        if epoch.0 < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return Ok(());
        }
        self.starts.push((epoch, start));
        self.write()
    }

    /// Forgets what lies at or after `end`: the log was cut there.
    pub(crate) fn truncate_to(&mut self, end: Offset) -> Result<(), DiskError> {
        let keep = self.starts.partition_point(|(_, start)| *start < end);
        if keep == self.starts.len() {
            return Ok(());
        }
        self.starts.truncate(keep);
        self.write()
    }

    /// Forgets epochs that ended before `start`, the first offset the log still has.
    pub(crate) fn forget_before(&mut self, start: Offset) -> Result<(), DiskError> {
        let begun = self.starts.partition_point(|(_, at)| *at <= start);
        let Some(oldest) = begun.checked_sub(1) else {
            return Ok(());
        };
        if oldest == 0 {
            return Ok(());
        }
        self.starts.drain(..oldest);
        if let Some((_, at)) = self.starts.first_mut() {
            *at = start;
        }
        self.write()
    }

    /// The epoch that wrote `offset`.
    pub(crate) fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let begun = self.starts.partition_point(|(_, at)| *at <= offset);
        self.starts.get(begun.checked_sub(1)?).map(|(epoch, _)| *epoch)
    }

    /// The end of `epoch`, in a log that ends at `log_end`.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some(EpochEnd {
                leader_epoch: epoch,
                end_offset: log_end,
            });
        }
        if epoch > latest {
            return None;
        }
        let after = self.starts.partition_point(|(known, _)| *known <= epoch);
        let end_offset = self.starts.get(after).map(|(_, start)| *start)?;
        let leader_epoch = after
            .checked_sub(1)
            .and_then(|at| self.starts.get(at))
            .map_or(epoch, |(e, _)| *e);
        Some(EpochEnd {
            leader_epoch,
            end_offset,
        })
    }

    /// Keeps them at `path` from here on, where they have been written.
    pub(crate) fn move_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    fn write(&self) -> Result<(), DiskError> {
        self.write_to(&self.path)
    }

    /// Writes them to `path`.
    pub(crate) fn write_to(&self, path: &Path) -> Result<(), DiskError> {
        let lines = self
            .starts
            .iter()
            .map(|(epoch, start)| format!("{} {start}", epoch.0));
        // Not synced: after a power cut the epochs are read from the batches again.
        checkpoint::write_unsynced(&*self.disk, path, lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn epochs_are_found_by_offset_and_kept_across_a_restart() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        disk.create_dir(Path::new("/d")).unwrap();
        let path = Path::new("/d").join(LeaderEpochs::FILE);
        let mut epochs = LeaderEpochs::open(&disk, path.clone()).unwrap();
        for (epoch, start) in [(0, 0), (0, 5), (3, 10), (2, 12), (5, 20)] {
            epochs.assign(LeaderEpoch(epoch), Offset(start)).unwrap();
        }
        let epochs = LeaderEpochs::open(&disk, path.clone()).unwrap();
        assert_eq!(epochs.epoch_of(Offset(9)), Some(LeaderEpoch(0)));
        assert_eq!(epochs.epoch_of(Offset(10)), Some(LeaderEpoch(3)));
        let end = |epoch| {
            epochs
                .end_of(LeaderEpoch(epoch), Offset(30))
                .map(|e| (e.leader_epoch.0, e.end_offset.0))
        };
        assert_eq!(end(0), Some((0, 10)));
        assert_eq!(end(4), Some((3, 20)));
        assert_eq!(end(5), Some((5, 30)));
        assert_eq!(end(6), None);

        let mut epochs = LeaderEpochs::open(&disk, path.clone()).unwrap();
        epochs.truncate_to(Offset(20)).unwrap();
        epochs.forget_before(Offset(12)).unwrap();
        let epochs = LeaderEpochs::open(&disk, path).unwrap();
        assert_eq!(epochs.starts, [(LeaderEpoch(3), Offset(12))]);
    }
}
