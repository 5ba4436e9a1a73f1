//! The key-value store that keeps each row's timestamp, as tables and aggregations use.
//!
//! A row in the database is what Kafka Streams keeps:
//! ```text
//! key    the key
//! value  0  i64 big-endian  timestamp
//!        8  ..              value
//! ```
//! Its changelog record has the plain value, and the timestamp as the record's.

use tidemill_data::{Headers, Timestamp};

use crate::{
    ApproximateSize, Direction, KeyRange, Rows, StoreError,
    key_value::after,
    prefix_end,
    space::{Prefixes, Space},
};

/// Values with timestamps by key, in the order of the keys' bytes.
pub struct TimestampedStore {
    pub(crate) space: Space,
}

impl TimestampedStore {
    pub(crate) const PREFIXES: Prefixes = Prefixes { key: 0, value: 8 };

    /// The value of a key and its timestamp.
    ///
    /// # Errors
    /// When the database cannot be read or holds a row without a timestamp.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<(&[u8], Timestamp)>, StoreError> {
        let Some(row) = self.space.get(key)? else {
            return Ok(None);
        };
        split(row).map(Some).ok_or(StoreError::Corrupt {
            what: "a row without a timestamp",
        })
    }

    /// The headers of a key's row, where the store keeps them.
    ///
    /// # Errors
    /// When the database cannot be read or holds a row without headers.
    pub fn headers(&mut self, key: &[u8]) -> Result<Headers, StoreError> {
        self.space.headers(key)
    }

    /// Reads keys that will be asked for soon, all at once.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn prefetch(&mut self, keys: &[&[u8]]) -> Result<(), StoreError> {
        self.space.prefetch(keys)
    }

    /// Sets the value and timestamp of a key.
    pub fn put(&mut self, key: &[u8], value: &[u8], timestamp: Timestamp) {
        self.put_with_headers(key, value, timestamp, &Headers::new());
    }

    /// As [`put`](Self::put), with headers for the changelog record, and for the row where the store keeps them.
    pub fn put_with_headers(&mut self, key: &[u8], value: &[u8], timestamp: Timestamp, headers: &Headers) {
        self.space.put(
            key,
            [&timestamp.millis().to_be_bytes(), value],
            timestamp,
            headers,
        );
    }

    /// Removes a key, and writes a tombstone of this timestamp to the changelog whether or not it was there.
    pub fn delete(&mut self, key: &[u8], timestamp: Timestamp) {
        self.space.delete(key, timestamp, &Headers::new());
    }

    /// All rows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all(&mut self, direction: Direction) -> Result<TimestampedRows<'_>, StoreError> {
        self.space.scan(KeyRange::ALL, direction).map(TimestampedRows)
    }

    /// Rows with keys from `from` to `to`, both inclusive.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn range(
        &mut self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Result<TimestampedRows<'_>, StoreError> {
        let to = to.map(after);
        self.space
            .scan(KeyRange::new(from.unwrap_or_default(), to.as_deref()), direction)
            .map(TimestampedRows)
    }

    /// Rows with keys that start with `prefix`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn prefix(&mut self, prefix: &[u8], direction: Direction) -> Result<TimestampedRows<'_>, StoreError> {
        self.space
            .scan(KeyRange::new(prefix, prefix_end(prefix).as_deref()), direction)
            .map(TimestampedRows)
    }

    /// About how much is committed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn approximate_size(&self) -> Result<ApproximateSize, StoreError> {
        self.space.approximate_size()
    }
}

/// A place in a scan over a timestamped store.
pub struct TimestampedRows<'a>(Rows<'a>);

impl TimestampedRows<'_> {
    /// The key, value and timestamp at this place; `None` at the end.
    #[must_use]
    pub fn entry(&self) -> Option<(&[u8], &[u8], Timestamp)> {
        let (key, row) = self.0.entry()?;
        let (value, timestamp) = split(row)?;
        Some((key, value, timestamp))
    }

    /// The headers of the row at this place; none in a store that keeps none.
    ///
    /// # Errors
    /// When the row is damaged.
    pub fn headers(&self) -> Result<Headers, StoreError> {
        self.0.headers()
    }

    /// Goes to the next row; at the end it stays there.
    ///
    /// # Errors
    /// When the database cannot be read. The scan is then at its end.
    pub fn advance(&mut self) -> Result<(), StoreError> {
        self.0.advance()
    }
}

/// Value and timestamp of a row.
pub(crate) fn split(row: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (timestamp, value) = row.split_first_chunk()?;
    Some((value, Timestamp::from_millis(i64::from_be_bytes(*timestamp))))
}
