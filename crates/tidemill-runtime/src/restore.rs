//! Brings stores up to their changelogs, in the background of the tasks that work.
//!
//! A store knows, in the same atomic write as its rows, which changelog it follows and up to where. So restoring goes on
//! from there; only a store that cannot go on is emptied and read from the start, and the log says why.
//!
//! A task that must wait for its stores is handed to the [`Restorer`] and comes back when they are complete. On a thread
//! of a running program the restorer has a thread of its own ([`Restoring::Aside`]), so that tasks with complete stores
//! go on as fast as ever; in tests it works between the turns of its worker ([`Restoring::Between`]).

mod aside;
mod decision;
mod progress;
mod restorer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_client::{Transport, Wake};
use tidemill_data::Timestamp;
use tidemill_streams::TaskId;

use self::aside::Aside;
pub(crate) use self::decision::Extent;
pub(crate) use self::decision::{Decision, decide};
pub use self::progress::{RestoreListener, RestoreProgress, RestoreStage};
pub(crate) use self::restorer::Restorer;
use crate::error::RunError;
use crate::live_task::LiveTask;

/// How long one step waits for changelog records.
const STEP_WAIT: Duration = Duration::from_millis(20);

/// Who restores the tasks of a worker.
pub(crate) enum Restoring {
    /// The worker itself, one step a turn.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests want the same order every time")
    )]
    Between(Box<Restorer>),
    /// A thread of its own.
    Aside(Aside),
}

/// A task to restore, with the extents of its changelogs.
pub(crate) struct Unrestored {
    pub(crate) live: LiveTask,
    pub(crate) changelogs: Vec<(tidemill_streams::Changelog, Extent)>,
    pub(crate) delete_retention: Duration,
}

impl Unrestored {
    /// Whether any store has to be read from its changelog.
    fn needs_work(&self, now: Timestamp) -> bool {
        let current = |(changelog, extent): &(tidemill_streams::Changelog, Extent)| {
            decide(changelog.position, *extent, now, self.delete_retention) == Decision::Current
        };
        !self.changelogs.iter().all(current)
    }
}

impl Restoring {
    /// One step in each turn of the worker.
    #[cfg(test)]
    pub(crate) fn between(
        transport: Arc<dyn Transport>,
        name: String,
        listener: Option<RestoreListener>,
    ) -> Self {
        Self::Between(Box::new(Restorer::new(transport, name, listener)))
    }

    /// On a thread that begins with the first task to restore; `wake` is called when something is done.
    pub(crate) fn aside(
        transport: Arc<dyn Transport>,
        name: String,
        listener: Option<RestoreListener>,
        wake: Wake,
    ) -> Self {
        Self::Aside(Aside::new(transport, name, listener, wake))
    }

    /// Takes tasks to restore. Those with nothing to do come back at once.
    pub(crate) fn add(&mut self, tasks: Vec<Unrestored>, now: Timestamp) -> Result<Vec<LiveTask>, RunError> {
        match self {
            Self::Between(restorer) => restorer.add(tasks, now),
            Self::Aside(aside) => aside.add(tasks, now),
        }
    }

    /// The tasks that were completed since this was last asked.
    pub(crate) fn completed(&mut self, now: Timestamp) -> Result<Vec<LiveTask>, RunError> {
        match self {
            Self::Between(restorer) if restorer.is_idle() => Ok(Vec::new()),
            Self::Between(restorer) => restorer.step(STEP_WAIT, now),
            Self::Aside(aside) => aside.completed(),
        }
    }

    /// Drops all tasks; their stores stand at the last batch written.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Between(restorer) => restorer.clear(),
            Self::Aside(aside) => aside.clear(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Between(restorer) => restorer.is_idle(),
            Self::Aside(aside) => aside.is_idle(),
        }
    }

    /// Whether the worker has to take turns for restoring to go on.
    pub(crate) fn needs_turns(&self) -> bool {
        matches!(self, Self::Between(restorer) if !restorer.is_idle())
    }

    /// Whether a task that has this store, or this one if it is named, is being restored.
    pub(crate) fn holds(&self, store: &str, only: Option<TaskId>) -> bool {
        match self {
            Self::Between(restorer) => restorer.holds(store, only),
            Self::Aside(aside) => aside.holds(store, only),
        }
    }
}

/// The tasks being restored, with the names of their stores.
type Held = BTreeMap<TaskId, Vec<String>>;

fn holds(held: &Held, store: &str, only: Option<TaskId>) -> bool {
    let mut asked_for = held.iter().filter(|(id, _)| only.is_none_or(|only| only == **id));
    asked_for.any(|(_, names)| names.iter().any(|name| name == store))
}
