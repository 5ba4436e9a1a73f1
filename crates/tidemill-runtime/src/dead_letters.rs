//! Dead letters back to where they came from.

use std::time::Duration;

use tidemill_client::{Event, Outgoing, Start, TopicPartition, Transport, TransportError};
use tidemill_streams::DeadLetter;

use crate::live_task::raw;

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records written to the topics and partitions that they came from.
    pub records: u64,
    /// Records that do not say where they came from, and were left.
    pub left: u64,
}

/// Records read at once.
const RECORDS_MAX: usize = 1_000;
/// How long one look for records waits.
const WAIT: Duration = Duration::from_millis(100);

/// Writes the records of a dead-letter topic back to the topics and partitions they came from, without the headers
/// about their errors, for a program that has been mended to read them again. It takes what is there now. If every
/// record found its way, they are deleted from the dead-letter topic; so a replay that is repeated, after a crash for
/// instance, repeats nothing but what it had not finished.
///
/// The calls block: within Tokio, use `spawn_blocking`.
///
/// # Errors
/// When the topic does not exist, or the cluster cannot be read or written. Then nothing was deleted.
pub fn replay_dead_letters(transport: &dyn Transport, topic: &str) -> Result<Replayed, TransportError> {
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
    let all = ahead.clone();
    let mut reader = transport.reader("dead-letters")?;
    let mut writer = transport.writer("dead-letters")?;
    let from: Vec<_> = ahead
        .iter()
        .map(|(at, _)| (at.clone(), Start::Earliest))
        .collect();
    reader.assign(&from)?;
    let mut replayed = Replayed::default();
    let mut events = Vec::new();
    while !ahead.is_empty() {
        reader.poll(RECORDS_MAX, WAIT, &mut events)?;
        for event in events.drain(..) {
            let (partition, reached) = match event {
                Event::Records(batch) => {
                    let end = ahead
                        .iter()
                        .find(|(at, _)| *at == batch.partition)
                        .map(|(_, end)| *end);
                    let mut reached = 0;
                    for record in batch.records {
                        reached = record.offset + 1;
                        if end.is_some_and(|end| record.offset < end) {
                            back(&mut *writer, record, &mut replayed)?;
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
    writer.flush()?;
    if replayed.left == 0 {
        transport.delete_records(&all)?;
    }
    Ok(replayed)
}

fn back(
    writer: &mut dyn tidemill_client::Writer,
    record: tidemill_client::Record,
    replayed: &mut Replayed,
) -> Result<(), TransportError> {
    let Some(letter) = DeadLetter::read(raw(record)) else {
        replayed.left += 1;
        return Ok(());
    };
    replayed.records += 1;
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
