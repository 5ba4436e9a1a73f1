//! Records and batches as they cross the seam.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_data::{Headers, Timestamp};

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
    /// Event time.
    pub timestamp: Timestamp,
    /// The key's bytes; `None` is null.
    pub key: Option<Bytes>,
    /// The value's bytes; `None` is null.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Record {
    /// The bytes of its key, value and headers.
    pub fn byte_len(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        length(&self.key) + length(&self.value) + self.headers.byte_len()
    }
}

/// Records of one partition, in order of offset. Keys and values are slices of one buffer per poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where they were read.
    pub partition: TopicPartition,
    /// Never empty.
    pub records: Vec<Record>,
}

/// A topic as a [`Writer`](crate::Writer) knows it, from [`Writer::topic`](crate::Writer::topic).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriterTopic(pub(crate) usize);

/// A record to be written. It borrows: a writer copies what it must keep.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Which topic.
    pub topic: WriterTopic,
    /// Which of its partitions.
    pub partition: i32,
    /// Event time.
    pub timestamp: Timestamp,
    /// The key's bytes; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is null.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a Headers,
}
