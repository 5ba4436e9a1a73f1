//! What a program is doing, in numbers: a snapshot for its owner, and the same for Prometheus.
//!
//! Each thread keeps its own counters and publishes them a few times a second, so that counting costs nothing a record
//! and nobody waits for anybody.

mod exposition;
mod recorder;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) use self::exposition::Exposition;
pub(crate) use self::recorder::Recorder;
use crate::restore::RestoreProgress;
use crate::state::State;

/// A program at a moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it is doing.
    pub state: State,
    /// Its threads, in order.
    pub threads: Vec<ThreadSnapshot>,
    /// Threads that have failed since it began, replaced or not.
    pub failed_threads: u64,
    /// Stores being restored.
    pub restoring: Vec<RestoreProgress>,
}

/// A thread at a moment. Totals count from the thread's beginning.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ThreadSnapshot {
    /// Its name, as in the logs.
    pub name: String,
    /// Records processed.
    pub processed: u64,
    /// Records processed a second, lately.
    pub process_rate: f64,
    /// Commits made.
    pub commits: u64,
    /// What the commits took together.
    pub commit_time: Duration,
    /// What the longest commit took.
    pub commit_time_max: Duration,
    /// What processing took together.
    pub process_time: Duration,
    /// Times the client was asked for records.
    pub polls: u64,
    /// Punctuations called.
    pub punctuations: u64,
    /// Times that work was begun again at the last commit.
    pub setbacks: u64,
    /// Tasks taken up.
    pub tasks_created: u64,
    /// Tasks given up.
    pub tasks_closed: u64,
    /// Its tasks, in order.
    pub tasks: Vec<TaskSnapshot>,
}

/// A task at a moment. Totals count from when it was taken up.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TaskSnapshot {
    /// Its name, `<subtopology>_<partition>`.
    pub id: String,
    /// Records that operators dropped.
    pub dropped: u64,
    /// Records waiting in it, and their bytes.
    pub buffered: (usize, usize),
    /// Bytes of state written since the last commit.
    pub uncommitted_bytes: usize,
    /// How far behind the end it is, by input; missing where the end is not known.
    pub lag: BTreeMap<String, i64>,
    /// Its operators.
    pub nodes: Vec<NodeSnapshot>,
}

/// An operator of a task.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NodeSnapshot {
    /// Its name, as `describe()` has it.
    pub name: String,
    /// Records that reached it.
    pub processed: u64,
    /// Records that reached it a second, lately.
    pub rate: f64,
}

/// Where the threads of an instance publish.
#[derive(Default)]
pub(crate) struct Metrics {
    // Guards what was published last by each thread, by number.
    threads: Mutex<BTreeMap<usize, ThreadSnapshot>>,
    // Guards the stores being restored, by task and store.
    restoring: Mutex<BTreeMap<(String, String), RestoreProgress>>,
    failed: std::sync::atomic::AtomicU64,
}

impl Metrics {
    fn publish(&self, thread: usize, snapshot: ThreadSnapshot) {
        let mut threads = self
            .threads
            .lock()
            .expect("no section that holds this lock panics");
        threads.insert(thread, snapshot);
    }

    /// Forgets a thread that was removed.
    pub(crate) fn forget(&self, thread: usize) {
        let mut threads = self
            .threads
            .lock()
            .expect("no section that holds this lock panics");
        threads.remove(&thread);
    }

    pub(crate) fn thread_failed(&self) {
        self.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Notes how far restoring is.
    pub(crate) fn restored(&self, progress: &RestoreProgress) {
        use crate::restore::RestoreStage::{Batch, Began, Completed, Suspended};
        let key = (progress.task.clone(), progress.store.clone());
        let mut restoring = self
            .restoring
            .lock()
            .expect("no section that holds this lock panics");
        match progress.stage {
            Began | Batch => drop(restoring.insert(key, progress.clone())),
            Completed | Suspended => drop(restoring.remove(&key)),
        }
    }

    pub(crate) fn snapshot(&self, state: State) -> Snapshot {
        let threads = self
            .threads
            .lock()
            .expect("no section that holds this lock panics");
        let restoring = self
            .restoring
            .lock()
            .expect("no section that holds this lock panics");
        Snapshot {
            state,
            threads: threads.values().cloned().collect(),
            failed_threads: self.failed.load(std::sync::atomic::Ordering::Relaxed),
            restoring: restoring.values().cloned().collect(),
        }
    }
}

/// Where a thread publishes.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) thread: usize,
}
