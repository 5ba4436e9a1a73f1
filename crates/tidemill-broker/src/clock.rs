//! The wall clock, as records carry it, and the steady one that coordinators go by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemill_coordinator as coordinator;
use tidemill_log::Timestamp;
use tokio::time::Instant;

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Waits until then; for ever where nothing is due.
pub(crate) async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The wall clock when it was started, and steady from then on: a clock that is set forward must not end all sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SteadyClock {
    wall: i64,
    started: Instant,
}

impl SteadyClock {
    pub(crate) fn start() -> SteadyClock {
        SteadyClock {
            wall: now().0,
            started: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> coordinator::Timestamp {
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        coordinator::Timestamp(self.wall.saturating_add(passed))
    }

    /// When a coordinator's time will be.
    pub(crate) fn instant(self, at: coordinator::Timestamp) -> Instant {
        let ms = u64::try_from(at.0.saturating_sub(self.wall)).unwrap_or(0);
        self.started
            .checked_add(Duration::from_millis(ms))
            .unwrap_or_else(Instant::now)
    }
}
