//! Dead letters: the source record of a failure, with headers that say what failed (KIP-1034), and the way back.

use bytes::Bytes;
use tidemill_data::Headers;

use crate::{Failure, RawRecord, Step, failure::Panicked};

const PREFIX: &str = "__streams.errors.";
const EXCEPTION: &str = "__streams.errors.exception";
const STACKTRACE: &str = "__streams.errors.stacktrace";
const MESSAGE: &str = "__streams.errors.message";
const TOPIC: &str = "__streams.errors.topic";
const PARTITION: &str = "__streams.errors.partition";
const OFFSET: &str = "__streams.errors.offset";

/// A record of a dead-letter topic, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The class of what went wrong: `DecodeError`, `ProcessError`, …, or a Java class, as Kafka Streams writes it.
    pub exception: String,
    /// What went wrong, in words.
    pub message: String,
    /// The topic that the record came from.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The record as it was, without the headers about the error.
    pub record: RawRecord,
}

impl DeadLetter {
    /// Reads a record of a dead-letter topic; `None` for one whose headers do not say where it came from, such as
    /// that of a failed punctuation. Kafka Streams' own dead letters have the same headers.
    ///
    /// ```
    /// # use tidemill_data::Headers;
    /// # use tidemill_streams::{DeadLetter, RawRecord};
    /// let headers = Headers::new()
    ///     .with("trace", "7")
    ///     .with("__streams.errors.exception", "DecodeError")
    ///     .with("__streams.errors.message", "no number")
    ///     .with("__streams.errors.topic", "in")
    ///     .with("__streams.errors.partition", "3")
    ///     .with("__streams.errors.offset", "42");
    /// let letter = DeadLetter::read(RawRecord { headers, ..RawRecord::default() }).unwrap();
    /// assert_eq!((letter.topic.as_str(), letter.partition, letter.offset), ("in", 3, 42));
    /// assert_eq!((letter.exception.as_str(), letter.message.as_str()), ("DecodeError", "no number"));
    /// assert_eq!(letter.record.headers, Headers::new().with("trace", "7"));
    /// ```
    #[must_use]
    pub fn read(record: RawRecord) -> Option<Self> {
        let text = |name: &str| {
            let header = record.headers.last(name)?;
            String::from_utf8(header.value.as_ref()?.to_vec()).ok()
        };
        let (topic, message) = (text(TOPIC)?, text(MESSAGE).unwrap_or_default());
        let exception = text(EXCEPTION).unwrap_or_default();
        let (partition, offset) = (text(PARTITION)?.parse().ok()?, text(OFFSET)?.parse().ok()?);
        let others = record
            .headers
            .iter()
            .filter(|header| !header.name.starts_with(PREFIX));
        let headers = others.cloned().collect();
        Some(Self {
            exception,
            message,
            topic,
            partition,
            offset,
            record: RawRecord { headers, ..record },
        })
    }
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
        Step::Produce => "RecordTooLarge",
    };
    let mut push = |name: &str, value: String| headers.push(name, Some(Bytes::from(value)));
    push(EXCEPTION, kind.to_owned());
    push(STACKTRACE, chain(failure));
    push(MESSAGE, failure.error.to_string());
    if let Some(source) = source {
        push(TOPIC, source.topic.clone());
        push(PARTITION, source.partition.to_string());
        push(OFFSET, source.record.offset.to_string());
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
