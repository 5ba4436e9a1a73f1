//! Consumer groups of the cluster in memory: range assignor, eager rebalances.
//!
//! A rebalance asks every member that owns partitions to give them up, and assigns when all have. Time plays no part:
//! a member that does not answer holds the group up until a test expires it.

use std::collections::{BTreeMap, VecDeque};

use super::log::Logs;
use crate::{CommitError, Committed, Event, GroupMetadata, TopicPartition};

pub(super) type MemberId = u64;

#[derive(Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, Membership>,
    offsets: BTreeMap<TopicPartition, Committed>,
    rebalancing: bool,
    // One more at every assignment.
    generation: i32,
}

struct Membership {
    client: String,
    topics: Vec<String>,
    owned: Vec<TopicPartition>,
    // What the member has yet to hear, in order.
    news: VecDeque<Event>,
    // It was told to give up `owned` and has not released yet.
    revoking: bool,
}

impl Group {
    pub(super) fn join(&mut self, id: MemberId, client: &str, topics: &[String], logs: &Logs) {
        let member = Membership {
            client: client.to_owned(),
            topics: topics.to_vec(),
            owned: Vec::new(),
            news: VecDeque::new(),
            revoking: false,
        };
        self.members.insert(id, member);
        self.rebalance(logs);
    }

    /// The member goes, by its own will or not; the others share what it had.
    pub(super) fn remove(&mut self, id: MemberId, logs: &Logs) {
        if self.members.remove(&id).is_some() {
            self.rebalance(logs);
        }
    }

    pub(super) fn members_of(&self, client: &str) -> Vec<MemberId> {
        self.members
            .iter()
            .filter(|(_, m)| m.client == client)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn contains(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn next_news(&mut self, id: MemberId) -> Option<Event> {
        self.members.get_mut(&id)?.news.pop_front()
    }

    pub(super) fn release(&mut self, id: MemberId, logs: &Logs) {
        if let Some(member) = self.members.get_mut(&id) {
            member.owned.clear();
            member.revoking = false;
            self.assign_when_free(logs);
        }
    }

    pub(super) fn committed(&self, partition: &TopicPartition) -> Option<Committed> {
        self.offsets.get(partition).cloned()
    }

    /// What was committed of a topic that is no more.
    pub(super) fn forget(&mut self, topic: &str) {
        self.offsets.retain(|partition, _| *partition.topic != *topic);
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    /// Whether the group still knows this member as it describes itself.
    pub(super) fn is_current(&self, member: &GroupMetadata) -> bool {
        let id = member.member.parse();
        self.generation == member.generation && id.is_ok_and(|id| self.members.contains_key(&id))
    }

    pub(super) fn set_offset(&mut self, partition: TopicPartition, offset: Committed) {
        self.offsets.insert(partition, offset);
    }

    pub(super) fn commit(
        &mut self,
        id: MemberId,
        offsets: &[(TopicPartition, Committed)],
        logs: &Logs,
    ) -> Result<(), CommitError> {
        let Some(member) = self.members.get(&id) else {
            return Err(CommitError::Fenced("unknown member".into()));
        };
        for (partition, offset) in offsets {
            if !member.owned.contains(partition) {
                return Err(CommitError::Fenced(format!("{partition} is not this member's")));
            }
            // A topic that is no more keeps nothing.
            if logs.partition(partition).is_ok() {
                self.offsets.insert(partition.clone(), offset.clone());
            }
        }
        Ok(())
    }

    fn rebalance(&mut self, logs: &Logs) {
        self.rebalancing = true;
        for member in self.members.values_mut() {
            if !member.owned.is_empty() && !member.revoking {
                member.revoking = true;
                member.news.push_back(Event::Revoking(member.owned.clone()));
            }
        }
        self.assign_when_free(logs);
    }

    fn assign_when_free(&mut self, logs: &Logs) {
        if !self.rebalancing || self.members.values().any(|m| m.revoking) {
            return;
        }
        self.rebalancing = false;
        self.generation += 1;
        let mut topics: Vec<String> = self.members.values().flat_map(|m| m.topics.clone()).collect();
        topics.sort();
        topics.dedup();
        for topic in topics {
            self.assign_topic(&topic, logs);
        }
        for member in self.members.values_mut() {
            member.news.push_back(Event::Assigned(member.owned.clone()));
        }
    }

    /// Kafka's range assignor: consecutive partitions, the first members get one more.
    fn assign_topic(&mut self, topic: &str, logs: &Logs) {
        let partitions = logs.topic(topic).map_or(0, |t| t.partitions.len());
        let mut takers: Vec<_> = self
            .members
            .values_mut()
            .filter(|m| m.topics.iter().any(|t| t == topic))
            .collect();
        let (share, extra) = (partitions / takers.len(), partitions % takers.len());
        let mut next = 0;
        for (i, taker) in takers.iter_mut().enumerate() {
            let count = share + usize::from(i < extra);
            let range = next..next + count;
            taker
                .owned
                .extend(range.map(|p| TopicPartition::new(topic, p as i32)));
            next += count;
        }
    }
}
