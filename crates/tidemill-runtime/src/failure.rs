//! What happens when a thread fails, as the program's owner wants it.

use std::fmt;
use std::sync::Arc;

use crate::error::RunError;

/// A thread that failed, and why. Its work since the last commit is done again by whoever has its partitions next.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The thread's name, as in the logs.
    pub thread: String,
    /// Why it failed.
    pub error: RunError,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.thread, self.error)
    }
}

/// What to do about a failed thread: the responses of Kafka Streams' uncaught exception handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Response {
    /// Another thread takes its place. A record that fails every time then fails again, after a growing pause.
    ReplaceThread,
    /// This instance stops; others take over.
    #[default]
    ShutdownClient,
    /// All instances of the program stop, as soon as they notice that this one has gone.
    ShutdownApplication,
}

/// Decides what to do about a failed thread.
pub type FailureHandler = Arc<dyn Fn(&Failure) -> Response + Send + Sync>;
