//! Which log is compacted next.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{LogDirs, lies_in};
use crate::compaction::{CompactError, Compacted, CompactionLimits};
use crate::disk::DiskError;
use crate::log::Log;
use crate::types::{Timestamp, TopicPartition};

impl LogDirs {
    /// Compacts the log that needs it most, if one does, and says which and what came of it. Several threads may call
    /// this at once: each takes another log. For `pace` see [`Log::compact`].
    pub fn compact_dirtiest(
        &self,
        now: Timestamp,
        limits: &CompactionLimits,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Option<(TopicPartition, Result<Compacted, CompactError>)> {
        let log = self.take_dirtiest(now)?;
        let result = log.compact(now, limits, pace);
        self.in_work().remove(log.topic_partition());
        if result.is_ok()
            && let Err(error) = self.checkpoint_compacted(&log)
        {
            // After a crash the log is compacted again from the last one that was written.
            tracing::warn!(partition = %log.topic_partition(), %error, "the compacted offset was not written down");
        }
        Some((log.topic_partition().clone(), result))
    }

    /// The log with the largest share of what was never compacted, that is due and that nobody else compacts.
    fn take_dirtiest(&self, now: Timestamp) -> Option<Arc<Log>> {
        let mut in_work = self.in_work();
        let due = |log: Arc<Log>| {
            if in_work.contains(log.topic_partition()) {
                return None;
            }
            match log.compaction_due(now) {
                Ok(ratio) => ratio.map(|ratio| (ratio, log)),
                Err(error) => {
                    tracing::error!(partition = %log.topic_partition(), %error, "cannot look for what to compact");
                    None
                }
            }
        };
        let dirtiest = self
            .logs()
            .into_iter()
            .filter_map(due)
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let (_, log) = dirtiest?;
        in_work.insert(log.topic_partition().clone());
        Some(log)
    }

    fn checkpoint_compacted(&self, log: &Log) -> Result<(), DiskError> {
        let _populations = self.populations();
        let Some(dir) = self.dir_of(&log.dir()).and_then(|at| self.dirs.get(at)) else {
            return Ok(());
        };
        let logs = self.logs();
        let here: Vec<_> = logs.iter().filter(|log| lies_in(log, &dir.path)).collect();
        self.write_compacted(dir, &here)
    }

    fn in_work(&self) -> MutexGuard<'_, HashSet<TopicPartition>> {
        self.compacting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
