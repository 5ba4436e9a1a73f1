//! The calls of one operator and task: which wait, which run, which are done.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context as Polling, Poll, Waker},
};

use tidemill_data::{BoxError, Timestamp};

use super::{InFlight, Order};
use crate::{Record, calls::Load, context::Current, failure::guard};

type Made<W> = Pin<Box<dyn Future<Output = Result<W, BoxError>> + Send>>;

/// A call took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct TimedOut(std::time::Duration);

/// One record and its call.
pub(super) struct Call<K, V, W> {
    id: u64,
    pub(super) record: Record<K, V>,
    // The source record that led here.
    pub(super) current: Option<Current>,
    failed: u32,
    phase: Phase<W>,
}

enum Phase<W> {
    /// For room, or for an earlier call of its key.
    Waiting,
    Running {
        future: Made<W>,
        deadline: Timestamp,
    },
    /// For its next attempt.
    Pausing {
        until: Timestamp,
    },
    Done(Result<W, BoxError>),
}

/// A call whose result can go on.
pub(super) struct Finished<K, V, W> {
    pub(super) call: Call<K, V, ()>,
    pub(super) result: Result<W, BoxError>,
}

/// The calls of one operator and task, in the order of their records.
pub(super) struct InFlightTable<K, V, W> {
    limits: InFlight,
    calls: VecDeque<Call<K, V, W>>,
    ids: u64,
}

impl<K: Clone + PartialEq, V: Clone, W> InFlightTable<K, V, W> {
    pub(super) fn new(limits: InFlight) -> Self {
        Self {
            limits,
            calls: VecDeque::new(),
            ids: 0,
        }
    }

    pub(super) fn load(&self) -> Load {
        let deadline = |call: &Call<K, V, W>| match call.phase {
            Phase::Running { deadline, .. } => Some(deadline),
            Phase::Pausing { until } => Some(until),
            Phase::Waiting | Phase::Done(_) => None,
        };
        Load {
            calls: self.calls.len(),
            full: self.calls.len() >= self.most(),
            deadline: self.calls.iter().filter_map(deadline).min(),
        }
    }

    fn most(&self) -> usize {
        self.limits.most.max(1)
    }

    pub(super) fn add(&mut self, record: Record<K, V>, current: Option<Current>) {
        self.ids += 1;
        self.calls.push_back(Call {
            id: self.ids,
            record,
            current,
            failed: 0,
            phase: Phase::Waiting,
        });
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
    }

    /// Begins what may begin; gives the calls begun.
    pub(super) fn begin<F>(&mut self, now: Timestamp, call: &impl Fn(K, V) -> F) -> Vec<u64>
    where
        F: Future<Output = Result<W, BoxError>> + Send + 'static,
    {
        let begun_already = |call: &&Call<K, V, W>| !matches!(call.phase, Phase::Waiting);
        let mut room = self
            .most()
            .saturating_sub(self.calls.iter().filter(begun_already).count());
        let deadline = now.saturating_add(self.limits.timeout);
        let mut begun = Vec::new();
        for at in 0..self.calls.len() {
            let again = match self.calls.get(at).map(|call| &call.phase) {
                Some(Phase::Waiting) if room > 0 && !self.key_is_busy(at) => false,
                Some(Phase::Pausing { until }) if *until <= now => true,
                _ => continue,
            };
            let Some(entry) = self.calls.get_mut(at) else {
                break;
            };
            let Record { key, value, .. } = &entry.record;
            let (key, value) = (key.clone(), value.clone());
            entry.phase = match guard(|| call(key, value)) {
                Ok(future) => Phase::Running {
                    future: Box::pin(future),
                    deadline,
                },
                Err(panic) => Phase::Done(Err(panic)),
            };
            begun.push(entry.id);
            room = room.saturating_sub(usize::from(!again));
        }
        begun
    }

    /// Whether an earlier call of the same key has to be done first.
    fn key_is_busy(&self, at: usize) -> bool {
        let key = self.calls.get(at).map(|call| &call.record.key);
        let mut earlier = self.calls.iter().take(at);
        self.limits.order == Order::PerKey && earlier.any(|call| Some(&call.record.key) == key)
    }

    /// Polls running calls.
    pub(super) fn poll(&mut self, ids: &[u64], waker: impl Fn(u64) -> Waker) {
        for id in ids {
            // Calls stand in the order of their ids.
            let Ok(at) = self.calls.binary_search_by_key(id, |call| call.id) else {
                continue;
            };
            let Some(call) = self.calls.get_mut(at) else {
                continue;
            };
            let Phase::Running { future, .. } = &mut call.phase else {
                continue;
            };
            let waker = waker(*id);
            let polled = guard(|| future.as_mut().poll(&mut Polling::from_waker(&waker)));
            match polled {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(result)) => call.phase = Phase::Done(result),
                Err(panic) => call.phase = Phase::Done(Err(panic)),
            }
        }
    }

    /// Ends calls whose time is over.
    pub(super) fn give_up(&mut self, now: Timestamp) {
        for call in &mut self.calls {
            if matches!(call.phase, Phase::Running { deadline, .. } if deadline <= now) {
                call.phase = Phase::Done(Err(TimedOut(self.limits.timeout).into()));
            }
        }
    }

    /// The next call whose result can go on. Failed ones with attempts left pause instead.
    pub(super) fn take_finished(&mut self, now: Timestamp) -> Option<Finished<K, V, W>> {
        for call in &mut self.calls {
            if matches!(call.phase, Phase::Done(Err(_)))
                && let Some(pause) = self.limits.retry.pause_after(call.failed + 1)
            {
                call.failed += 1;
                call.phase = Phase::Pausing {
                    until: now.saturating_add(pause),
                };
            }
        }
        let done = |call: &Call<K, V, W>| matches!(call.phase, Phase::Done(_));
        let at = match self.limits.order {
            Order::Ordered => self.calls.front().is_some_and(done).then_some(0),
            Order::PerKey | Order::Unordered => self.calls.iter().position(done),
        }?;
        let Call {
            id,
            record,
            current,
            failed,
            phase,
        } = self.calls.remove(at)?;
        let Phase::Done(result) = phase else {
            return None;
        };
        let phase = Phase::Waiting;
        let call = Call {
            id,
            record,
            current,
            failed,
            phase,
        };
        Some(Finished { call, result })
    }
}
