//! The plain key-value store.

use tidemill_data::{Headers, Timestamp};

use crate::{ApproximateSize, Direction, KeyRange, Rows, StoreError, prefix_end, space::Space};

/// Values by key, in the order of the keys' bytes. A row in the database is the key and the value.
pub struct KeyValueStore {
    pub(crate) space: Space,
}

impl KeyValueStore {
    /// The value of a key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        self.space.get(key)
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

    /// Sets the value of a key; `timestamp` is that of the changelog record.
    pub fn put(&mut self, key: &[u8], value: &[u8], timestamp: Timestamp) {
        self.put_with_headers(key, value, timestamp, &Headers::new());
    }

    /// As [`put`](Self::put), with headers for the changelog record, and for the row where the store keeps them.
    pub fn put_with_headers(&mut self, key: &[u8], value: &[u8], timestamp: Timestamp, headers: &Headers) {
        self.space.put(key, [value, &[]], timestamp, headers);
    }

    /// Removes a key, and writes a tombstone to the changelog whether or not it was there.
    pub fn delete(&mut self, key: &[u8], timestamp: Timestamp) {
        self.space.delete(key, timestamp, &Headers::new());
    }

    /// All rows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all(&mut self, direction: Direction) -> Result<Rows<'_>, StoreError> {
        self.space.scan(KeyRange::ALL, direction)
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
    ) -> Result<Rows<'_>, StoreError> {
        let to = to.map(after);
        self.space
            .scan(KeyRange::new(from.unwrap_or_default(), to.as_deref()), direction)
    }

    /// Rows with keys that start with `prefix`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn prefix(&mut self, prefix: &[u8], direction: Direction) -> Result<Rows<'_>, StoreError> {
        self.space
            .scan(KeyRange::new(prefix, prefix_end(prefix).as_deref()), direction)
    }

    /// About how much is committed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn approximate_size(&self) -> Result<ApproximateSize, StoreError> {
        self.space.approximate_size()
    }
}

/// The key right after `key`.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    let mut after = Vec::with_capacity(key.len() + 1);
    after.extend_from_slice(key);
    after.push(0);
    after
}
