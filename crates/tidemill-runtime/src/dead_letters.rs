//! Dead letters: looked at, and sent back to where they came from.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use tidemill_client::{Event, Outgoing, Record, Start, TopicPartition, Transport, TransportError, Writer};
use tidemill_data::Timestamp;
use tidemill_streams::DeadLetter;

use crate::live_task::raw;

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records written to the topics and partitions that they came from.
    pub records: u64,
    /// Records that were left: they do not say where they came from, or were not chosen.
    pub left: u64,
    /// Of the records written, those that are still among the dead letters too, since one before them in their partition
    /// was left: Kafka deletes from the front. To replay again is to write them again.
    pub kept: u64,
}

/// Which dead letters are meant; by default all.
///
/// ```
/// use tidemill_data::Timestamp;
/// use tidemill_runtime::WhichLetters;
///
/// let which = WhichLetters {
///     exception: Some("DecodeError".into()),
///     topic: Some("clicks".into()),
///     since: Some(Timestamp::from_millis(1_700_000_000_000)),
///     ..WhichLetters::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhichLetters {
    /// Only of this exception. A Java class may be named without its package.
    pub exception: Option<String>,
    /// Only those that came from this topic.
    pub topic: Option<String>,
    /// Only those that came from this partition.
    pub partition: Option<i32>,
    /// Only records with this timestamp or a later one.
    pub since: Option<Timestamp>,
    /// Only records with an earlier timestamp.
    pub before: Option<Timestamp>,
}

impl WhichLetters {
    fn holds(&self, letter: &DeadLetter) -> bool {
        let exception = letter.exception.as_str();
        let short = exception.rsplit('.').next().unwrap_or(exception);
        let named = |wanted: &String| wanted == exception || wanted == short;
        self.exception.as_ref().is_none_or(named)
            && self.topic.as_ref().is_none_or(|topic| *topic == letter.topic)
            && self
                .partition
                .is_none_or(|partition| partition == letter.partition)
            && self.since.is_none_or(|since| letter.record.timestamp >= since)
            && self.before.is_none_or(|before| letter.record.timestamp < before)
    }
}

/// Records read at once.
const RECORDS_MAX: usize = 1_000;
/// How long one look for records waits.
const WAIT: Duration = Duration::from_millis(100);

/// Writes the records of a dead-letter topic back to the topics and partitions they came from, without the headers
/// about their errors, for a program that has been mended to read them again. It takes what is there now. What found its
/// way is deleted from the dead-letter topic, so that a replay that is repeated, after a crash for instance, repeats
/// nothing but what it had not finished.
///
/// The calls block: within Tokio, use `spawn_blocking`.
///
/// # Errors
/// When the topic does not exist, or the cluster cannot be read or written. Then nothing was deleted.
pub fn replay_dead_letters(transport: &dyn Transport, topic: &str) -> Result<Replayed, TransportError> {
    replay_some_dead_letters(transport, topic, &WhichLetters::default())
}

/// As [`replay_dead_letters`], of those chosen. Letters that are left stay where they are, and with them those that were
/// replayed but lie behind one that was left.
///
/// # Errors
/// As [`replay_dead_letters`].
pub fn replay_some_dead_letters(
    transport: &dyn Transport,
    topic: &str,
    which: &WhichLetters,
) -> Result<Replayed, TransportError> {
    let mut writer = transport.writer("dead-letters")?;
    let mut replayed = Replayed::default();
    // Per partition, the end of those at its front that are all replayed, and whether one was left behind it.
    let mut done: BTreeMap<TopicPartition, (i64, bool)> = BTreeMap::new();
    walk(transport, topic, &mut |at, record| {
        let offset = record.offset;
        let (front, is_blocked) = done.entry(at.clone()).or_default();
        match DeadLetter::read(raw(record)).filter(|letter| which.holds(letter)) {
            Some(letter) => {
                back(&mut *writer, &letter)?;
                replayed.records += 1;
                replayed.kept += u64::from(*is_blocked);
            }
            None => {
                replayed.left += 1;
                *is_blocked = true;
            }
        }
        if !*is_blocked {
            *front = offset + 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    writer.flush()?;
    let replayed_before: Vec<_> = done
        .into_iter()
        .map(|(at, (front, _))| (at, front))
        .filter(|(_, front)| *front > 0)
        .collect();
    if !replayed_before.is_empty() {
        transport.delete_records(&replayed_before)?;
    }
    Ok(replayed)
}

/// Shows the dead letters chosen, each with the partition of the dead-letter topic that it lies in, until `each` breaks
/// off. Its record's offset is that in the dead-letter topic. Gives how many records do not say where they came from.
///
/// The calls block: within Tokio, use `spawn_blocking`.
///
/// # Errors
/// When the topic does not exist, or the cluster cannot be read.
pub fn list_dead_letters(
    transport: &dyn Transport,
    topic: &str,
    which: &WhichLetters,
    each: &mut dyn FnMut(&TopicPartition, DeadLetter) -> ControlFlow<()>,
) -> Result<u64, TransportError> {
    let mut foreign = 0;
    walk(transport, topic, &mut |at, record| {
        Ok(match DeadLetter::read(raw(record)) {
            Some(letter) if which.holds(&letter) => each(at, letter),
            Some(_) => ControlFlow::Continue(()),
            None => {
                foreign += 1;
                ControlFlow::Continue(())
            }
        })
    })?;
    Ok(foreign)
}

type Visit<'a> = dyn FnMut(&TopicPartition, Record) -> Result<ControlFlow<()>, TransportError> + 'a;

/// Goes through what a topic holds now, those of one partition in order.
fn walk(transport: &dyn Transport, topic: &str, visit: &mut Visit<'_>) -> Result<(), TransportError> {
    let found = transport.describe(&[topic])?.into_iter().next().flatten();
    let unknown = || TransportError::UnknownPartition(TopicPartition::new(topic, 0));
    let partitions = found.ok_or_else(unknown)?.partitions;
    let at: Vec<TopicPartition> = (0..partitions)
        .map(|number| TopicPartition::new(topic, number))
        .collect();
    let (starts, ends) = (transport.start_offsets(&at)?, transport.end_offsets(&at)?);
    let mut ahead: Vec<(TopicPartition, i64)> = at
        .into_iter()
        .zip(starts.into_iter().zip(ends))
        .filter(|(_, (start, end))| start < end)
        .map(|(partition, (_, end))| (partition, end))
        .collect();
    let mut reader = transport.reader("dead-letters")?;
    let from: Vec<_> = ahead
        .iter()
        .map(|(at, _)| (at.clone(), Start::Earliest))
        .collect();
    reader.assign(&from)?;
    let mut events = Vec::new();
    while !ahead.is_empty() {
        reader.poll(RECORDS_MAX, WAIT, &mut events)?;
        for event in events.drain(..) {
            let (partition, reached) = match event {
                Event::Records(batch) => {
                    let end = ahead.iter().find(|(at, _)| *at == batch.partition);
                    let end = end.map_or(0, |(_, end)| *end);
                    let mut reached = 0;
                    for record in batch.records {
                        reached = record.offset + 1;
                        if record.offset < end && visit(&batch.partition, record)?.is_break() {
                            return Ok(());
                        }
                    }
                    (batch.partition, reached)
                }
                Event::CaughtUp { partition, end } => (partition, end),
                Event::Assigned(_) | Event::Revoking(_) | Event::Lost(_) => continue,
            };
            ahead.retain(|(at, end)| *at != partition || reached < *end);
        }
    }
    Ok(())
}

fn back(writer: &mut dyn Writer, letter: &DeadLetter) -> Result<(), TransportError> {
    let record = Outgoing {
        topic: writer.topic(&letter.topic)?,
        partition: letter.partition,
        timestamp: letter.record.timestamp,
        key: letter.record.key.as_deref(),
        value: letter.record.value.as_deref(),
        headers: &letter.record.headers,
    };
    writer.send(&[record])
}
