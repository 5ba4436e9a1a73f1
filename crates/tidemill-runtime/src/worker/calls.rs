//! Calls that tasks have in flight: polled on the worker's thread, waited for before a commit.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use tidemill_data::Timestamp;

use super::Worker;
use crate::live_task::task_error;
use crate::producer::Setback;

/// The pause between looks whether calls are done, when tasks are about to be closed.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// How often the last commit before tasks are closed looks whether its calls are done, with [`LOOK_PAUSE`] between
/// looks: 10 s in all, while a rebalance waits. Calls that are not done by then are made again by whoever has the
/// partitions next.
const LAST_LOOKS_MAX: u32 = 2_000;

/// Wakes a worker that waits for records.
struct Waking(tidemill_client::Wake);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

pub(super) fn waker(wake: tidemill_client::Wake) -> Waker {
    Arc::new(Waking(wake)).into()
}

impl Worker {
    pub(super) fn calls_in_flight(&self) -> usize {
        self.tasks.values().map(|live| live.task.calls_in_flight()).sum()
    }

    /// Polls what can go on, and sends what that gave; whether there was anything.
    pub(super) fn poll_calls(&mut self, now: Timestamp) -> Result<bool, Setback> {
        let mut polled = false;
        let calling = self.tasks.iter_mut();
        for (id, live) in calling.filter(|(_, live)| live.task.calls_in_flight() > 0) {
            let went_on = live.task.poll_calls(now, &self.waker, &mut self.outputs);
            polled |= went_on.map_err(|e| task_error(*id, e))?;
            let sent = self
                .sender
                .send(&self.instance.topology, &self.instance.plan, &self.outputs);
            self.outputs.clear();
            sent?;
        }
        Ok(polled)
    }

    /// Waits until no call is in flight, before tasks are closed; false if they take too long.
    pub(super) fn drain(&mut self, now: Timestamp) -> Result<bool, Setback> {
        for look in 0..LAST_LOOKS_MAX {
            let now = now.saturating_add(LOOK_PAUSE.saturating_mul(look));
            while self.poll_calls(now)? {}
            if self.calls_in_flight() == 0 {
                return Ok(true);
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        Ok(false)
    }
}
