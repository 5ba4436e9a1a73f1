//! The versioned store: for each key its latest value, and those before it as far back as the history goes.
//!
//! ```text
//! history   key    0    u8   0
//!                  1    u64  segment of the time that follows
//!                  9    ..   key
//!                  n-8  i64  valid from
//!           value  0    i64  valid to, exclusive
//!                  8    u8   1 with a value, 0 for a deletion
//!                  9    ..   value
//! latest    key    0    u8   1
//!                  1    ..   key
//!           value  as in the timestamped store
//! ```
//! All numbers are big-endian. A version lies in the segment of the time it is valid to, for until then it may be asked
//! for. A key that is deleted has no latest row; the deletion is a version valid to `i64::MAX`, and lies in the segment
//! of the time it is valid from, so that it goes with the history and no deleted key is kept for ever.
//!
//! The changelog has each put as a record of its own: its key, value and timestamp.

use tidemill_data::{Headers, Timestamp};

use crate::{
    ChangelogRecord, Direction, KeyRange, Rows, StoreError,
    segments::Segments,
    space::{Prefixes, Space},
    timestamped,
};

const HISTORY: u8 = 0;
const LATEST: u8 = 1;
const FOREVER: i64 = i64::MAX;

/// What became of a version that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum VersionPut {
    /// It is the latest of its key.
    Latest,
    /// A later one is known, from `valid_to` on.
    Superseded {
        /// When the next version takes over.
        valid_to: Timestamp,
    },
    /// It is older than the history goes back, and was not put.
    Expired,
}

/// One version of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// The value.
    pub value: &'a [u8],
    /// Since when.
    pub valid_from: Timestamp,
    /// Until when, exclusive; `None` for the latest.
    pub valid_to: Option<Timestamp>,
}

/// Versions of values by key. The latest never expires.
pub struct VersionedStore {
    pub(crate) space: Space,
    pub(crate) segments: Segments,
    log: Vec<Logged>,
    // Invariant: what the log takes.
    log_bytes: usize,
    found: Vec<u8>,
}

struct Logged {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
    headers: Headers,
}

/// A version before the latest, or a deletion.
#[derive(Clone)]
struct Past {
    row_key: Vec<u8>,
    from: i64,
    to: i64,
    value: Option<Vec<u8>>,
    headers: Headers,
}

impl Past {
    fn put(&self) -> Put<'_> {
        Put {
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}

/// What a version is to have.
#[derive(Clone, Copy)]
struct Put<'a> {
    value: Option<&'a [u8]>,
    headers: &'a Headers,
}

impl VersionedStore {
    pub(crate) const PREFIXES: Prefixes = Prefixes { key: 0, value: 0 };

    pub(crate) fn new(space: Space, history_retention_ms: i64) -> Self {
        // A time exactly the retention ago can still be asked for, unlike in a window store.
        let segments = Segments::new(history_retention_ms.saturating_add(1));
        Self {
            space,
            segments,
            log: Vec::new(),
            log_bytes: 0,
            found: Vec::new(),
        }
    }

    /// Puts the version of a key that is valid from `timestamp` on; without a value the key is deleted from then on.
    ///
    /// # Errors
    /// When the database cannot be read or holds rows that are no versions.
    pub fn put(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Timestamp,
    ) -> Result<VersionPut, StoreError> {
        self.put_with_headers(key, value, timestamp, &Headers::new())
    }

    /// As [`put`](Self::put), with headers for the changelog record, and for the version where the store keeps them.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_with_headers(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Timestamp,
        headers: &Headers,
    ) -> Result<VersionPut, StoreError> {
        let put = self.apply(key, value, timestamp, headers)?;
        if put != VersionPut::Expired {
            self.log_bytes +=
                key.len() + value.map_or(0, <[u8]>::len) + headers.byte_len() + size_of::<Logged>();
            self.log.push(Logged {
                key: key.to_vec(),
                value: value.map(<[u8]>::to_vec),
                timestamp,
                headers: headers.clone(),
            });
        }
        Ok(put)
    }

    /// As [`put`](Self::put), without a changelog record: what restoring does.
    pub(crate) fn apply(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Timestamp,
        headers: &Headers,
    ) -> Result<VersionPut, StoreError> {
        let new = Put { value, headers };
        let at = timestamp.millis();
        self.segments.observe(at);
        self.raise_floor();
        if !self.segments.is_live(at) {
            return Ok(VersionPut::Expired);
        }
        match self.latest_from(key)? {
            Some(from) if from <= at => {}
            Some(next) => {
                let past = self.past(key, at)?;
                return Ok(self.insert_past(key, new, at, next, &past));
            }
            // If the key was deleted, the deletion lies in the segment of its own time, which may be an earlier one.
            None => {
                let past = self.past(key, self.segments.live_from_ms())?;
                let deleted = past.iter().find(|version| version.to == FOREVER);
                match deleted {
                    Some(later) if at < later.from => {
                        return Ok(self.insert_past(key, new, at, later.from, &past));
                    }
                    Some(deleted) => self.supersede_deletion(key, at, deleted),
                    None => {}
                }
            }
        }
        self.replace_latest(key, new, at)?;
        Ok(VersionPut::Latest)
    }

    /// Moves the latest value, if there is one, into the past, and sets what is the latest from `at` on.
    fn replace_latest(&mut self, key: &[u8], new: Put<'_>, at: i64) -> Result<(), StoreError> {
        let latest_key = latest_key(key);
        let headers = self.space.headers(&latest_key)?;
        let old = match self.space.get(&latest_key)? {
            Some(row) => {
                let (value, from) = timestamped::split(row).ok_or(NO_VERSION)?;
                Some((value.to_vec(), from.millis()))
            }
            None => None,
        };
        let replaces_same_time = old.as_ref().is_some_and(|(_, from)| *from == at);
        // A version of the same time is replaced and leaves no past.
        if let Some((old, from)) = old.filter(|(_, from)| *from < at) {
            let old = Put {
                value: Some(&old),
                headers: &headers,
            };
            self.put_past(key, old, from, at);
        }
        let stamp = at.to_be_bytes();
        match new.value {
            Some(value) => self
                .space
                .put(&latest_key, [&stamp, value], Timestamp::MIN, new.headers),
            None => {
                self.space.delete(&latest_key, Timestamp::MIN, &Headers::new());
                if replaces_same_time {
                    self.delete_in_place(key, new, at)?;
                } else {
                    self.put_past(key, new, at, FOREVER);
                }
            }
        }
        Ok(())
    }

    /// A deletion takes the place of the latest version, of its own time.
    ///
    /// As in Kafka Streams, which knows such a deletion only from the value that it ends: without one it is forgotten. The
    /// deletion before it is the latest again, and a version that comes late, of a time after that, may become the latest.
    fn delete_in_place(&mut self, key: &[u8], deletion: Put<'_>, at: i64) -> Result<(), StoreError> {
        let past = self.past(key, at)?;
        match past.iter().find(|version| version.to == at) {
            Some(before) if before.value.is_some() => self.put_past(key, deletion, at, FOREVER),
            Some(deleted) => {
                self.space
                    .delete(&deleted.row_key, Timestamp::MIN, &Headers::new());
                self.put_past(key, deleted.put(), deleted.from, FOREVER);
            }
            None => {}
        }
        Ok(())
    }

    /// A deletion that was the latest now ends.
    fn supersede_deletion(&mut self, key: &[u8], at: i64, deleted: &Past) {
        self.space
            .delete(&deleted.row_key, Timestamp::MIN, &Headers::new());
        if deleted.from < at {
            self.put_past(key, deleted.put(), deleted.from, at);
        }
    }

    /// Puts a version that is not the latest: `next` is when the latest takes over.
    fn insert_past(&mut self, key: &[u8], new: Put<'_>, at: i64, next: i64, past: &[Past]) -> VersionPut {
        let mut to = next;
        match past.iter().find(|version| version.from <= at && at < version.to) {
            Some(around) => {
                to = around.to;
                self.space
                    .delete(&around.row_key, Timestamp::MIN, &Headers::new());
                if around.from < at {
                    self.put_past(key, around.put(), around.from, at);
                }
            }
            None => {
                let later = past.iter().map(|version| version.from).filter(|from| *from > at);
                to = later.min().map_or(to, |from| from.min(to));
            }
        }
        self.put_past(key, new, at, to);
        VersionPut::Superseded {
            valid_to: Timestamp::from_millis(to),
        }
    }

    fn put_past(&mut self, key: &[u8], version: Put<'_>, from: i64, to: i64) {
        let Put { value, headers } = version;
        let segment = self.segments.segment(if to == FOREVER { from } else { to });
        let mut row_key = history_key(segment, key);
        row_key.extend_from_slice(&from.to_be_bytes());
        let mut head = to.to_be_bytes().to_vec();
        head.push(u8::from(value.is_some()));
        self.space.put(
            &row_key,
            [&head, value.unwrap_or_default()],
            Timestamp::MIN,
            headers,
        );
    }

    fn latest_from(&mut self, key: &[u8]) -> Result<Option<i64>, StoreError> {
        let Some(row) = self.space.get(&latest_key(key))? else {
            return Ok(None);
        };
        let (_, from) = timestamped::split(row).ok_or(NO_VERSION)?;
        Ok(Some(from.millis()))
    }

    /// The versions of a key that may be valid at `at` or later, without the latest.
    fn past(&mut self, key: &[u8], at: i64) -> Result<Vec<Past>, StoreError> {
        let mut past = Vec::new();
        for segment in self.segments.segment(at)..=self.segments.segment(self.segments.stream_time_ms()) {
            let mut rows = self.history(segment, key, FOREVER, Direction::Forward)?;
            while let Some((row_key, row)) = rows.entry() {
                if let Some(from) = version_from(row_key, key) {
                    let (to, value) = split_past(row).ok_or(NO_VERSION)?;
                    let value = value.map(<[u8]>::to_vec);
                    past.push(Past {
                        row_key: row_key.to_vec(),
                        from,
                        to,
                        value,
                        headers: rows.headers()?,
                    });
                }
                rows.advance()?;
            }
        }
        Ok(past)
    }

    /// Rows of one segment that may be versions of a key valid from `from_max` at the latest.
    fn history(
        &mut self,
        segment: u64,
        key: &[u8],
        from_max: i64,
        direction: Direction,
    ) -> Result<Rows<'_>, StoreError> {
        let mut first = history_key(segment, key);
        let mut end = first.clone();
        first.extend_from_slice(&0_i64.to_be_bytes());
        end.extend_from_slice(&(from_max.unsigned_abs() + 1).to_be_bytes());
        self.space.scan(KeyRange::new(&first, Some(&end)), direction)
    }

    /// The latest value of a key.
    ///
    /// # Errors
    /// When the database cannot be read or holds rows that are no versions.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Version<'_>>, StoreError> {
        let Some(row) = self.space.get(&latest_key(key))? else {
            return Ok(None);
        };
        let (value, valid_from) = timestamped::split(row).ok_or(NO_VERSION)?;
        Ok(Some(Version {
            value,
            valid_from,
            valid_to: None,
        }))
    }

    /// The headers of a key's latest value, where the store keeps them.
    ///
    /// # Errors
    /// When the database cannot be read or holds a row without headers.
    pub fn headers(&mut self, key: &[u8]) -> Result<Headers, StoreError> {
        self.space.headers(&latest_key(key))
    }

    /// The headers of the value that [`get_as_of`](Self::get_as_of) gives, where the store keeps them.
    ///
    /// # Errors
    /// As [`get_as_of`](Self::get_as_of).
    pub fn headers_as_of(&mut self, key: &[u8], at: Timestamp) -> Result<Headers, StoreError> {
        let version = self.get_as_of(key, at)?;
        match version.map(|version| (version.valid_from, version.valid_to)) {
            None => Ok(Headers::new()),
            Some((_, None)) => self.headers(key),
            Some((from, Some(to))) => {
                let mut row_key = history_key(self.segments.segment(to.millis()), key);
                row_key.extend_from_slice(&from.millis().to_be_bytes());
                self.space.headers(&row_key)
            }
        }
    }

    /// The value that a key had at a time. Before the history goes back, only a latest value that old is found.
    ///
    /// # Errors
    /// When the database cannot be read or holds rows that are no versions.
    pub fn get_as_of(&mut self, key: &[u8], at: Timestamp) -> Result<Option<Version<'_>>, StoreError> {
        let ms = at.millis();
        match self.latest_from(key)? {
            Some(from) if from <= ms => return self.get(key),
            _ if !self.segments.is_live(ms) => return Ok(None),
            _ => {}
        }
        for segment in self.segments.segment(ms)..=self.segments.segment(self.segments.stream_time_ms()) {
            let Some((valid_from, valid_to)) = self.find_in(segment, key, ms)? else {
                continue;
            };
            let value = if self.found.is_empty() {
                None
            } else {
                self.found.get(1..)
            };
            return Ok(value.map(|value| Version {
                value,
                valid_from: Timestamp::from_millis(valid_from),
                valid_to: Some(Timestamp::from_millis(valid_to)),
            }));
        }
        Ok(None)
    }

    /// Looks in one segment for the version valid at `ms`; its value, after one byte, is then in `found`, which is
    /// empty for a deletion.
    fn find_in(&mut self, segment: u64, key: &[u8], ms: i64) -> Result<Option<(i64, i64)>, StoreError> {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let mut times = None;
        let mut rows = self.history(segment, key, ms, Direction::Backward)?;
        while let Some((row_key, row)) = rows.entry() {
            if let Some(from) = version_from(row_key, key) {
                // Versions of a key do not overlap: only the last one before the time can reach it.
                let (to, value) = split_past(row).ok_or(NO_VERSION)?;
                if ms < to {
                    times = Some((from, to));
                    if let Some(value) = value {
                        found.push(1);
                        found.extend_from_slice(value);
                    }
                }
                break;
            }
            rows.advance()?;
        }
        drop(rows);
        self.found = found;
        Ok(times)
    }

    /// The latest values of keys from `from` to `to`, both inclusive, `None` open.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn range(
        &mut self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        direction: Direction,
    ) -> Result<LatestRows<'_>, StoreError> {
        let first = latest_key(from.unwrap_or_default());
        let end = to.map_or_else(|| vec![LATEST + 1], |to| crate::key_value::after(&latest_key(to)));
        self.space
            .scan(KeyRange::new(&first, Some(&end)), direction)
            .map(LatestRows)
    }

    /// From when on versions can be put: what is before that is forgotten.
    #[must_use]
    pub fn history_from(&self) -> Timestamp {
        Timestamp::from_millis(self.segments.live_from_ms())
    }

    /// The greatest timestamp seen, which decides how far back the history goes; `None` before the first.
    #[must_use]
    pub fn stream_time(&self) -> Option<Timestamp> {
        let ms = self.segments.stream_time_ms();
        (ms > i64::MIN).then_some(Timestamp::from_millis(ms))
    }

    pub(crate) fn raise_floor(&mut self) {
        let mut floor = [HISTORY; 9];
        if let Some((_, segment)) = floor.split_first_mut() {
            segment.copy_from_slice(&self.segments.floor());
        }
        self.space.raise_floor(&floor);
    }

    pub(crate) fn changelog(&self, emit: &mut dyn FnMut(ChangelogRecord<'_>)) {
        for put in &self.log {
            emit(ChangelogRecord {
                key: &put.key,
                value: put.value.as_deref(),
                timestamp: put.timestamp,
                headers: &put.headers,
            });
        }
    }

    pub(crate) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    pub(crate) fn clear_log(&mut self) {
        self.log.clear();
        self.log_bytes = 0;
    }
}

const NO_VERSION: StoreError = StoreError::Corrupt {
    what: "a row that is no version of a value",
};

fn latest_key(key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(1 + key.len());
    row_key.push(LATEST);
    row_key.extend_from_slice(key);
    row_key
}

fn history_key(segment: u64, key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(17 + key.len());
    row_key.push(HISTORY);
    row_key.extend_from_slice(&segment.to_be_bytes());
    row_key.extend_from_slice(key);
    row_key
}

/// Since when the version of this row is valid, if it is one of `key`.
fn version_from(row_key: &[u8], key: &[u8]) -> Option<i64> {
    let (head, from) = row_key.split_last_chunk()?;
    (head.get(9..)? == key).then_some(i64::from_be_bytes(*from))
}

fn split_past(row: &[u8]) -> Option<(i64, Option<&[u8]>)> {
    let (to, rest) = row.split_first_chunk()?;
    let (has_value, value) = rest.split_first()?;
    Some((i64::from_be_bytes(*to), (*has_value == 1).then_some(value)))
}

/// A place in a scan over the latest values of a versioned store.
pub struct LatestRows<'a>(Rows<'a>);

impl LatestRows<'_> {
    /// The key, value and timestamp at this place; `None` at the end.
    #[must_use]
    pub fn entry(&self) -> Option<(&[u8], &[u8], Timestamp)> {
        let (row_key, row) = self.0.entry()?;
        let (value, timestamp) = timestamped::split(row)?;
        Some((row_key.get(1..)?, value, timestamp))
    }

    /// Goes to the next row; at the end it stays there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn advance(&mut self) -> Result<(), StoreError> {
        self.0.advance()
    }
}

#[cfg(test)]
mod tests;
