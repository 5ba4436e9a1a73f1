//! The session store: values by key and session. The rows are as [`crate::segments`] has them.

use tidemill_data::{Headers, Timestamp};

use crate::{
    ChangelogRecord, Direction, Put, StoreError,
    segments::{Keys, SEGMENT_BYTES, SegmentKey, SegmentedRows, Segments, Wanted},
    space::{Prefixes, Space},
};

const SUFFIX_BYTES: usize = 16;

/// The value of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The time of the session's first record.
    pub start_ms: i64,
    /// The time of its last.
    pub end_ms: i64,
    /// The value.
    pub value: &'a [u8],
}

/// Values by key and session, for as long as the retention says after the newest end.
pub struct SessionStore {
    pub(crate) space: Space,
    pub(crate) segments: Segments,
    row_key: Vec<u8>,
}

impl SessionStore {
    pub(crate) const PREFIXES: Prefixes = Prefixes {
        key: SEGMENT_BYTES,
        value: 0,
    };

    pub(crate) fn new(space: Space, retention_ms: i64) -> Self {
        Self {
            space,
            segments: Segments::new(retention_ms),
            row_key: Vec::new(),
        }
    }

    fn set_row_key(&mut self, key: &[u8], start_ms: i64, end_ms: i64) {
        self.row_key.clear();
        self.row_key
            .extend_from_slice(&self.segments.segment(end_ms).to_be_bytes());
        self.row_key.extend_from_slice(key);
        tidemill_data::window_keys::push_session_suffix(start_ms, end_ms, &mut self.row_key);
    }

    /// Sets the value of a key's session.
    pub fn put(&mut self, key: &[u8], start_ms: i64, end_ms: i64, value: &[u8], timestamp: Timestamp) -> Put {
        self.put_with_headers(key, (start_ms, end_ms), value, timestamp, &Headers::new())
    }

    /// As [`put`](Self::put), with headers for the changelog record, and for the row where the store keeps them.
    pub fn put_with_headers(
        &mut self,
        key: &[u8],
        (start_ms, end_ms): (i64, i64),
        value: &[u8],
        timestamp: Timestamp,
        headers: &Headers,
    ) -> Put {
        if self.observe(end_ms) == Put::Expired {
            return Put::Expired;
        }
        self.set_row_key(key, start_ms, end_ms);
        self.space.put(&self.row_key, [value, &[]], timestamp, headers);
        Put::Kept
    }

    /// Removes a key's session.
    pub fn remove(&mut self, key: &[u8], start_ms: i64, end_ms: i64, timestamp: Timestamp) -> Put {
        if self.observe(end_ms) == Put::Expired {
            return Put::Expired;
        }
        self.set_row_key(key, start_ms, end_ms);
        self.space.delete(&self.row_key, timestamp, &Headers::new());
        Put::Kept
    }

    fn observe(&mut self, end_ms: i64) -> Put {
        self.segments.observe(end_ms);
        self.space.raise_floor(&self.segments.floor());
        if self.segments.is_live(end_ms) {
            Put::Kept
        } else {
            Put::Expired
        }
    }

    /// The value of a key's session.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn get(&mut self, key: &[u8], start_ms: i64, end_ms: i64) -> Result<Option<&[u8]>, StoreError> {
        if !self.segments.is_live(end_ms) {
            return Ok(None);
        }
        self.set_row_key(key, start_ms, end_ms);
        self.space.get(&self.row_key)
    }

    /// The headers of a key's session, where the store keeps them.
    ///
    /// # Errors
    /// When the database cannot be read or holds a row without headers.
    pub fn headers(&mut self, key: &[u8], start_ms: i64, end_ms: i64) -> Result<Headers, StoreError> {
        self.set_row_key(key, start_ms, end_ms);
        self.space.headers(&self.row_key)
    }

    /// A key's sessions that end at `earliest_end_ms` or later and start at `latest_start_ms` or earlier, in order of
    /// end, then of start: those that a record within a gap of both would join.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find_sessions(
        &mut self,
        key: &[u8],
        earliest_end_ms: i64,
        latest_start_ms: i64,
        direction: Direction,
    ) -> Result<SessionRows<'_>, StoreError> {
        self.rows(
            Keys::One(key.to_vec()),
            earliest_end_ms,
            latest_start_ms,
            direction,
        )
    }

    /// All sessions of a key, in order of end, then of start.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn fetch(&mut self, key: &[u8], direction: Direction) -> Result<SessionRows<'_>, StoreError> {
        self.find_sessions(key, 0, i64::MAX, direction)
    }

    /// As [`find_sessions`](Self::find_sessions) for keys from `from` to `to`, both inclusive, `None` open. They come
    /// segment by segment, within it by key, then by end.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find_sessions_range(
        &mut self,
        (from, to): (Option<&[u8]>, Option<&[u8]>),
        earliest_end_ms: i64,
        latest_start_ms: i64,
        direction: Direction,
    ) -> Result<SessionRows<'_>, StoreError> {
        self.rows(Keys::range(from, to), earliest_end_ms, latest_start_ms, direction)
    }

    /// All sessions, in the order of [`find_sessions_range`](Self::find_sessions_range).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all(&mut self, direction: Direction) -> Result<SessionRows<'_>, StoreError> {
        self.rows(Keys::range(None, None), 0, i64::MAX, direction)
    }

    fn rows(
        &mut self,
        keys: Keys,
        earliest_end_ms: i64,
        latest_start_ms: i64,
        direction: Direction,
    ) -> Result<SessionRows<'_>, StoreError> {
        let wanted = Wanted {
            keys,
            from_ms: earliest_end_ms,
            to_ms: i64::MAX,
            suffix_bytes: SUFFIX_BYTES,
            direction,
        };
        let rows = SegmentedRows::open(&mut self.space, &self.segments, wanted)?;
        let mut rows = SessionRows {
            rows,
            latest_start_ms,
        };
        rows.settle()?;
        Ok(rows)
    }

    /// The greatest session end seen, which decides what has expired; `None` before the first.
    #[must_use]
    pub fn stream_time(&self) -> Option<Timestamp> {
        let ms = self.segments.stream_time_ms();
        (ms > i64::MIN).then_some(Timestamp::from_millis(ms))
    }

    pub(crate) fn restore(&mut self, record: &ChangelogRecord<'_>) -> Result<(), StoreError> {
        let (_, _, end_ms) =
            tidemill_data::window_keys::split_session(record.key).ok_or(StoreError::Corrupt {
                what: "a changelog record whose key is that of no session",
            })?;
        if self.observe(end_ms) == Put::Kept {
            let segment = self.segments.segment(end_ms).to_be_bytes();
            self.space.restore(&segment, &[], record);
        }
        Ok(())
    }
}

/// A place in a scan over a session store.
pub struct SessionRows<'a> {
    rows: SegmentedRows<'a>,
    latest_start_ms: i64,
}

impl SessionRows<'_> {
    /// The session at this place; `None` at the end.
    #[must_use]
    pub fn entry(&self) -> Option<SessionRow<'_>> {
        let (row, value) = self.rows.entry()?;
        Some(SessionRow {
            key: row.key,
            start_ms: start_ms(&row)?,
            end_ms: row.time_ms,
            value,
        })
    }

    /// The headers of the session at this place, where the store keeps them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn headers(&self) -> Result<Headers, StoreError> {
        self.rows.headers()
    }

    /// Goes to the next session; at the end it stays there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn advance(&mut self) -> Result<(), StoreError> {
        self.rows.advance()?;
        self.settle()
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        while let Some((row, _)) = self.rows.entry() {
            if start_ms(&row).is_some_and(|start_ms| start_ms <= self.latest_start_ms) {
                break;
            }
            self.rows.advance()?;
        }
        Ok(())
    }
}

fn start_ms(row: &SegmentKey<'_>) -> Option<i64> {
    row.rest.try_into().ok().map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests;
