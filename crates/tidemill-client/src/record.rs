//! Records and batches as they cross the seam.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_data::Headers;

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name, shared: batches name their partition without allocating.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in its partition.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The key's bytes; `None` is null.
    pub key: Option<Bytes>,
    /// The value's bytes; `None` is null.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

/// Records of one partition, in order of offset. Keys and values are slices of one buffer per poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where they were read.
    pub partition: TopicPartition,
    /// Never empty.
    pub records: Vec<Record>,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The key's bytes; `None` is null.
    pub key: Option<Bytes>,
    /// The value's bytes; `None` is null.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Outgoing {
    /// A record without headers.
    pub fn new(timestamp: i64, key: Option<Bytes>, value: Option<Bytes>) -> Self {
        Self {
            timestamp,
            key,
            value,
            headers: Headers::default(),
        }
    }

    /// The bytes it brings along, without any framing.
    pub fn payload_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}
