//! Topics in memory.

use std::collections::BTreeMap;

use tidemill_data::Timestamp;

use crate::{Isolation, Record, TopicPartition, TransportError};

/// One transaction of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TransactionNumber(pub(super) u64);

/// The topics of a cluster in memory.
#[derive(Default)]
pub(super) struct Logs {
    topics: BTreeMap<String, Topic>,
    created: u64,
}

pub(super) struct Topic {
    pub(super) id: u64,
    pub(super) config: BTreeMap<String, String>,
    pub(super) partitions: Vec<Partition>,
}

#[derive(Default)]
pub(super) struct Partition {
    // Invariant: a record at entries[i] has offset start + i.
    start: i64,
    entries: Vec<Entry>,
}

enum Entry {
    Record(Record, Fate),
    // The end of a transaction takes an offset, as in Kafka.
    Marker,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Visible,
    Open(TransactionNumber),
    Aborted,
}

/// What a reader got, and where it goes on.
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    pub(super) next: i64,
}

impl Logs {
    pub(super) fn create(&mut self, name: &str, partitions: i32, config: BTreeMap<String, String>) {
        self.created += 1;
        let id = self.created;
        self.topics.entry(name.to_owned()).or_insert_with(|| Topic {
            id,
            config,
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
        });
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.topics.remove(name);
    }

    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    pub(super) fn partition(&self, at: &TopicPartition) -> Result<&Partition, TransportError> {
        let index = usize::try_from(at.partition).ok();
        self.topics
            .get(&*at.topic)
            .and_then(|topic| topic.partitions.get(index?))
            .ok_or_else(|| TransportError::UnknownPartition(at.clone()))
    }

    fn partition_mut(&mut self, at: &TopicPartition) -> Result<&mut Partition, TransportError> {
        let index = usize::try_from(at.partition).ok();
        self.topics
            .get_mut(&*at.topic)
            .and_then(|topic| topic.partitions.get_mut(index?))
            .ok_or_else(|| TransportError::UnknownPartition(at.clone()))
    }

    /// Appends a record; its offset is set here.
    pub(super) fn append(
        &mut self,
        to: &TopicPartition,
        mut record: Record,
        within: Option<TransactionNumber>,
    ) -> Result<(), TransportError> {
        let partition = self.partition_mut(to)?;
        record.offset = partition.high_watermark();
        let fate = within.map_or(Fate::Visible, Fate::Open);
        partition.entries.push(Entry::Record(record, fate));
        Ok(())
    }

    /// Ends a transaction in every partition it wrote.
    pub(super) fn end(&mut self, transaction: TransactionNumber, commit: bool) {
        let fate = if commit { Fate::Visible } else { Fate::Aborted };
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            let mut wrote = false;
            for entry in &mut partition.entries {
                if let Entry::Record(_, open) = entry
                    && *open == Fate::Open(transaction)
                {
                    *open = fate;
                    wrote = true;
                }
            }
            if wrote {
                partition.entries.push(Entry::Marker);
            }
        }
    }

    /// Forgets the records before `offset`, as retention does.
    pub(super) fn trim(&mut self, at: &TopicPartition, offset: i64) {
        if let Ok(partition) = self.partition_mut(at) {
            let gone = (offset.clamp(partition.start, partition.high_watermark()) - partition.start) as usize;
            partition.entries.drain(..gone);
            partition.start += gone as i64;
        }
    }
}

impl Partition {
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    pub(super) fn high_watermark(&self) -> i64 {
        self.start + self.entries.len() as i64
    }

    /// The offset of the first record of an open transaction, or else the end.
    pub(super) fn last_stable(&self) -> i64 {
        let open = |entry: &Entry| matches!(entry, Entry::Record(_, Fate::Open(_)));
        let before = self.entries.iter().position(open);
        before.map_or(self.high_watermark(), |n| self.start + n as i64)
    }

    /// How far such a reader gets.
    pub(super) fn end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark(),
            Isolation::ReadCommitted => self.last_stable(),
        }
    }

    /// The offset of the first record of this time or later.
    pub(super) fn since(&self, time: Timestamp) -> Option<i64> {
        let late = |entry: &Entry| matches!(entry, Entry::Record(record, _) if record.timestamp >= time);
        let before = self.entries.iter().position(late)?;
        Some(self.start + before as i64)
    }

    /// At most `max` records from `offset` on, and no more than so many bytes unless the first is larger; `None` when the
    /// offset is out of range.
    pub(super) fn read(
        &self,
        offset: i64,
        max: usize,
        bytes_max: usize,
        isolation: Isolation,
    ) -> Option<Read> {
        if offset < self.start || offset > self.high_watermark() {
            return None;
        }
        let end = self.end(isolation);
        let mut read = Read {
            records: Vec::new(),
            next: offset,
        };
        let mut bytes = 0;
        for entry in self.entries.iter().skip((offset - self.start) as usize) {
            if read.next >= end || read.records.len() >= max {
                break;
            }
            if let Entry::Record(record, _) = entry {
                bytes += record.byte_len();
                if bytes > bytes_max && !read.records.is_empty() {
                    break;
                }
            }
            read.next += 1;
            match (entry, isolation) {
                (Entry::Marker, _) | (Entry::Record(_, Fate::Aborted), Isolation::ReadCommitted) => {}
                (Entry::Record(record, _), _) => read.records.push(record.clone()),
            }
        }
        Some(read)
    }
}
