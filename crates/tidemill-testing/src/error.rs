//! What goes wrong in a test.

use tidemill_data::{BoxError, DecodeError, EncodeError};
use tidemill_store::StoreError;
use tidemill_streams::{TaskError, TopologyError};

/// A test that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// The program cannot run.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A task stopped.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// State cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key or value to pipe cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A record that was written cannot be read as these types.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A database that the test gave could not be opened.
    #[error("the state of task {task} cannot be opened: {source}")]
    Open {
        /// The task.
        task: String,
        /// What went wrong.
        source: BoxError,
    },
    /// A commit waits for calls whose futures nobody has woken.
    #[error(
        "{calls} calls are in flight, which a commit waits for: let their futures be ready, or their time run out"
    )]
    CallsInFlight {
        /// How many.
        calls: usize,
    },
    /// A future wakes itself whenever it is polled, and is never done: nothing but it would ever be polled.
    #[error(
        "the futures of {operators} wake themselves and are not done after {polls} polls: let them wait for what wakes \
         them later"
    )]
    Spinning {
        /// The operators that have calls in flight.
        operators: String,
        /// How often they were polled in vain.
        polls: usize,
    },
    /// Two topics that one operator joins have different numbers of partitions.
    #[error("{topics:?} must have the same number of partitions, and have {partitions:?}")]
    NotCopartitioned {
        /// The topics.
        topics: Vec<String>,
        /// How many partitions each has.
        partitions: Vec<i32>,
    },
}
