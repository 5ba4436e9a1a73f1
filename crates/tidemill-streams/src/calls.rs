//! Calls: futures of operators that a task has in flight, and how the task is told that one can go on.
//!
//! The task owns its futures and polls them when it is asked to, on the thread that asks. So a program without an
//! executor is a program whose futures are ready at once, or woken by hand: that is how the test driver runs them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
};

use tidemill_data::Timestamp;

use crate::{context::Context, edge::Flow};

/// Identifies an operator with calls within the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallsIndex(pub(crate) usize);

/// An operator that has calls in flight.
pub(crate) trait Calling: Send + Sync {
    /// Polls those calls that were woken, and all whose time has come.
    fn poll(&self, ctx: &mut Context, woken: &[u64]) -> Flow;
    /// Forgets all calls.
    fn forget(&self, ctx: &mut Context);
}

/// What one operator has in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) calls: usize,
    // No further record is to be taken up until a call is done.
    pub(crate) full: bool,
    pub(crate) deadline: Option<Timestamp>,
}

/// The calls of a task.
pub(crate) struct Calls {
    // By calls index.
    loads: Vec<Load>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken {
    // Guards the calls that can go on, and whom to tell.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<(CallsIndex, u64)>,
    outer: Option<Waker>,
}

impl Woken {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WakeCall {
    operator: CallsIndex,
    call: u64,
    woken: Arc<Woken>,
}

impl Wake for WakeCall {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.woken.lock();
        if !state.calls.contains(&(self.operator, self.call)) {
            state.calls.push((self.operator, self.call));
        }
        let outer = state.outer.clone();
        drop(state);
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

impl Calls {
    pub(crate) fn new(operators: usize) -> Self {
        Self {
            loads: vec![Load::default(); operators],
            woken: Arc::default(),
        }
    }

    pub(crate) fn note(&mut self, operator: CallsIndex, load: Load) {
        if let Some(known) = self.loads.get_mut(operator.0) {
            *known = load;
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.loads.iter().map(|load| load.calls).sum()
    }

    /// The operators that have calls in flight.
    pub(crate) fn operators(&self) -> impl Iterator<Item = CallsIndex> {
        let loads = self.loads.iter().enumerate();
        loads
            .filter(|(_, load)| load.calls > 0)
            .map(|(at, _)| CallsIndex(at))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.loads.iter().any(|load| load.full)
    }

    /// When a call times out, or is to be tried again.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.loads.iter().filter_map(|load| load.deadline).min()
    }

    /// What a call's future is polled with.
    pub(crate) fn waker(&self, operator: CallsIndex, call: u64) -> Waker {
        let woken = Arc::clone(&self.woken);
        Arc::new(WakeCall {
            operator,
            call,
            woken,
        })
        .into()
    }

    /// Whom to tell when a call can go on.
    pub(crate) fn tell(&self, waker: &Waker) {
        let mut state = self.woken.lock();
        if !state.outer.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.outer = Some(waker.clone());
        }
    }

    /// The operators that have something to do at `now`, each with those of its calls that were woken.
    pub(crate) fn take_ready(&self, now: Timestamp) -> Vec<(CallsIndex, Vec<u64>)> {
        let woken = std::mem::take(&mut self.woken.lock().calls);
        let due = |load: &Load| load.deadline.is_some_and(|deadline| deadline <= now);
        let operators = self.loads.iter().enumerate();
        operators
            .filter_map(|(at, load)| {
                let operator = CallsIndex(at);
                let calls: Vec<u64> = woken
                    .iter()
                    .filter(|(of, _)| *of == operator)
                    .map(|(_, call)| *call)
                    .collect();
                (!calls.is_empty() || due(load)).then_some((operator, calls))
            })
            .collect()
    }
}
