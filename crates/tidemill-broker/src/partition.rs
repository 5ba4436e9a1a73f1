//! One partition: its log, and who waits for it.

use std::sync::Arc;

use bytes::Bytes;
use tidemill_log::{Append, AppendError, Appended, LeaderEpoch, Log, Origin, Timestamp};
use tidemill_protocol::ErrorCode;

use crate::waiters::Waiters;

/// The epoch of every leadership here: one broker leads each partition from its first record on.
pub(crate) const LEADER_EPOCH: LeaderEpoch = LeaderEpoch(0);

/// One partition: its log, and who waits for it.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) log: Arc<Log>,
    pub(crate) waiters: Waiters,
}

impl Partition {
    pub(crate) fn new(log: Arc<Log>) -> Arc<Partition> {
        Arc::new(Partition {
            log,
            waiters: Waiters::default(),
        })
    }

    /// Appends `batches`; they are visible to consumers when this returns.
    ///
    /// A write to the page cache is short and runs right here; one that may have to sync runs on a thread of its own.
    pub(crate) async fn append(
        self: &Arc<Self>,
        batches: Bytes,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        if self.log.config().flush_messages.is_none() {
            return self.append_now(batches, origin, now);
        }
        let partition = Arc::clone(self);
        let append = tokio::task::spawn_blocking(move || partition.append_now(batches, origin, now));
        append.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Appends `batches` on this thread.
    pub(crate) fn append_now(
        &self,
        batches: Bytes,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        let size = batches.len();
        let appended = self.log.append(
            batches,
            Append {
                leader_epoch: LEADER_EPOCH,
                now,
                origin,
            },
        )?;
        if !appended.duplicate && self.log.advance_high_watermark(appended.last_offset.plus(1)) {
            self.waiters.arrived(size);
        }
        Ok(appended)
    }
}

/// Checks the epoch that a client believes to be the leader's; -1 is no belief.
pub(crate) fn check_epoch(believed: i32) -> Result<(), ErrorCode> {
    match believed {
        -1 => Ok(()),
        epoch if epoch < LEADER_EPOCH.0 => Err(ErrorCode::FencedLeaderEpoch),
        epoch if epoch > LEADER_EPOCH.0 => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}
