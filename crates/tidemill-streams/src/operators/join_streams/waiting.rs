//! The records of left and outer joins that have met none so far, until their windows close.
//!
//! They are kept in one store of both sides, in the bytes of Kafka Streams:
//!
//! ```text
//! key    0   i64 big-endian  timestamp
//!        8   u8              1 of a left record, 0 of a right one
//!        9   ..              key
//! value  0   u8              1: entries of varying length
//!        1   i32 big-endian  number of entries
//!        5   { i32 length | u8 side, as in the key | value } …
//! ```
//!
//! Where headers are preserved, the row has those of all entries, each name after the entry's number and a colon.

use tidemill_data::{BoxError, Header, Headers, Place, Timestamp};
use tidemill_store::Direction;

use crate::{
    Record,
    context::Context,
    edge::Flow,
    failure::{Halt, guard},
    graph::SlotIndex,
};

use super::{
    JoinStreams, Kept,
    side::{decode, unreadable},
};

/// Which side a record is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Left,
    Right,
}

impl Of {
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Right => 0,
        }
    }
}

const VARYING_LENGTH: u8 = 1;

pub(super) struct Waiting {
    pub(super) store: Kept,
    next_emit: SlotIndex,
}

/// From when on the store has to be looked through.
pub(super) enum Looked {
    /// A record of this time was added.
    NoLaterThan(Timestamp),
    /// The store was looked through up to here.
    UpTo(Timestamp),
}

/// A record whose window is over.
struct Due {
    row_key: Vec<u8>,
    timestamp: Timestamp,
    of: Of,
    entries: Vec<Vec<u8>>,
    // Of all entries, where headers are preserved.
    headers: Headers,
}

impl Due {
    /// The headers of one entry.
    fn headers_of(&self, number: usize) -> Headers {
        let own = |header: &Header| {
            let (of, name) = header.name.split_once(':')?;
            let name = (of.parse() == Ok(number)).then_some(name)?.to_owned();
            let value = header.value.clone();
            Some(Header { name, value })
        };
        self.headers.iter().filter_map(own).collect()
    }
}

impl Waiting {
    pub(super) fn new(store: Kept, next_emit: SlotIndex) -> Self {
        Self { store, next_emit }
    }

    pub(super) fn add(
        &self,
        ctx: &mut Context,
        of: Of,
        timestamp: Timestamp,
        key: &[u8],
        (value, headers): (&[u8], &Headers),
    ) -> Result<(), Halt> {
        let row_key = row_key(timestamp, of, key);
        let id = ctx.store_id(self.store.index);
        let store = ctx.stores.key_value(id);
        let mut all_headers = store.headers(&row_key)?;
        let mut row = match store.get(&row_key)? {
            Some(row) => row.to_vec(),
            None => vec![VARYING_LENGTH, 0, 0, 0, 0],
        };
        let too_large = || unreadable(&self.store, "more waits under one key than can be counted".into());
        let count = row
            .get_mut(1..5)
            .and_then(|count| count.first_chunk_mut::<4>())
            .ok_or_else(|| unreadable(&self.store, MALFORMED.into()))?;
        let number = i32::from_be_bytes(*count);
        *count = number.checked_add(1).ok_or_else(too_large)?.to_be_bytes();
        for header in headers {
            all_headers.push(format!("{number}:{}", header.name), header.value.clone());
        }
        let length = i32::try_from(1 + value.len()).map_err(|_| too_large())?;
        row.extend_from_slice(&length.to_be_bytes());
        row.push(of.byte());
        row.extend_from_slice(value);
        store.put_with_headers(&row_key, &row, timestamp, &all_headers);
        Ok(())
    }

    /// Forgets the records of a key and time: they have met one.
    pub(super) fn remove(
        &self,
        ctx: &mut Context,
        of: Of,
        at: Timestamp,
        key: &[u8],
        now: Timestamp,
    ) -> Result<(), Halt> {
        let row_key = row_key(at, of, key);
        let id = ctx.store_id(self.store.index);
        let store = ctx.stores.key_value(id);
        if store.get(&row_key)?.is_some() {
            store.delete(&row_key, now);
        }
        Ok(())
    }

    /// Whether the wall clock lets anything be emitted; if so, the next time is set.
    fn may_emit(&self, ctx: &mut Context) -> bool {
        let interval = ctx.topology.emit_interval_ms;
        if interval == 0 {
            return true;
        }
        let now = ctx.wall_time.millis();
        let Some(mut slot) = ctx.take_slot(self.next_emit) else {
            return true;
        };
        let mut may = true;
        if let Some(next) = slot.downcast_mut::<i64>() {
            may = now >= *next;
            if may {
                *next = now.saturating_add(interval);
            }
        }
        ctx.put_slot(self.next_emit, slot);
        may
    }
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> JoinStreams<K, V, T, W, F>
where
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<W, BoxError> + Send + Sync,
{
    pub(super) fn look_from(&self, ctx: &mut Context, looked: Looked) {
        let from = match looked {
            Looked::NoLaterThan(added) => match ctx.waiting(self.clock) {
                Timestamp::MIN => added,
                known => known.min(added),
            },
            Looked::UpTo(seen) => seen,
        };
        ctx.set_waiting(self.clock, from);
    }

    /// Emits the records that met none and whose windows are over.
    ///
    /// When the store is looked through, and how far, is as in Kafka Streams, where it shows: it may leave a record
    /// waiting longer than it must.
    pub(super) fn emit_waiting(
        &self,
        ctx: &mut Context,
        own_after_ms: i64,
        now: Timestamp,
        headers: &Headers,
    ) -> Flow {
        let Some(waiting) = &self.waiting else {
            return Ok(());
        };
        let from = ctx.waiting(self.clock);
        let known = if from == Timestamp::MIN {
            Timestamp::MAX
        } else {
            from
        };
        // Nothing waiting, which is the greatest time, wraps around and so lets the clock be asked.
        let close = known
            .millis()
            .wrapping_add(own_after_ms)
            .wrapping_add(self.grace_ms);
        let looks = close < now.millis();
        if from != Timestamp::MIN && !looks || looks && !waiting.may_emit(ctx) || from == Timestamp::MAX {
            return Ok(());
        }
        for due in self.due(ctx, waiting, now)? {
            for (number, entry) in due.entries.iter().enumerate() {
                let headers = if ctx.preserves_headers() {
                    due.headers_of(number)
                } else {
                    headers.clone()
                };
                self.emit_alone(ctx, &waiting.store, &due, (entry, headers))?;
            }
            let id = ctx.store_id(waiting.store.index);
            ctx.stores.key_value(id).delete(&due.row_key, now);
        }
        Ok(())
    }

    fn due(&self, ctx: &mut Context, waiting: &Waiting, now: Timestamp) -> Result<Vec<Due>, Halt> {
        let mut due = Vec::new();
        let (mut left_open, mut right_open) = (false, false);
        let mut seen = Timestamp::MAX;
        let id = ctx.store_id(waiting.store.index);
        let mut rows = ctx.stores.key_value(id).all(Direction::Forward)?;
        while let Some((row_key, row)) = rows.entry() {
            let malformed = || unreadable(&waiting.store, MALFORMED.into());
            let (timestamp, of) = split_key(row_key).ok_or_else(malformed)?;
            seen = timestamp;
            // All that follows is later still.
            if left_open && right_open {
                break;
            }
            let after_ms = match of {
                Of::Left => self.this.after_ms,
                Of::Right => self.other.after_ms,
            };
            let close = timestamp.millis().saturating_add(after_ms);
            if close.saturating_add(self.grace_ms) >= now.millis() {
                match of {
                    Of::Left => left_open = true,
                    Of::Right => right_open = true,
                }
                // Kafka Streams goes from entry to entry, and so stops at the next one of the same row.
                if left_open && right_open && entries_of(row).ok_or_else(malformed)? > 1 {
                    break;
                }
            } else {
                due.push(Due {
                    row_key: row_key.to_vec(),
                    timestamp,
                    of,
                    entries: split_row(row).ok_or_else(malformed)?,
                    headers: rows.headers()?,
                });
            }
            rows.advance()?;
        }
        drop(rows);
        self.look_from(ctx, Looked::UpTo(seen));
        Ok(due)
    }

    fn emit_alone(
        &self,
        ctx: &mut Context,
        store: &Kept,
        due: &Due,
        (entry, headers): (&[u8], Headers),
    ) -> Flow {
        let none = Headers::new();
        let key_bytes = due.row_key.get(9..);
        let key = guard(|| self.key.decode(Place::key(&store.changelog, &none), key_bytes));
        let key = key
            .and_then(|key| key.map_err(BoxError::from))
            .map_err(|error| unreadable(store, error))?;
        let record = Record {
            key,
            value: (),
            timestamp: due.timestamp,
            headers,
        };
        match due.of {
            Of::Left => {
                let value = decode(&self.this.value, store, entry)?;
                self.meet(ctx, record.with_value((Some(&value), None)))
            }
            Of::Right => {
                let value = decode(&self.other.value, store, entry)?;
                self.meet(ctx, record.with_value((None, Some(&value))))
            }
        }
    }
}

const MALFORMED: &str = "a row that is no list of waiting records";

fn row_key(timestamp: Timestamp, of: Of, key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(9 + key.len());
    row_key.extend_from_slice(&timestamp.millis().to_be_bytes());
    row_key.push(of.byte());
    row_key.extend_from_slice(key);
    row_key
}

fn split_key(row_key: &[u8]) -> Option<(Timestamp, Of)> {
    let (timestamp, rest) = row_key.split_first_chunk()?;
    let of = match rest.first()? {
        1 => Of::Left,
        0 => Of::Right,
        _ => return None,
    };
    Some((Timestamp::from_millis(i64::from_be_bytes(*timestamp)), of))
}

fn entries_of(row: &[u8]) -> Option<i32> {
    row.get(1..)?.first_chunk().copied().map(i32::from_be_bytes)
}

/// The values of a row, without their sides.
fn split_row(row: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (form, rest) = row.split_first()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    if *form != VARYING_LENGTH {
        return None;
    }
    let mut entries = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (entry, after) = after.split_at_checked(length)?;
        entries.push(entry.get(1..)?.to_vec());
        rest = after;
    }
    rest.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_bytes_of_kafka_streams() {
        let key = row_key(Timestamp::from_millis(258), Of::Left, b"k");
        assert_eq!(key, [0, 0, 0, 0, 0, 0, 1, 2, 1, b'k']);
        assert!(matches!(split_key(&key), Some((at, Of::Left)) if at.millis() == 258));
        let row = [1, 0, 0, 0, 2, 0, 0, 0, 2, 1, b'a', 0, 0, 0, 3, 1, b'b', b'c'];
        assert_eq!(split_row(&row), Some(vec![b"a".to_vec(), b"bc".to_vec()]));
        assert_eq!(entries_of(&row), Some(2));
    }

    #[test]
    fn malformed_rows_are_none() {
        let row = [1, 0, 0, 0, 2, 0, 0, 0, 2, 1, b'a', 0, 0, 0, 3, 1, b'b', b'c'];
        for cut in 0..row.len() {
            assert_eq!(split_row(row.get(..cut).unwrap()), None, "cut at {cut}");
        }
        assert_eq!(split_row(&[1, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(split_row(&[1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(split_row(&[0, 0, 0, 0, 0]), None);
        assert!(split_key(&[0; 8]).is_none());
    }
}
