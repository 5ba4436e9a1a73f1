//! How far restoring is, and who is told.

use std::sync::Arc;
use std::time::Duration;

use tidemill_data::Timestamp;

/// Progress of restoring one store of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreProgress {
    /// The task, as in the logs.
    pub task: String,
    /// The store.
    pub store: String,
    /// What happened.
    pub stage: RestoreStage,
    /// The changelog offset restoring began at.
    pub from: i64,
    /// The offset up to which it is done.
    pub at: i64,
    /// The offset up to which it has to be done.
    pub to: i64,
    /// Records written so far.
    pub records: u64,
    /// When it began.
    pub began: Timestamp,
    /// About how long the rest takes, at the pace so far; not known before the first batch.
    pub time_left: Option<Duration>,
}

/// What happened to a store that is being restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreStage {
    /// It begins.
    Began,
    /// A batch was written.
    Batch,
    /// The store is complete.
    Completed,
    /// The task went to another member before the store was complete. What was restored stays for the next time.
    Suspended,
}

impl RestoreProgress {
    /// Whether the store is complete. Listeners hear of its last batch before.
    pub fn is_complete(&self) -> bool {
        self.stage == RestoreStage::Completed
    }

    /// How many offsets there are to go. Some of them may hold no record: compaction and the ends of transactions leave
    /// such.
    pub fn remaining(&self) -> u64 {
        self.to.saturating_sub(self.at).max(0).unsigned_abs()
    }

    /// Notes that all before `at` is done.
    pub(super) fn reached(&mut self, at: i64, now: Timestamp) {
        self.at = self.at.max(at);
        let done = u128::from(self.at.abs_diff(self.from));
        let to_do = u128::from(self.remaining());
        let spent = now.millis().saturating_sub(self.began.millis()).max(0);
        let left_ms = (u128::from(spent.unsigned_abs()) * to_do).checked_div(done);
        let left = |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX));
        self.time_left = left_ms.map(left);
    }
}

/// Told when a store's restoring begins, after each batch, and when it is complete or given up.
pub type RestoreListener = Arc<dyn Fn(&RestoreProgress) + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_pace_so_far() {
        let mut progress = RestoreProgress {
            task: "0_0".into(),
            store: "counts".into(),
            stage: RestoreStage::Began,
            from: 100,
            at: 100,
            to: 500,
            records: 0,
            began: Timestamp::from_millis(1_000),
            time_left: None,
        };
        progress.reached(100, Timestamp::from_millis(1_500));
        assert_eq!(progress.time_left, None);
        progress.reached(200, Timestamp::from_millis(2_000));
        assert_eq!(
            (progress.time_left, progress.remaining()),
            (Some(Duration::from_secs(3)), 300)
        );
        progress.reached(500, Timestamp::from_millis(9_000));
        assert_eq!(
            (progress.time_left, progress.remaining()),
            (Some(Duration::ZERO), 0)
        );
    }
}
