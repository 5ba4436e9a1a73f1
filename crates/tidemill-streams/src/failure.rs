//! What happens when decoding, user code or encoding fails.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tidemill_data::BoxError;
use tidemill_store::StoreError;

use crate::{RawRecord, Retry};

/// What to do with a record that cannot be decoded, processed, encoded or produced.
///
/// One policy holds for the app ([`App::on_error`](crate::App::on_error)), and an operator may have its own
/// ([`KStream::on_error`](crate::KStream::on_error)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The task stops, nothing of the record is committed, and the error is reported.
    #[default]
    Fail,
    /// The failing operator drops the record. What earlier branches did with it stays done.
    Skip,
    /// As `Skip`, and the source record goes to this topic, with headers that say why (KIP-1034).
    DeadLetter(String),
    /// The step is tried again; after the last attempt, the other policy decides. See [`Policy::retry`].
    Retry(Retry, Box<Policy>),
}

impl Policy {
    /// Tries a failed step again, with pauses in which the task waits: keep their sum well below
    /// `max.poll.interval.ms`. After the last attempt `then` decides.
    ///
    /// Decoding and encoding are tried again in any case. User code takes its record by value, so it is tried again
    /// where there can be another: on tables, on streams of which a handle was cloned, and behind
    /// [`KStream::retryable`](crate::KStream::retryable). What an operator handed on before it failed is handed on
    /// again.
    ///
    /// ```
    /// # use tidemill_streams::{App, Policy, Retry};
    /// # use tidemill_data::{MILLISECOND, SECOND, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// let retry = Retry::attempts(5).pauses(100 * MILLISECOND, SECOND);
    /// app.stream(&IN)
    ///     .retryable()
    ///     .try_map_values(|path| Ok(std::fs::read_to_string(path)?))
    ///     .on_error(Policy::retry(retry, Policy::DeadLetter("unread".into())))
    ///     .to(&IN);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn retry(retry: Retry, then: Policy) -> Self {
        Self::Retry(retry, Box::new(then))
    }

    /// How often a step is tried.
    pub(crate) fn attempts(&self) -> Retry {
        match self {
            Self::Retry(retry, _) => *retry,
            _ => Retry::attempts(1),
        }
    }

    /// What happens after the last attempt.
    pub(crate) fn finally(&self) -> &Self {
        match self {
            Self::Retry(_, then) => then.finally(),
            other => other,
        }
    }
}

/// Which step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reading a key or value from bytes.
    Decode,
    /// User code.
    Process,
    /// Writing a key or value as bytes.
    Encode,
    /// Producing a record: it is larger than `max.request.size`.
    Produce,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "decoding",
            Self::Process => "processing",
            Self::Encode => "encoding",
            Self::Produce => "producing",
        })
    }
}

/// Where the record being processed came from, with its bytes as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The record.
    pub record: RawRecord,
}

/// One record that failed in one operator.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed in {operator}: {error}")]
pub struct Failure {
    /// The operator's name, as `describe()` shows it.
    pub operator: String,
    /// Which step failed.
    pub step: Step,
    /// What went wrong.
    pub error: BoxError,
    /// The record of the source topic that led here; absent in a punctuation.
    pub source_record: Option<Box<SourceRecord>>,
}

/// Why a task stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The topology has global stores, and the task was given none.
    #[error("the topology has global stores, but the task was opened without them")]
    NoGlobals,
    /// A record failed and the policy is [`Policy::Fail`].
    #[error("{}{}", .0, at(.0))]
    Failed(Failure),
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// State is not what it should be.
    #[error("store {store:?} holds bytes that cannot be read: {error}")]
    State {
        /// The store's name.
        store: String,
        /// What the format said.
        error: BoxError,
    },
    /// A changelog holds records that are none of its store's.
    #[error("{topic}-{partition}, before offset {before}: {error}")]
    Changelog {
        /// The changelog topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The offset after the last record of those that were to be restored.
        before: i64,
        /// What is wrong.
        error: StoreError,
    },
    /// A suppression holds back more than it may, and is to stop then.
    #[error("{operator} holds back {records} of {records_max} records and {bytes} of {bytes_max} bytes")]
    BufferFull {
        /// The operator's name.
        operator: String,
        /// How many rows it holds back.
        records: u64,
        /// How many it may.
        records_max: u64,
        /// How many bytes it holds back.
        bytes: u64,
        /// How many it may.
        bytes_max: u64,
    },
    /// Records of a topic that the task does not read.
    #[error("task {task} does not read topic {topic:?}")]
    NotAnInput {
        /// The task.
        task: String,
        /// The topic.
        topic: String,
    },
}

fn at(failure: &Failure) -> String {
    failure.source_record.as_ref().map_or_else(String::new, |source| {
        format!(
            " (at {}-{}@{})",
            source.topic, source.partition, source.record.offset
        )
    })
}

/// A task error on its way up through the operators: one pointer, so that the happy path stays narrow.
#[derive(Debug)]
pub(crate) struct Halt(pub(crate) Box<TaskError>);

impl From<TaskError> for Halt {
    fn from(error: TaskError) -> Self {
        Self(Box::new(error))
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self(Box::new(error.into()))
    }
}

/// A record that no producer would take.
#[derive(Debug, thiserror::Error)]
#[error("the record takes {bytes} bytes, and max.request.size is {most}")]
pub(crate) struct TooLarge {
    pub(crate) bytes: usize,
    pub(crate) most: usize,
}

/// A panic in user code, as the error of the record that met it.
#[derive(Debug, thiserror::Error)]
#[error("panic: {0}")]
pub(crate) struct Panicked(String);

/// Runs user code; a panic in it becomes an error.
#[inline]
pub(crate) fn guard<R>(call: impl FnOnce() -> R) -> Result<R, BoxError> {
    // User closures see records by value or shared reference, and a record that failed is not used again.
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| Box::new(Panicked(message(&*payload))).into())
}

#[cold]
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "not a text".to_owned())
}
