//! One store's rows: its family of the database, and its overlay.

use std::sync::Arc;

use tidemill_data::{Headers, Timestamp};

use crate::{
    ApproximateSize, ByteStore, ChangelogRecord, Direction, Family, KeyRange, Rows, StoreError, StoreSpec,
    WriteOp,
    overlay::Overlay,
    stored_headers::{self, NO_HEADERS},
};

/// How much of a row's key and value is ours, and does not go to the changelog.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prefixes {
    pub(crate) key: usize,
    pub(crate) value: usize,
}

pub(crate) struct Space {
    name: String,
    base: Arc<dyn ByteStore>,
    family: Family,
    overlay: Overlay,
    prefixes: Prefixes,
    // Whether each value has its headers behind it, as `stored_headers` says.
    keeps_headers: bool,
    with_headers: Vec<u8>,
    // What the database gave for a key that the cache had no room for.
    value: Vec<u8>,
    // The key of a row that is restored.
    key: Vec<u8>,
    // Rows below the floor have expired: they are not seen, and the next write to the database deletes them.
    floor: Vec<u8>,
    floor_committed: Vec<u8>,
    // Below it the database has no rows.
    floor_settled: Vec<u8>,
}

impl Space {
    pub(crate) fn open(
        base: &Arc<dyn ByteStore>,
        spec: &StoreSpec,
        prefixes: Prefixes,
        cache_bytes_max: usize,
    ) -> Result<Self, StoreError> {
        let name = &spec.name;
        let family = base.family(name).ok_or_else(|| StoreError::NoFamily {
            name: name.to_owned(),
        })?;
        Ok(Self {
            name: name.to_owned(),
            base: Arc::clone(base),
            family,
            overlay: Overlay::new(cache_bytes_max),
            prefixes,
            keeps_headers: spec.keeps_headers,
            with_headers: Vec::new(),
            value: Vec::new(),
            key: Vec::new(),
            floor: Vec::new(),
            floor_committed: Vec::new(),
            floor_settled: Vec::new(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        let keeps_headers = self.keeps_headers;
        match self.get_row(key)? {
            Some(row) if keeps_headers => {
                let (value, _) = stored_headers::split(row).ok_or(NO_HEADERS)?;
                Ok(Some(value))
            }
            row => Ok(row),
        }
    }

    /// The headers of a row, where they are kept; none of a row that is not there.
    pub(crate) fn headers(&mut self, key: &[u8]) -> Result<Headers, StoreError> {
        if !self.keeps_headers {
            return Ok(Headers::new());
        }
        let Some(row) = self.get_row(key)? else {
            return Ok(Headers::new());
        };
        let (_, headers) = stored_headers::split(row).ok_or(NO_HEADERS)?;
        stored_headers::decode(headers)
    }

    fn get_row(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if key < self.floor.as_slice() {
            return Ok(None);
        }
        if let Some(id) = self.overlay.find(key) {
            return Ok(self.overlay.value(id));
        }
        let present = self.base.get(self.family, key, &mut self.value)?;
        let value = present.then_some(self.value.as_slice());
        self.overlay.remember(key, value);
        Ok(value)
    }

    /// Reads keys that will be asked for soon, all at once.
    pub(crate) fn prefetch(&mut self, keys: &[&[u8]]) -> Result<(), StoreError> {
        let mut wanted: Vec<&[u8]> = keys.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|key| self.overlay.find(key).is_none());
        if wanted.is_empty() {
            return Ok(());
        }
        let overlay = &mut self.overlay;
        self.base.multi_get(self.family, &wanted, &mut |i, value| {
            if let Some(key) = wanted.get(i) {
                overlay.remember(key, value);
            }
        })
    }

    pub(crate) fn put(&mut self, key: &[u8], value: [&[u8]; 2], timestamp: Timestamp, headers: &Headers) {
        if !self.keeps_headers {
            self.overlay.write(key, Some(value), timestamp, headers);
            return;
        }
        let [head, tail] = value;
        self.with_headers.clear();
        self.with_headers.extend_from_slice(tail);
        stored_headers::push(headers, &mut self.with_headers);
        let value = Some([head, &self.with_headers]);
        self.overlay.write(key, value, timestamp, headers);
    }

    /// Writes the row of a changelog record, the store's own part of key and value before the record's.
    pub(crate) fn restore(&mut self, key_prefix: &[u8], value_prefix: &[u8], record: &ChangelogRecord<'_>) {
        let none = Headers::new();
        let headers = if self.keeps_headers { record.headers } else { &none };
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(key_prefix);
        key.extend_from_slice(record.key);
        match record.value {
            Some(value) => self.put(&key, [value_prefix, value], record.timestamp, headers),
            None => self.delete(&key, record.timestamp, headers),
        }
        self.key = key;
    }

    pub(crate) fn delete(&mut self, key: &[u8], timestamp: Timestamp, headers: &Headers) {
        self.overlay.write(key, None, timestamp, headers);
    }

    pub(crate) fn scan(&mut self, range: KeyRange<'_>, direction: Direction) -> Result<Rows<'_>, StoreError> {
        self.order();
        self.scan_ordered(range, direction)
    }

    /// Makes the overlay keep the order of its keys, as [`Space::scan_ordered`] needs it.
    pub(crate) fn order(&mut self) {
        self.overlay.order();
    }

    pub(crate) fn scan_ordered(
        &self,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Result<Rows<'_>, StoreError> {
        let range = KeyRange {
            from: range.from.max(&self.floor),
            to: range.to,
        };
        let base = self.base.scan(self.family, range, direction)?;
        Rows::merge(
            base,
            self.overlay.scan(range, direction),
            direction,
            self.keeps_headers,
        )
    }

    /// Lets all rows below `floor` expire.
    pub(crate) fn raise_floor(&mut self, floor: &[u8]) {
        if floor > self.floor.as_slice() {
            self.floor.clear();
            self.floor.extend_from_slice(floor);
        }
    }

    pub(crate) fn approximate_size(&self) -> Result<ApproximateSize, StoreError> {
        self.base.approximate_size(self.family)
    }

    pub(crate) fn overlay_bytes(&self) -> usize {
        self.overlay.bytes()
    }

    pub(crate) fn dirty_bytes(&self) -> usize {
        self.overlay.dirty_bytes()
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.overlay.is_dirty() || self.floor != self.floor_committed
    }

    pub(crate) fn changelog(&self, emit: &mut dyn FnMut(ChangelogRecord<'_>)) {
        for row in self.overlay.dirty() {
            let key = row
                .key
                .get(self.prefixes.key..)
                .expect("the store wrote the prefix of this key");
            let value = row.value.map(|row| match stored_headers::split(row) {
                Some((value, _)) if self.keeps_headers => value,
                _ => row,
            });
            let value = value.map(|value| {
                value
                    .get(self.prefixes.value..)
                    .expect("the store wrote the prefix of this value")
            });
            emit(ChangelogRecord {
                key,
                value,
                timestamp: row.timestamp,
                headers: row.headers,
            });
        }
    }

    /// What makes the database have everything.
    pub(crate) fn ops(&self) -> impl Iterator<Item = WriteOp<'_>> {
        let family = self.family;
        let expired = (self.floor != self.floor_settled).then(|| WriteOp::DeleteRange {
            family,
            range: KeyRange::new(&self.floor_settled, Some(&self.floor)),
        });
        // Rows that expired after they were written are not written at all.
        let live = self
            .overlay
            .unsettled()
            .filter(|(key, _)| *key >= self.floor.as_slice());
        expired
            .into_iter()
            .chain(live.map(move |(key, value)| match value {
                Some(value) => WriteOp::Put { family, key, value },
                None => WriteOp::Delete { family, key },
            }))
    }

    pub(crate) fn committed(&mut self) {
        self.floor_committed.clone_from(&self.floor);
        self.overlay.committed();
    }

    /// The database has everything now, and everything was committed.
    pub(crate) fn settled(&mut self) {
        self.floor_settled.clone_from(&self.floor);
        self.overlay.settled();
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.overlay.is_settled() && self.floor == self.floor_settled
    }

    /// Bytes of what the database does not have.
    pub(crate) fn unsettled_bytes(&self) -> usize {
        self.overlay.unsettled_bytes()
    }

    pub(crate) fn is_crowded(&self) -> bool {
        self.overlay.is_crowded()
    }

    /// Back to what the database has.
    pub(crate) fn discard(&mut self) {
        self.floor.clone_from(&self.floor_settled);
        self.floor_committed.clone_from(&self.floor_settled);
        self.overlay.clear();
    }

    /// Forgets every row, also those in the database, which the caller deletes.
    pub(crate) fn reset(&mut self) {
        self.floor.clear();
        self.floor_committed.clear();
        self.floor_settled.clear();
        self.overlay.clear();
    }
}
