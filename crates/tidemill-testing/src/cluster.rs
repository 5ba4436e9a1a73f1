//! Topics as a test sees them: partitions of records, and how far each was read.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tidemill_data::{Place, Presence, Wire, partition_for_key};
use tidemill_streams::{OutputRecord, PartitionChoice, RawRecord};

use crate::TestError;

/// Records stay as long as the cluster does, so their bytes lie together in pieces of this size.
const CHUNK_BYTES: usize = 16 << 10;

/// Topics and their records.
#[derive(Default)]
pub(crate) struct Cluster {
    topics: BTreeMap<String, Vec<Vec<RawRecord>>>,
    // What is left of the newest piece.
    chunk: BytesMut,
    // What a key or a value is encoded into, before it is kept.
    buffer: Vec<u8>,
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

    /// Bytes of its own that say the same.
    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if self.chunk.capacity() < bytes.len() {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES.max(bytes.len()));
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }

    /// A key or a value as bytes; `None` is a null.
    pub(crate) fn encoded<T: 'static>(
        &mut self,
        wire: &Wire<T>,
        place: Place<'_>,
        value: &T,
    ) -> Result<Option<Bytes>, TestError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let presence = wire.encode(place, value, &mut buffer)?;
        let bytes = (presence == Presence::Value).then(|| self.keep(&buffer));
        self.buffer = buffer;
        Ok(bytes)
    }

    /// The record of an output, with bytes of its own.
    pub(crate) fn owned(&mut self, output: &OutputRecord<'_>) -> RawRecord {
        RawRecord {
            offset: 0,
            timestamp: output.timestamp,
            key: output.key.map(|key| self.keep(key)),
            value: output.value.map(|value| self.keep(value)),
            headers: output.headers.clone(),
        }
    }

    /// Appends a record; gives the partition it went to and the record as it is there.
    pub(crate) fn append(
        &mut self,
        topic: &str,
        partition: PartitionChoice,
        mut record: RawRecord,
    ) -> (i32, Option<&RawRecord>) {
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
            let partitions = vec![Vec::new(); usize::try_from(count).unwrap_or(1)];
            self.topics.insert(topic.to_owned(), partitions);
        }
        let records = self
            .topics
            .get_mut(topic)
            .and_then(|all| all.get_mut(usize::try_from(partition).ok()?));
        let appended = records.and_then(|records| {
            record.offset = i64::try_from(records.len()).unwrap_or(i64::MAX);
            records.push(record);
            records.last()
        });
        (partition, appended)
    }
}
