//! `Task`: one or more subtopologies for one partition, as a state machine.
//!
//! Records and times go in; records to write come out. A commit is two steps: [`Task::prepare_commit`] says what has to
//! be written and which offsets it covers, and after the caller has written that, [`Task::committed`] makes the state
//! durable in one atomic write.

mod calls;
mod commit;
mod open;
mod position;
mod process;
mod restore;
mod rows;
mod window_rows;

use std::{fmt, sync::Arc, time::Duration};

use tidemill_data::Timestamp;
use tidemill_store::{ByteStore, StateStores, StoreId, StoreOptions};

pub use self::{
    commit::Commit, process::Processed, restore::Changelog, rows::Committed, window_rows::WindowedRow,
};
use crate::{
    Failure, TaskError, Topology, clocks::Clocks, context::Context, graph::FilledDecl, queues::Queues,
};

/// Which task: a subtopology and a partition. Written `0_1`, as Kafka Streams does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The position of the subtopology in the topology.
    pub subtopology: usize,
    /// The partition of its topics.
    pub partition: i32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.subtopology, self.partition)
    }
}

/// How a task runs.
#[derive(Clone, Debug, Default)]
pub struct TaskConfig {
    /// How its stores are opened.
    pub stores: StoreOptions,
    /// How it waits between attempts at what failed.
    pub pause: Pause,
    /// The largest record that the producer takes (`max.request.size`): a larger one is a failure of its sink.
    pub record_bytes_max: Option<usize>,
    /// Bytes of state written since the last commit, above which the task asks for one; 64 MiB without a number.
    pub uncommitted_bytes_max: Option<usize>,
    /// Bytes of outputs with which the task stops taking up records, so that they can be sent; 8 MiB without a number.
    /// What one record leads to comes whole.
    pub output_bytes_max: Option<usize>,
    /// Bytes of memory in which suppressions and `emit_on_close` keep the order of what they hold back, all of a task's
    /// operators together; 16 MiB without a number. Of more rows than that they know the first, and look for the others in
    /// their stores.
    pub order_bytes_max: Option<usize>,
    /// The database of the instance's [`GlobalTask`](crate::GlobalTask); needed when the topology has global stores.
    pub globals: Option<Globals>,
}

/// The database of an instance's global stores, which its tasks read.
#[derive(Clone)]
pub struct Globals(pub Arc<dyn ByteStore>);

impl fmt::Debug for Globals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Globals")
    }
}

/// How a task waits between attempts at what failed. By itself it does not: the next attempt follows at once.
#[derive(Clone, Default)]
pub struct Pause(Option<Arc<dyn Fn(Duration) + Send + Sync>>);

impl Pause {
    /// Waits by calling this.
    pub fn by(wait: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(wait)))
    }

    pub(crate) fn wait(&self, pause: Duration) {
        if let Some(wait) = &self.0 {
            wait(pause);
        }
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Pause" } else { "no pause" })
    }
}

/// One or more subtopologies for one partition.
pub struct Task {
    id: TaskId,
    ctx: Context,
    queues: Queues,
    inputs: Vec<bool>,
    // By topic: the offset after the last record taken up, if that is not committed.
    uncommitted: Vec<Option<i64>>,
    reached: position::Reached,
    // The clocks as of the last commit, to go back to when work is discarded.
    committed_clocks: Clocks,
    changelogs: Vec<LoggedStore>,
}

/// A store and the topic it is restored from.
struct LoggedStore {
    id: StoreId,
    topic: String,
    // Of a store that is filled straight from this topic, an input of the task.
    input: Option<FilledDecl>,
}

impl Task {
    /// Which task this is.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The topology it runs.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.ctx.topology
    }

    /// The topics it reads, by their names on the cluster.
    #[must_use]
    pub fn inputs(&self) -> Vec<String> {
        let names = self.ctx.topology.topics().iter().zip(&self.inputs);
        names
            .filter(|(_, reads)| **reads)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether it reads this topic.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        self.input(topic).is_some()
    }

    fn input(&self, topic: &str) -> Option<crate::TopicIndex> {
        let found = self.ctx.topology.topic(topic);
        found.filter(|at| self.inputs.get(at.position()) == Some(&true))
    }

    fn not_an_input(&self, topic: &str) -> TaskError {
        TaskError::NotAnInput {
            task: self.id.to_string(),
            topic: topic.to_owned(),
        }
    }

    /// The largest timestamp of all records taken up.
    #[must_use]
    pub fn stream_time(&self) -> Timestamp {
        self.ctx.stream_time()
    }

    /// How many records operators dropped, for a null key, a null value, lateness, or by policy.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.ctx.dropped
    }

    /// How many records reached each operator that reads a topic or runs user code, by the operator's name.
    pub fn reached(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.ctx.reached.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(at, count)| (self.ctx.topology.node_name(crate::graph::NodeId(at)), *count))
    }

    /// The failures that a policy dealt with since this was last asked.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.ctx.failures)
    }

    /// The stores, uncommitted writes included.
    pub fn stores(&mut self) -> &mut StateStores {
        &mut self.ctx.stores
    }
}
