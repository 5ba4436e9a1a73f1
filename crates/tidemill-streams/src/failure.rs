//! What happens when decoding, user code or encoding fails.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use tidemill_data::{BoxError, Headers};
use tidemill_store::StoreError;

use crate::RawRecord;

/// What to do with a record that cannot be decoded, processed or encoded.
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
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decode => "decoding",
            Self::Process => "processing",
            Self::Encode => "encoding",
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

/// The headers of a dead letter: those of the source record, and Kafka's (KIP-1034) about the error.
pub(crate) fn dead_letter_headers(failure: &Failure) -> Headers {
    let source = failure.source_record.as_deref();
    let mut headers = source
        .map(|source| source.record.headers.clone())
        .unwrap_or_default();
    let kind = match failure.step {
        Step::Decode => "DecodeError",
        Step::Process if failure.error.is::<Panicked>() => "Panic",
        Step::Process => "ProcessError",
        Step::Encode => "EncodeError",
    };
    let mut push = |name: &str, value: String| headers.push(name, Some(Bytes::from(value)));
    push("__streams.errors.exception", kind.to_owned());
    push("__streams.errors.stacktrace", chain(failure));
    push("__streams.errors.message", failure.error.to_string());
    if let Some(source) = source {
        push("__streams.errors.topic", source.topic.clone());
        push("__streams.errors.partition", source.partition.to_string());
        push("__streams.errors.offset", source.record.offset.to_string());
    }
    headers
}

/// The error and all its causes, a line each: what stands for a stack trace.
fn chain(failure: &Failure) -> String {
    let mut text = format!(
        "{} failed in {}: {}",
        failure.step, failure.operator, failure.error
    );
    let mut cause = failure.error.source();
    while let Some(error) = cause {
        text.push_str("\ncaused by: ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
