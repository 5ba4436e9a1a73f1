//! Stores in which something comes due: timers of keys, rows that expire.

use tidemill_data::{BoxError, Timestamp};
use tidemill_store::{Direction, Rows};

use super::ProcessorContext;
use crate::{failure::Halt, graph::StoreIndex, punctuation::Clock};

/// How much of what is due one look at a store takes, so that a task does other work between.
pub(super) const DUE_MAX: usize = 1_000;

/// A store that is looked at when something in it comes due.
pub(crate) trait DueStore: Send + Sync {
    fn index(&self) -> StoreIndex;

    /// By which clock.
    fn clock(&self) -> Clock;

    /// The timers of a `KeyTimers<K>`, for the processor whose records have such keys; `None` for what needs no
    /// processor.
    fn timers(&self) -> Option<&(dyn std::any::Any + Send + Sync)>;

    /// Removes what has expired at `now`; when the next does.
    fn expire(&self, at: &mut ProcessorContext<'_>, now: Timestamp) -> Result<Option<Timestamp>, BoxError>;
}

/// A time as bytes that sort as it does.
pub(crate) fn time_bytes(time: Timestamp) -> [u8; 8] {
    (time.millis() ^ i64::MIN).to_be_bytes()
}

/// The time at the front of a key, and what follows it.
pub(super) fn split_time(key: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (time, rest) = key.split_first_chunk()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*time) ^ i64::MIN), rest))
}

/// What is due of an index by time.
pub(crate) struct Due<K> {
    /// When each entry was due, and its key.
    pub(crate) entries: Vec<(Timestamp, K)>,
    /// When the first entry after them is due.
    pub(crate) next: Option<Timestamp>,
}

/// Reads entries `prefix | time | key` in order of time, as long as they are due and at most [`DUE_MAX`].
pub(crate) fn due_entries(mut rows: Rows<'_>, prefix: usize, now: Timestamp) -> Result<Due<Vec<u8>>, Halt> {
    let mut due = Due {
        entries: Vec::new(),
        next: None,
    };
    while let Some((key, _)) = rows.entry() {
        let Some((time, key)) = key.get(prefix..).and_then(split_time) else {
            break;
        };
        if time > now || due.entries.len() == DUE_MAX {
            due.next = Some(time);
            break;
        }
        due.entries.push((time, key.to_vec()));
        rows.advance()?;
    }
    Ok(due)
}

/// The order in which entries come due.
pub(crate) const BY_TIME: Direction = Direction::Forward;
