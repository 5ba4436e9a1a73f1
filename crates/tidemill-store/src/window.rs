//! The window store: values by key and window start. The rows are as [`crate::segments`] has them.

use tidemill_data::{Headers, Timestamp};

use crate::{
    ChangelogRecord, Direction, StoreError,
    segments::{Keys, SEGMENT_BYTES, SegmentedRows, Segments, Wanted},
    space::{Prefixes, Space},
    timestamped,
};

const SUFFIX_BYTES: usize = 12;

/// What a window store keeps of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowValues {
    /// One value.
    Plain,
    /// One value with its timestamp, as windowed aggregations use.
    Timestamped,
    /// Every value put, in order, as the sides of a stream-stream join use.
    Duplicates,
}

/// Whether a write was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Put {
    /// It was.
    Kept,
    /// Its time had expired by the store's retention, so nothing was written.
    Expired,
}

/// One value of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// When the window starts.
    pub start_ms: i64,
    /// The value.
    pub value: &'a [u8],
    /// The value's timestamp; where none is kept, the window's start.
    pub timestamp: Timestamp,
}

/// Values by key and window start, for as long as the retention says after the newest start.
pub struct WindowStore {
    pub(crate) space: Space,
    pub(crate) segments: Segments,
    values: WindowValues,
    // The number of the last value put, when duplicates are kept: it orders them.
    pub(crate) sequence: i32,
    row_key: Vec<u8>,
}

impl WindowStore {
    pub(crate) const fn prefixes(values: WindowValues) -> Prefixes {
        let value = match values {
            WindowValues::Timestamped => 8,
            WindowValues::Plain | WindowValues::Duplicates => 0,
        };
        Prefixes {
            key: SEGMENT_BYTES,
            value,
        }
    }

    pub(crate) fn new(space: Space, retention_ms: i64, values: WindowValues) -> Self {
        Self {
            space,
            segments: Segments::new(retention_ms),
            values,
            sequence: 0,
            row_key: Vec::new(),
        }
    }

    pub(crate) fn values(&self) -> WindowValues {
        self.values
    }

    fn set_row_key(&mut self, key: &[u8], start_ms: i64, sequence: i32) {
        self.row_key.clear();
        self.row_key
            .extend_from_slice(&self.segments.segment(start_ms).to_be_bytes());
        self.row_key.extend_from_slice(key);
        tidemill_data::window_keys::push_store_suffix(start_ms, sequence, &mut self.row_key);
    }

    /// Sets the value of a key in the window that starts at `start_ms`, or adds it where duplicates are kept.
    pub fn put(&mut self, key: &[u8], start_ms: i64, value: &[u8], timestamp: Timestamp) -> Put {
        self.put_with_headers(key, start_ms, value, timestamp, &Headers::new())
    }

    /// As [`put`](Self::put), with headers for the changelog record, and for the row where the store keeps them.
    pub fn put_with_headers(
        &mut self,
        key: &[u8],
        start_ms: i64,
        value: &[u8],
        timestamp: Timestamp,
        headers: &Headers,
    ) -> Put {
        if self.observe(start_ms) == Put::Expired {
            return Put::Expired;
        }
        if self.values == WindowValues::Duplicates {
            // As in Kafka Streams: from 1, and around before it would be negative.
            self.sequence = self.sequence.wrapping_add(1) & i32::MAX;
        }
        let sequence = self.sequence;
        self.set_row_key(key, start_ms, sequence);
        let stamp = timestamp.millis().to_be_bytes();
        let prefix: &[u8] = if self.values == WindowValues::Timestamped {
            &stamp
        } else {
            &[]
        };
        self.space.put(&self.row_key, [prefix, value], timestamp, headers);
        Put::Kept
    }

    /// Removes a key from the window that starts at `start_ms`. Where duplicates are kept it does nothing, as in
    /// Kafka Streams.
    pub fn delete(&mut self, key: &[u8], start_ms: i64, timestamp: Timestamp) -> Put {
        if self.observe(start_ms) == Put::Expired {
            return Put::Expired;
        }
        if self.values != WindowValues::Duplicates {
            self.set_row_key(key, start_ms, 0);
            self.space.delete(&self.row_key, timestamp, &Headers::new());
        }
        Put::Kept
    }

    fn observe(&mut self, start_ms: i64) -> Put {
        self.segments.observe(start_ms);
        self.space.raise_floor(&self.segments.floor());
        if self.segments.is_live(start_ms) {
            Put::Kept
        } else {
            Put::Expired
        }
    }

    /// The value of a key in the window that starts at `start_ms`, and its timestamp as in [`WindowRow`].
    ///
    /// # Errors
    /// When the database cannot be read.
    ///
    /// # Panics
    /// When the store keeps duplicates: those are fetched.
    pub fn get(&mut self, key: &[u8], start_ms: i64) -> Result<Option<(&[u8], Timestamp)>, StoreError> {
        assert!(
            self.values != WindowValues::Duplicates,
            "a store of duplicates has no single value"
        );
        if !self.segments.is_live(start_ms) {
            return Ok(None);
        }
        self.set_row_key(key, start_ms, 0);
        let Some(row) = self.space.get(&self.row_key)? else {
            return Ok(None);
        };
        split_value(self.values, start_ms, row).map(Some).ok_or(UNSTAMPED)
    }

    /// The headers of a key's row in the window that starts at `start_ms`, where the store keeps them; where it keeps
    /// duplicates too, see [`WindowRows::headers`].
    ///
    /// # Errors
    /// When the database cannot be read or holds a row without headers.
    pub fn headers(&mut self, key: &[u8], start_ms: i64) -> Result<Headers, StoreError> {
        self.set_row_key(key, start_ms, 0);
        self.space.headers(&self.row_key)
    }

    /// The values of a key in windows that start from `from_ms` to `to_ms`, both inclusive, in order of start.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn fetch(
        &mut self,
        key: &[u8],
        from_ms: i64,
        to_ms: i64,
        direction: Direction,
    ) -> Result<WindowRows<'_>, StoreError> {
        self.rows(Keys::One(key.to_vec()), from_ms, to_ms, direction)
    }

    /// The values of keys from `from` to `to` in windows that start from `from_ms` to `to_ms`, all inclusive, `None`
    /// open. They come segment by segment, within it by key, then by start.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn fetch_range(
        &mut self,
        (from, to): (Option<&[u8]>, Option<&[u8]>),
        from_ms: i64,
        to_ms: i64,
        direction: Direction,
    ) -> Result<WindowRows<'_>, StoreError> {
        self.rows(Keys::range(from, to), from_ms, to_ms, direction)
    }

    /// All values of windows that start from `from_ms` to `to_ms`, in the order of
    /// [`fetch_range`](Self::fetch_range).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn fetch_all(
        &mut self,
        from_ms: i64,
        to_ms: i64,
        direction: Direction,
    ) -> Result<WindowRows<'_>, StoreError> {
        self.rows(Keys::range(None, None), from_ms, to_ms, direction)
    }

    /// All values, in the order of [`fetch_range`](Self::fetch_range).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all(&mut self, direction: Direction) -> Result<WindowRows<'_>, StoreError> {
        self.fetch_all(0, i64::MAX, direction)
    }

    fn rows(
        &mut self,
        keys: Keys,
        from_ms: i64,
        to_ms: i64,
        direction: Direction,
    ) -> Result<WindowRows<'_>, StoreError> {
        let wanted = Wanted {
            keys,
            from_ms,
            to_ms,
            suffix_bytes: SUFFIX_BYTES,
            direction,
        };
        let rows = SegmentedRows::open(&mut self.space, &self.segments, wanted)?;
        Ok(WindowRows {
            rows,
            values: self.values,
        })
    }

    /// The greatest window start seen, which decides what has expired; `None` before the first.
    #[must_use]
    pub fn stream_time(&self) -> Option<Timestamp> {
        let ms = self.segments.stream_time_ms();
        (ms > i64::MIN).then_some(Timestamp::from_millis(ms))
    }

    pub(crate) fn restore(&mut self, record: &ChangelogRecord<'_>) -> Result<(), StoreError> {
        let (_, start_ms, sequence) =
            tidemill_data::window_keys::split_store(record.key).ok_or(StoreError::Corrupt {
                what: "a changelog record whose key is that of no window",
            })?;
        self.sequence = self.sequence.max(sequence);
        if self.observe(start_ms) == Put::Expired {
            return Ok(());
        }
        let segment = self.segments.segment(start_ms).to_be_bytes();
        let stamp = record.timestamp.millis().to_be_bytes();
        let prefix: &[u8] = if self.values == WindowValues::Timestamped {
            &stamp
        } else {
            &[]
        };
        self.space.restore(&segment, prefix, record);
        Ok(())
    }
}

const UNSTAMPED: StoreError = StoreError::Corrupt {
    what: "a window's value without a timestamp",
};

fn split_value(values: WindowValues, start_ms: i64, row: &[u8]) -> Option<(&[u8], Timestamp)> {
    match values {
        WindowValues::Timestamped => timestamped::split(row),
        WindowValues::Plain | WindowValues::Duplicates => Some((row, Timestamp::from_millis(start_ms))),
    }
}

/// A place in a scan over a window store.
pub struct WindowRows<'a> {
    rows: SegmentedRows<'a>,
    values: WindowValues,
}

impl WindowRows<'_> {
    /// The value at this place; `None` at the end.
    #[must_use]
    pub fn entry(&self) -> Option<WindowRow<'_>> {
        let (row, value) = self.rows.entry()?;
        let (value, timestamp) = split_value(self.values, row.time_ms, value)?;
        Some(WindowRow {
            key: row.key,
            start_ms: row.time_ms,
            value,
            timestamp,
        })
    }

    /// The headers of the row at this place, where the store keeps them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn headers(&self) -> Result<Headers, StoreError> {
        self.rows.headers()
    }

    /// Goes to the next value; at the end it stays there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn advance(&mut self) -> Result<(), StoreError> {
        self.rows.advance()
    }
}

#[cfg(test)]
mod tests;
