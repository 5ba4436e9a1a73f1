//! Topics in memory.

use std::collections::BTreeMap;

use crate::{Record, TopicPartition, TransportError};

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
    // Invariant: records[i].offset == start + i.
    start: i64,
    records: Vec<Record>,
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

    /// Appends a record; its offset is set here.
    pub(super) fn append(&mut self, to: &TopicPartition, mut record: Record) -> Result<(), TransportError> {
        let index = usize::try_from(to.partition).ok();
        let partition = self
            .topics
            .get_mut(&*to.topic)
            .and_then(|topic| topic.partitions.get_mut(index?))
            .ok_or_else(|| TransportError::UnknownPartition(to.clone()))?;
        record.offset = partition.end();
        partition.records.push(record);
        Ok(())
    }

    /// Forgets the records before `offset`, as retention does.
    pub(super) fn trim(&mut self, at: &TopicPartition, offset: i64) {
        let index = usize::try_from(at.partition).ok();
        let partition = self
            .topics
            .get_mut(&*at.topic)
            .and_then(|topic| topic.partitions.get_mut(index?));
        if let Some(partition) = partition {
            let gone = (offset.clamp(partition.start, partition.end()) - partition.start) as usize;
            partition.records.drain(..gone);
            partition.start += gone as i64;
        }
    }
}

impl Partition {
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    pub(super) fn end(&self) -> i64 {
        self.start + self.records.len() as i64
    }

    /// At most `max` records from `offset` on; `None` when the offset is out of range.
    pub(super) fn read(&self, offset: i64, max: usize) -> Option<Vec<Record>> {
        if offset < self.start || offset > self.end() {
            return None;
        }
        let from = (offset - self.start) as usize;
        Some(self.records.iter().skip(from).take(max).cloned().collect())
    }
}
