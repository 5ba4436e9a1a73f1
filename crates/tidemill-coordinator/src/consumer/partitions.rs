//! Sets of partitions, by topic.

use std::collections::{BTreeMap, BTreeSet};

/// The id of a topic: its name may come again, its id does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

/// A set of partitions, by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions {
    // Invariant: no empty set in it.
    topics: BTreeMap<TopicId, BTreeSet<i32>>,
}

impl Partitions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.topics.values().map(BTreeSet::len).sum()
    }

    /// Puts a partition in.
    pub fn insert(&mut self, topic: TopicId, partition: i32) {
        self.topics.entry(topic).or_default().insert(partition);
    }

    /// Takes a partition out.
    pub(crate) fn remove(&mut self, topic: TopicId, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(&topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.topics.remove(&topic);
            }
        }
    }

    /// Whether a partition is in it.
    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.topics
            .get(&topic)
            .is_some_and(|partitions| partitions.contains(&partition))
    }

    /// All partitions.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| (*topic, *partition)))
    }

    /// All topics and their partitions.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (TopicId, &BTreeSet<i32>)> {
        self.topics.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    /// Whether all of these are in `other`.
    pub(crate) fn is_subset(&self, other: &Partitions) -> bool {
        self.iter()
            .all(|(topic, partition)| other.contains(topic, partition))
    }

    /// Whether none of these is in `other`.
    pub(crate) fn is_disjoint(&self, other: &Partitions) -> bool {
        !self
            .iter()
            .any(|(topic, partition)| other.contains(topic, partition))
    }
}

impl FromIterator<(TopicId, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32)>>(partitions: I) -> Self {
        let mut all = Self::default();
        for (topic, partition) in partitions {
            all.insert(topic, partition);
        }
        all
    }
}
