//! Who waits for a partition's next records.
//!
//! A Fetch that must wait stands in the list of each of its partitions. An append counts its bytes off what the Fetch
//! still lacks and wakes it when that is nothing, so nobody looks again before there is something to see.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// One waiting Fetch.
#[derive(Debug)]
pub(crate) struct Waiter {
    missing_bytes: AtomicI64,
    woken: Notify,
}

impl Waiter {
    /// A Fetch that lacks `missing_bytes`.
    pub(crate) fn new(missing_bytes: i64) -> Arc<Waiter> {
        Arc::new(Waiter {
            missing_bytes: AtomicI64::new(missing_bytes),
            woken: Notify::new(),
        })
    }

    /// Waits until enough has arrived, or something else happened that the Fetch must see.
    pub(crate) async fn enough(&self) {
        self.woken.notified().await;
    }

    fn arrived(&self, bytes: i64) {
        if self.missing_bytes.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            // A permit is kept for a Fetch that does not wait yet.
            self.woken.notify_one();
        }
    }
}

/// The Fetches that wait for one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    // Guards the list only, for as long as it takes to change it or to notify those in it.
    list: Mutex<Vec<Arc<Waiter>>>,
}

impl Waiters {
    pub(crate) fn add(&self, waiter: &Arc<Waiter>) {
        self.lock().push(Arc::clone(waiter));
    }

    pub(crate) fn remove(&self, waiter: &Arc<Waiter>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, waiter));
    }

    /// Counts `bytes` that can be read now.
    pub(crate) fn arrived(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.lock().iter().for_each(|waiter| waiter.arrived(bytes));
    }

    /// Wakes everybody: the partition is gone.
    pub(crate) fn wake_all(&self) {
        self.lock().iter().for_each(|waiter| waiter.woken.notify_one());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Waiter>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_waiter_wakes_when_the_last_missing_byte_arrives() {
        let (waiters, waiter) = (Waiters::default(), Waiter::new(10));
        waiters.add(&waiter);
        waiters.arrived(9);
        assert!(waiter.enough().now_or_never().is_none());
        waiters.arrived(1);
        assert!(waiter.enough().now_or_never().is_some());
    }

    #[test]
    fn a_removed_waiter_is_left_alone_and_a_gone_partition_wakes_the_rest() {
        let (waiters, left, stays) = (Waiters::default(), Waiter::new(1), Waiter::new(1));
        waiters.add(&left);
        waiters.add(&stays);
        waiters.remove(&left);
        waiters.wake_all();
        assert!(left.enough().now_or_never().is_none());
        assert!(stays.enough().now_or_never().is_some());
    }
}
