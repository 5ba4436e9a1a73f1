//! What can go wrong, by operation.

use tidemill_client::{CommitError, TransactionError, TransportError};
use tidemill_streams::{TaskError, TopologyError};

use crate::config::ConfigError;
use crate::plan::list;
use crate::query::Position;
use crate::state::State;
use crate::state_dir::StateDirError;

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program itself cannot run.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `bootstrap.servers` is not set, and no broker is built in.
    #[error("`bootstrap.servers` is not set, and this program is built without the feature `broker`")]
    NoCluster,
    /// The broker in this process did not start.
    #[error("the broker in this process did not start: {0}")]
    Broker(String),
    /// Topics the program reads are not there.
    #[error("topics the program reads do not exist: {}; create them first", .topics.join(", "))]
    MissingSources {
        /// The topics.
        topics: Vec<String>,
    },
    /// Topics that are joined have different numbers of partitions.
    #[error(
        "these topics are joined, so they need the same number of partitions: {}; create them alike, or put \
         `repartition` before the join",
        list(.topics.iter().map(|(name, count)| (name, *count)))
    )]
    NotCopartitioned {
        /// The topics with their numbers of partitions.
        topics: Vec<(String, i32)>,
    },
    /// An internal topic is there with another number of partitions than the program needs now.
    #[error(
        "internal topic {topic} has {found} partitions, but the program needs {wanted}: the number of partitions of \
         its sources changed; reset the application, or bring the number back"
    )]
    InternalPartitions {
        /// The topic.
        topic: String,
        /// How many it has.
        found: i32,
        /// How many are needed.
        wanted: i32,
    },
    /// Repartition topics feed only each other, so nothing says how many partitions they have.
    #[error("give a number of partitions to one of these repartition topics: {}", .topics.join(", "))]
    Unresolved {
        /// The topics.
        topics: Vec<String>,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The cluster did not answer as needed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The program is not what ran before under this `application.id`, in a way that would lose or misread state.
    #[error(
        "the program is not what ran before under this `application.id`:\n{changes}\nmend it, or where nothing must be \
         reset, accept it by `topology.changes=accept`"
    )]
    Incompatible {
        /// Every change, and what it means.
        changes: String,
    },
    /// What was recorded of the program that ran before cannot be read, so nothing says whether its state fits this one.
    #[error(
        "record `topology` of topic {topic}, which says what ran before under this `application.id`, cannot be read: \
         {reason}\nstart the version that wrote it, or if its state fits this program, accept it by \
         `topology.changes=accept`"
    )]
    UnknownPredecessor {
        /// The program's control topic.
        topic: String,
        /// What is wrong with the record.
        reason: String,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(String),
}

impl From<RunError> for StartError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::StateDir(error) => Self::StateDir(error),
            RunError::Transport(error) => Self::Transport(error),
            other => Self::Thread(other.to_string()),
        }
    }
}

/// Why a running program stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A task failed.
    #[error("task {task}: {error}")]
    Task {
        /// The task.
        task: String,
        /// Why.
        error: TaskError,
    },
    /// A task's database failed.
    #[error("state of task {task}: {reason}")]
    State {
        /// The task.
        task: String,
        /// Why.
        reason: String,
    },
    /// The assignor gave this member only part of what a task reads.
    #[error(
        "task {task} reads {}, but this member got only some of them: give the topics the same number of partitions",
        .needs.join(", ")
    )]
    PartialTask {
        /// The task.
        task: String,
        /// The partitions it reads.
        needs: Vec<String>,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The cluster did not do as asked.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Offsets could not be committed.
    #[error("commit: {0}")]
    Commit(#[from] CommitError),
    /// Exactly-once could not be kept up: the transaction failed again and again, or its id was taken.
    #[error("{0}; two instances with copies of one `state.dir` take each other's transactional.id")]
    Transaction(#[from] TransactionError),
    /// Another thread had all instances stopped.
    #[error("thread {thread} had the whole application stopped: {reason}")]
    ApplicationShutdown {
        /// The thread.
        thread: String,
        /// What it had failed of.
        reason: String,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(String),
    /// A thread panicked.
    #[error("thread {0} panicked")]
    Panic(String),
}

impl RunError {
    /// Whether a task's database did not do as asked.
    pub(crate) fn is_of_a_database(&self) -> bool {
        let of_a_store =
            |error: &TaskError| matches!(error, TaskError::Store(_) | TaskError::Changelog { .. });
        match self {
            Self::Task { error, .. } => of_a_store(error),
            Self::State { .. } => true,
            _ => false,
        }
    }
}

fn at(reached: &Position) -> String {
    if reached.is_empty() {
        "the beginning".to_owned()
    } else {
        reached.to_string()
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The program has no store of this name.
    #[error("there is no store {name:?}; the program has {}", .known.join(", "))]
    UnknownStore {
        /// The name.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// The store's rows are of another kind than was asked for.
    #[error(
        "store {name:?} is of another kind: tables are read by key, windowed ones by window, versioned ones as of a time"
    )]
    Kind {
        /// The name.
        name: String,
    },
    /// The store's tasks are not at work: being restored, or stopped.
    #[error("store {name:?} cannot be read while the program is {state}")]
    NotReady {
        /// The name.
        name: String,
        /// What the program is doing.
        state: State,
    },
    /// The store does not reflect its inputs as far as was demanded, and did not get there in the time given.
    #[error("store {name:?} was to reflect {wanted}, and is at {}", at(.reached))]
    Behind {
        /// The name.
        name: String,
        /// How far it was to be.
        wanted: Position,
        /// How far a task that is behind has come.
        reached: Position,
    },
    /// A position was demanded of a topic that is no input of the store's tasks.
    #[error("store {name:?} cannot be awaited to reflect {topic}: its tasks read {}", .follows.join(", "))]
    NotFollowed {
        /// The name.
        name: String,
        /// The topic.
        topic: String,
        /// The topics that its tasks read.
        follows: Vec<String>,
    },
    /// The task that was asked for is not at this instance.
    #[error("store {name:?}: task {task} is not here")]
    NotHere {
        /// The store.
        name: String,
        /// The task.
        task: String,
    },
    /// The instance that announced a task gave no answer.
    #[error("store {name:?}: {server} cannot be asked: {reason}")]
    Unreachable {
        /// The store.
        name: String,
        /// Its `application.server`.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// Another instance refused the question.
    #[error("store {name:?} at {server}: {reason}")]
    Elsewhere {
        /// The store.
        name: String,
        /// Its `application.server`.
        server: String,
        /// Why.
        reason: String,
    },
    /// A key or row does not go with the formats named.
    #[error("store {name:?}: {reason}")]
    Format {
        /// The store.
        name: String,
        /// Why.
        reason: String,
    },
    /// The store could not be read.
    #[error("store {name:?}: {reason}")]
    Store {
        /// The store.
        name: String,
        /// Why.
        reason: String,
    },
}
