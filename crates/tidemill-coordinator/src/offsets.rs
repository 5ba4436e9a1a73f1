//! The committed offsets of a group. What transactions have written and not yet committed will be kept beside
//! `committed`, by producer; until then every offset here is stable.

use std::collections::BTreeMap;

use crate::id::{Timestamp, TopicName};

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the last record read, if known.
    pub leader_epoch: Option<i32>,
    /// The client's own words.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it goes, if the client said so (old versions only).
    pub expires_at: Option<Timestamp>,
}

/// One partition in the answer to `OffsetFetch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: i32,
    /// `None` if nothing is committed there.
    pub committed: Option<CommittedOffset>,
}

/// The committed offsets of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<TopicName, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty()
    }

    pub(crate) fn set(&mut self, topic: TopicName, partition: i32, offset: CommittedOffset) {
        self.committed.entry(topic).or_default().insert(partition, offset);
    }

    pub(crate) fn remove(&mut self, topic: &TopicName, partition: i32) {
        if let Some(partitions) = self.committed.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.committed.remove(topic);
            }
        }
    }

    pub(crate) fn at(&self, topic: &TopicName, partition: i32) -> Option<&CommittedOffset> {
        self.committed.get(topic)?.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicName, i32, &CommittedOffset)> {
        self.committed.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, offset)| (topic, *partition, offset))
        })
    }
}
