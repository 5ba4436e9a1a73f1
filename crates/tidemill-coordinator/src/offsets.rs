//! The offsets of a group: the committed ones, and beside them, by producer, what transactions wrote and have not ended.

use std::collections::BTreeMap;

use crate::id::{ProducerId, Timestamp, TopicName};
use crate::transactions::Outcome;

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
    /// Whether an open transaction wrote another offset, which will count if it commits.
    pub unstable: bool,
}

/// An offset and its place in the log: of two the later one counts, also when a transaction ends late.
#[derive(Clone, Debug)]
struct Placed {
    offset: CommittedOffset,
    place: u64,
}

/// The offsets of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    committed: BTreeMap<TopicName, BTreeMap<i32, Placed>>,
    // Invariant: no empty map in it.
    pending: BTreeMap<ProducerId, BTreeMap<(TopicName, i32), Placed>>,
    places: u64,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    pub(crate) fn set(&mut self, topic: TopicName, partition: i32, offset: CommittedOffset) {
        let place = self.next_place();
        self.committed
            .entry(topic)
            .or_default()
            .insert(partition, Placed { offset, place });
    }

    /// Keeps what a transaction wrote until it ends.
    pub(crate) fn set_pending(
        &mut self,
        producer: ProducerId,
        topic: TopicName,
        partition: i32,
        offset: CommittedOffset,
    ) {
        let place = self.next_place();
        self.pending
            .entry(producer)
            .or_default()
            .insert((topic, partition), Placed { offset, place });
    }

    /// The producer's transaction is over: what it wrote counts, or never did.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, outcome: Outcome) {
        let pending = self.pending.remove(&producer).unwrap_or_default();
        if outcome == Outcome::Abort {
            return;
        }
        for ((topic, partition), placed) in pending {
            let partitions = self.committed.entry(topic).or_default();
            if partitions
                .get(&partition)
                .is_none_or(|known| known.place < placed.place)
            {
                partitions.insert(partition, placed);
            }
        }
    }

    pub(crate) fn remove(&mut self, topic: &TopicName, partition: i32) {
        if let Some(partitions) = self.committed.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.committed.remove(topic);
            }
        }
        let at = (topic.clone(), partition);
        self.pending.retain(|_, offsets| {
            offsets.remove(&at);
            !offsets.is_empty()
        });
    }

    pub(crate) fn at(&self, topic: &TopicName, partition: i32) -> Option<&CommittedOffset> {
        self.committed
            .get(topic)?
            .get(&partition)
            .map(|placed| &placed.offset)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicName, i32, &CommittedOffset)> {
        self.committed.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, placed)| (topic, *partition, &placed.offset))
        })
    }

    /// The partitions that open transactions wrote to.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &(TopicName, i32)> {
        self.pending.values().flat_map(BTreeMap::keys)
    }

    /// Whether an open transaction wrote an offset of the partition.
    pub(crate) fn is_pending(&self, topic: &TopicName, partition: i32) -> bool {
        !self.pending.is_empty() && {
            let at = (topic.clone(), partition);
            self.pending.values().any(|offsets| offsets.contains_key(&at))
        }
    }

    fn next_place(&mut self) -> u64 {
        self.places += 1;
        self.places
    }
}
