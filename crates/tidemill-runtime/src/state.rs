//! What state a program is in, and who is told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

/// The states of a running program, with Kafka Streams' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started yet.
    Created,
    /// Partitions are being assigned, or state restored.
    Rebalancing,
    /// Every task this instance has works.
    Running,
    /// It is being stopped.
    PendingShutdown,
    /// It has stopped.
    NotRunning,
    /// It is stopping because of an error.
    PendingError,
    /// It has stopped because of an error.
    Error,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Rebalancing => "REBALANCING",
            Self::Running => "RUNNING",
            Self::PendingShutdown => "PENDING_SHUTDOWN",
            Self::NotRunning => "NOT_RUNNING",
            Self::PendingError => "PENDING_ERROR",
            Self::Error => "ERROR",
        })
    }
}

impl State {
    fn may_become(self, next: Self) -> bool {
        match self {
            Self::Created | Self::Rebalancing | Self::Running => self != next,
            Self::PendingShutdown => matches!(next, Self::NotRunning | Self::Error),
            Self::PendingError => next == Self::Error,
            Self::NotRunning | Self::Error => false,
        }
    }
}

/// Told of every change of state: the new one, then the one before.
pub type StateListener = Arc<dyn Fn(State, State) + Send + Sync>;

/// The state of one instance, put together from those of its threads.
pub(crate) struct StateBoard {
    // Guards the phases of all threads by number; held while listeners are told, so that they hear changes in order.
    threads: Mutex<BTreeMap<usize, ThreadPhase>>,
    current: watch::Sender<State>,
    listener: Option<StateListener>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadPhase {
    Settling,
    Working,
    Ended,
    Failed,
}

impl StateBoard {
    pub(crate) fn new(listener: Option<StateListener>) -> Self {
        let current = watch::Sender::new(State::Created);
        Self {
            threads: Mutex::default(),
            current,
            listener,
        }
    }

    pub(crate) fn state(&self) -> State {
        *self.current.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.current.subscribe()
    }

    /// The program stops, as `PendingShutdown` or `PendingError`.
    pub(crate) fn shut_down(&self, pending: State) {
        let _order = self
            .threads
            .lock()
            .expect("listeners' panics end the program's thread, not this section");
        self.change(pending);
    }

    /// Notes what a thread does; one not known yet is new.
    pub(crate) fn thread_is(&self, thread: usize, phase: ThreadPhase) {
        let mut threads = self.threads.lock().expect("as above");
        if threads.insert(thread, phase) != Some(phase) {
            self.follow(&threads);
        }
    }

    /// Forgets a thread that was removed.
    pub(crate) fn thread_left(&self, thread: usize) {
        let mut threads = self.threads.lock().expect("as above");
        threads.remove(&thread);
        self.follow(&threads);
    }

    fn follow(&self, threads: &BTreeMap<usize, ThreadPhase>) {
        // Without any thread there is nothing to say: it is as it was.
        if threads.is_empty() {
            return;
        }
        let over = |phase: &ThreadPhase| matches!(phase, ThreadPhase::Ended | ThreadPhase::Failed);
        let has = |phase| threads.values().any(|thread| *thread == phase);
        let failing = matches!(self.state(), State::PendingError | State::PendingShutdown);
        self.change(match () {
            () if threads.values().all(over) && failing => {
                if has(ThreadPhase::Failed) || self.state() == State::PendingError {
                    State::Error
                } else {
                    State::NotRunning
                }
            }
            () if has(ThreadPhase::Settling) => State::Rebalancing,
            () if has(ThreadPhase::Working) => State::Running,
            () => return,
        });
    }

    fn change(&self, next: State) {
        let before = self.state();
        if before.may_become(next) {
            tracing::info!("state {before} to {next}");
            self.current.send_replace(next);
            if let Some(listener) = &self.listener {
                listener(next, before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_runs_when_all_its_threads_work_and_ends_when_all_have_ended() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener: StateListener = Arc::new({
            let heard = heard.clone();
            move |next, _before| heard.lock().unwrap().push(next)
        });
        let board = StateBoard::new(Some(listener));
        board.thread_is(0, ThreadPhase::Settling);
        board.thread_is(1, ThreadPhase::Settling);
        board.thread_is(0, ThreadPhase::Working);
        board.thread_is(1, ThreadPhase::Working);
        board.thread_is(1, ThreadPhase::Settling);
        board.thread_is(1, ThreadPhase::Working);
        board.shut_down(State::PendingShutdown);
        board.thread_is(0, ThreadPhase::Ended);
        board.thread_is(1, ThreadPhase::Ended);
        use State::{NotRunning, PendingShutdown, Rebalancing, Running};
        assert_eq!(
            *heard.lock().unwrap(),
            [
                Rebalancing,
                Running,
                Rebalancing,
                Running,
                PendingShutdown,
                NotRunning
            ]
        );
    }

    #[test]
    fn a_failed_thread_makes_the_end_an_error() {
        let board = StateBoard::new(None);
        board.thread_is(0, ThreadPhase::Working);
        board.thread_is(1, ThreadPhase::Working);
        board.shut_down(State::PendingError);
        board.thread_is(0, ThreadPhase::Failed);
        assert_eq!(board.state(), State::PendingError);
        board.thread_is(1, ThreadPhase::Ended);
        assert_eq!(board.state(), State::Error);
    }

    #[test]
    fn a_thread_that_was_removed_keeps_nobody_waiting() {
        let board = StateBoard::new(None);
        board.thread_is(0, ThreadPhase::Working);
        board.thread_is(1, ThreadPhase::Settling);
        assert_eq!(board.state(), State::Rebalancing);
        board.thread_left(1);
        assert_eq!(board.state(), State::Running);
    }
}
