//! Topics as a test sees them: partitions of records, and how far each was read.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidemill_data::partition_for_key;
use tidemill_streams::{OutputRecord, PartitionChoice, RawRecord};

/// Topics and their records.
#[derive(Default)]
pub(crate) struct Cluster {
    topics: BTreeMap<String, Vec<Vec<RawRecord>>>,
    partitions_default: i32,
    chosen: BTreeMap<String, i32>,
    // Where keyless records of a topic go next.
    turns: i32,
}

impl Cluster {
    pub(crate) fn new(partitions_default: i32) -> Self {
        Self {
            partitions_default: partitions_default.max(1),
            ..Self::default()
        }
    }

    pub(crate) fn choose(&mut self, topic: &str, partitions: i32) {
        self.chosen.insert(topic.to_owned(), partitions.max(1));
    }

    pub(crate) fn partitions(&self, topic: &str) -> i32 {
        self.chosen.get(topic).copied().unwrap_or(self.partitions_default)
    }

    pub(crate) fn records(&self, topic: &str, partition: i32) -> &[RawRecord] {
        let partitions = self.topics.get(topic);
        let records = partitions.and_then(|partitions| partitions.get(usize::try_from(partition).ok()?));
        records.map_or(&[], Vec::as_slice)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &String> {
        self.topics.keys()
    }

    /// Appends a record and gives the partition it went to.
    pub(crate) fn append(&mut self, topic: &str, partition: PartitionChoice, mut record: RawRecord) -> i32 {
        let count = self.partitions(topic);
        let partition = match (partition, record.key.as_deref()) {
            (PartitionChoice::Fixed(partition), _) => partition,
            (PartitionChoice::ByKey, Some(key)) => partition_for_key(key, count),
            (PartitionChoice::ByKey, None) => {
                self.turns = self.turns.wrapping_add(1) & i32::MAX;
                self.turns % count
            }
        };
        if !self.topics.contains_key(topic) {
            self.topics.insert(
                topic.to_owned(),
                vec![Vec::new(); usize::try_from(count).unwrap_or(1)],
            );
        }
        let records = self
            .topics
            .get_mut(topic)
            .and_then(|all| all.get_mut(usize::try_from(partition).ok()?));
        if let Some(records) = records {
            record.offset = i64::try_from(records.len()).unwrap_or(i64::MAX);
            records.push(record);
        }
        partition
    }
}

/// The record of an output, with bytes of its own.
pub(crate) fn owned(output: &OutputRecord<'_>) -> RawRecord {
    RawRecord {
        offset: 0,
        timestamp: output.timestamp,
        key: output.key.map(Bytes::copy_from_slice),
        value: output.value.map(Bytes::copy_from_slice),
        headers: output.headers.clone(),
    }
}
