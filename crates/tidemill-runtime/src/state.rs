//! What state a program is in, and who is told.

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
            Self::Error => "ERROR",
        })
    }
}

impl State {
    fn may_become(self, next: Self) -> bool {
        match self {
            Self::Created | Self::Rebalancing | Self::Running => self != next,
            Self::PendingShutdown => matches!(next, Self::NotRunning | Self::Error),
            Self::NotRunning | Self::Error => false,
        }
    }
}

/// Told of every change of state: the new one, then the one before.
pub type StateListener = Arc<dyn Fn(State, State) + Send + Sync>;

/// The state of one instance, put together from those of its threads.
pub(crate) struct StateBoard {
    // Guards one state a thread; held while listeners are told, so that they hear changes in order.
    threads: Mutex<Vec<ThreadPhase>>,
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
    pub(crate) fn new(threads: usize, listener: Option<StateListener>) -> Self {
        let current = watch::Sender::new(State::Created);
        Self {
            threads: Mutex::new(vec![ThreadPhase::Settling; threads]),
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

    pub(crate) fn begin(&self) {
        let _order = self
            .threads
            .lock()
            .expect("listeners' panics end the program's thread, not this section");
        self.change(State::Rebalancing);
    }

    pub(crate) fn shut_down(&self) {
        let _order = self.threads.lock().expect("as above");
        self.change(State::PendingShutdown);
    }

    pub(crate) fn thread_is(&self, thread: usize, phase: ThreadPhase) {
        let mut threads = self.threads.lock().expect("as above");
        let Some(known) = threads.get_mut(thread).filter(|known| **known != phase) else {
            return;
        };
        *known = phase;
        self.change(
            if threads
                .iter()
                .all(|t| matches!(t, ThreadPhase::Ended | ThreadPhase::Failed))
            {
                if threads.contains(&ThreadPhase::Failed) {
                    State::Error
                } else {
                    State::NotRunning
                }
            } else if threads.contains(&ThreadPhase::Settling) {
                State::Rebalancing
            } else {
                State::Running
            },
        );
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
        let board = StateBoard::new(2, Some(listener));
        board.begin();
        board.thread_is(0, ThreadPhase::Working);
        board.thread_is(1, ThreadPhase::Working);
        board.thread_is(1, ThreadPhase::Settling);
        board.thread_is(1, ThreadPhase::Working);
        board.shut_down();
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
        let board = StateBoard::new(1, None);
        board.begin();
        board.thread_is(0, ThreadPhase::Failed);
        assert_eq!(board.state(), State::Error);
    }
}
