//! Records that a task writes, in order, in one buffer.

use std::ops::Range;

use tidemill_data::{Headers, Timestamp};

/// Which partition of its topic a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionChoice {
    /// The one that Kafka's default partitioner gives: murmur2 of the key's bytes; for a null key any.
    ByKey,
    /// This one.
    Fixed(i32),
}

/// Identifies a topic within a [`Topology`](crate::Topology): its position in
/// [`Topology::topics`](crate::Topology::topics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIndex(pub(crate) u32);

impl TopicIndex {
    /// The position in [`Topology::topics`](crate::Topology::topics).
    #[must_use]
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// A topic of the topology, or one whose name a record chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputTopic<'a> {
    /// A topic that the topology names.
    Known(TopicIndex),
    /// A topic chosen per record, or a dead-letter topic.
    Named(&'a str),
}

/// One record to write.
#[derive(Clone, Copy, Debug)]
pub struct OutputRecord<'a> {
    /// Where to.
    pub topic: OutputTopic<'a>,
    /// Which partition.
    pub partition: PartitionChoice,
    /// The key; `None` is a null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a null.
    pub value: Option<&'a [u8]>,
    /// Event time.
    pub timestamp: Timestamp,
    /// The headers.
    pub headers: &'a Headers,
}

/// Records to write, in order. Keys and values lie in one buffer that is reused after [`clear`](Self::clear).
#[derive(Debug, Default)]
pub struct Outputs {
    bytes: Vec<u8>,
    names: Vec<String>,
    records: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    topic: Target,
    partition: PartitionChoice,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    timestamp: Timestamp,
    headers: Headers,
}

#[derive(Debug)]
enum Target {
    Known(TopicIndex),
    Named(usize),
}

impl Outputs {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of all keys and values.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.names.clear();
        self.records.clear();
    }

    /// All records, in the order in which they were written.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = OutputRecord<'_>> {
        self.records.iter().map(|entry| self.view(entry))
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> OutputRecord<'a> {
        let slice = |range: &Option<Range<usize>>| {
            let range = range.clone()?;
            Some(
                self.bytes
                    .get(range)
                    .expect("entries only name bytes that were written before them"),
            )
        };
        let topic = match entry.topic {
            Target::Known(topic) => OutputTopic::Known(topic),
            Target::Named(at) => OutputTopic::Named(
                self.names
                    .get(at)
                    .expect("names are written before their entries"),
            ),
        };
        OutputRecord {
            topic,
            partition: entry.partition,
            key: slice(&entry.key),
            value: slice(&entry.value),
            timestamp: entry.timestamp,
            headers: &entry.headers,
        }
    }

    /// Adds a record whose key and value are bytes already.
    pub fn push(&mut self, record: OutputRecord<'_>) {
        let topic = match record.topic {
            OutputTopic::Known(topic) => Target::Known(topic),
            OutputTopic::Named(name) => self.name(name),
        };
        let mut keep = |bytes: Option<&[u8]>| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes?);
            Some(start..self.bytes.len())
        };
        let (key, value) = (keep(record.key), keep(record.value));
        self.records.push(Entry {
            topic,
            partition: record.partition,
            key,
            value,
            timestamp: record.timestamp,
            headers: record.headers.clone(),
        });
    }

    fn name(&mut self, name: &str) -> Target {
        let at = self
            .names
            .iter()
            .rposition(|known| known == name)
            .unwrap_or_else(|| {
                self.names.push(name.to_owned());
                self.names.len() - 1
            });
        Target::Named(at)
    }

    /// The buffer that the next record's key and value are encoded into, before [`finish`](Self::finish).
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Adds the record whose key and value were encoded into the buffer.
    pub(crate) fn finish(&mut self, record: Encoded<'_>) {
        let topic = match record.topic {
            OutputTopic::Known(topic) => Target::Known(topic),
            OutputTopic::Named(name) => self.name(name),
        };
        self.records.push(Entry {
            topic,
            partition: record.partition,
            key: record.key,
            value: record.value,
            timestamp: record.timestamp,
            headers: record.headers,
        });
    }

    /// The last record's view, after which it is removed.
    pub(crate) fn take_last<R>(&mut self, read: impl FnOnce(OutputRecord<'_>) -> R) -> Option<R> {
        let entry = self.records.pop()?;
        let read = read(self.view(&entry));
        let start = entry
            .key
            .as_ref()
            .or(entry.value.as_ref())
            .map_or(self.bytes.len(), |range| range.start);
        self.bytes.truncate(start);
        Some(read)
    }
}

/// A record whose key and value are at these places of the buffer.
pub(crate) struct Encoded<'a> {
    pub(crate) topic: OutputTopic<'a>,
    pub(crate) partition: PartitionChoice,
    pub(crate) key: Option<Range<usize>>,
    pub(crate) value: Option<Range<usize>>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: Headers,
}
