//! What flows through operators.

use bytes::Bytes;
use tidemill_data::{Header, Headers, Timestamp};

/// One record on its way through the operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Event time.
    pub timestamp: Timestamp,
    /// The headers.
    pub headers: Headers,
}

impl<K, V> Record<K, V> {
    /// A record without headers.
    ///
    /// ```
    /// # use tidemill_streams::Record;
    /// # use tidemill_data::Timestamp;
    /// let record = Record::new("ada", 3, Timestamp::from_millis(1_000));
    /// assert!(record.headers.is_empty());
    /// ```
    pub fn new(key: K, value: V, timestamp: Timestamp) -> Self {
        Self {
            key,
            value,
            timestamp,
            headers: Headers::new(),
        }
    }

    /// The same record with another value.
    ///
    /// ```
    /// # use tidemill_streams::Record;
    /// # use tidemill_data::Timestamp;
    /// let record = Record::new("ada", 3, Timestamp::from_millis(1_000)).with_value("three");
    /// assert_eq!((record.key, record.value, record.timestamp.millis()), ("ada", "three", 1_000));
    /// ```
    pub fn with_value<W>(self, value: W) -> Record<K, W> {
        Record {
            key: self.key,
            value,
            timestamp: self.timestamp,
            headers: self.headers,
        }
    }

    /// The same record with another key.
    ///
    /// ```
    /// # use tidemill_streams::Record;
    /// # use tidemill_data::Timestamp;
    /// let record = Record::new("ada", 3, Timestamp::from_millis(1_000)).with_key(7);
    /// assert_eq!((record.key, record.value, record.timestamp.millis()), (7, 3, 1_000));
    /// ```
    pub fn with_key<L>(self, key: L) -> Record<L, V> {
        Record {
            key,
            value: self.value,
            timestamp: self.timestamp,
            headers: self.headers,
        }
    }
}

/// One record as a topic has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRecord {
    /// Its offset in its partition.
    pub offset: i64,
    /// Event time.
    pub timestamp: Timestamp,
    /// The key; `None` is a null.
    pub key: Option<Bytes>,
    /// The value; `None` is a null.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl RawRecord {
    /// About the memory it takes, for accounting.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        size_of::<Self>() + length(&self.key) + length(&self.value) + self.headers.byte_len()
    }
}

/// The headers of a result: those of the record that led to it, then those of what it met under other names.
pub(crate) fn with_headers_of(mut own: Headers, met: &Headers) -> Headers {
    if own.is_empty() {
        return met.clone();
    }
    let others = met.iter().filter(|header| own.last(&header.name).is_none());
    let others: Vec<Header> = others.cloned().collect();
    for header in others {
        own.push(header.name, header.value);
    }
    own
}

/// A change of a table's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change<V> {
    /// The row's new value; `None` when it went.
    pub(crate) new: Option<V>,
    /// The value before, if somebody downstream asked for old values and there was one.
    pub(crate) old: Option<V>,
    /// False for a change of the past in a versioned table: a later value stays the current one.
    pub(crate) latest: bool,
}

impl<V> Change<V> {
    pub(crate) const fn new(new: Option<V>, old: Option<V>) -> Self {
        Self {
            new,
            old,
            latest: true,
        }
    }
}
