//! Who shall have what. Both ways leave partitions where they are as far as that is fair.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Change, ConsumerRecord, Consumers, Partitions, TopicId};
use crate::consumer::record::ConsumerKey;
use crate::id::{InstanceId, MemberId};

/// A way of dividing the work (`group.consumer.assignors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignorName {
    /// Every member the same number of partitions, as far as its subscription allows.
    Uniform,
    /// Topic by topic, members in the order of their ids get neighbouring partitions, the same ones of each topic.
    Range,
}

impl AssignorName {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Kafka's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.as_str() == name)
    }
}

/// What an assignor knows of a member.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: MemberId,
    pub(super) instance: Option<InstanceId>,
    /// What it may get.
    pub(super) topics: BTreeSet<TopicId>,
    /// What the target before gave it.
    pub(super) had: Arc<Partitions>,
}

/// What is to be divided: topics and how many partitions each has.
pub(super) type Work = BTreeMap<TopicId, i32>;

impl Consumers {
    /// Divides the work among the members as they are now.
    pub(super) fn divide(&mut self, change: &mut Change<'_>) {
        let mut work = Work::new();
        let mut candidates = Vec::with_capacity(self.members.len());
        for member in self.members.values() {
            let shapes = self
                .subscription_of(member)
                .filter_map(|name| self.topics.find(name));
            let topics: BTreeSet<TopicId> = shapes
                .map(|shape| {
                    work.insert(shape.id, shape.partitions);
                    shape.id
                })
                .collect();
            candidates.push(Candidate {
                id: member.id.clone(),
                instance: member.instance.clone(),
                topics,
                had: self.target.get(&member.id).cloned().unwrap_or_default(),
            });
        }
        let shares = match self.assignor(change) {
            AssignorName::Uniform => uniform::divide(&work, &candidates),
            AssignorName::Range => range::divide(&work, candidates),
        };
        for (id, share) in shares {
            if self.target.get(&id).is_none_or(|before| **before != share) {
                change.write(ConsumerRecord::Target {
                    member: id.clone(),
                    partitions: share.clone(),
                });
                self.target.insert(id, Arc::new(share));
            }
        }
        let gone: Vec<MemberId> = self
            .target
            .keys()
            .filter(|id| !self.members.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.target.remove(&id);
            change.forget(ConsumerKey::Target(change.group.clone(), id));
        }
        self.target_epoch = self.epoch;
        change.write(ConsumerRecord::TargetEpoch(self.epoch));
    }

    /// The assignor that most members would have; the first of the settings if none says.
    pub(super) fn assignor(&self, change: &Change<'_>) -> AssignorName {
        let allowed = &change.settings.consumer_assignors;
        let votes = |name: AssignorName| {
            let wants =
                |member: &&Arc<super::ConsumerMember>| member.assignor.as_deref() == Some(name.as_str());
            self.members.values().filter(wants).count()
        };
        let first = allowed.first().copied().unwrap_or(AssignorName::Uniform);
        allowed
            .iter()
            .copied()
            .filter(|name| votes(*name) > 0)
            // Of several with as many votes the first one.
            .fold(
                first,
                |best, name| if votes(name) > votes(best) { name } else { best },
            )
    }
}

#[cfg(test)]
mod tests;
