//! All groups of one partition of `__consumer_offsets`: which exist, which is due next, and how they come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::{Action, LeaveAnswer, Reply};
use crate::consumer::{ConsumerDescription, MemberEpoch};
use crate::describe::{GroupDescription, GroupListing};
use crate::error::{GroupError, JoinRefused, RecordError};
use crate::event::Event;
use crate::group::Group;
use crate::id::{GroupId, MemberId, ProducerId, Timestamp, TopicName};
use crate::offsets::{CommittedOffset, FetchedOffset};
use crate::record::{GroupMetadata, Key};
use crate::settings::GroupSettings;
use crate::transactions::Outcome;

/// The partition of `__consumer_offsets` that keeps a group: the absolute value of Java's string hash, modulo the count.
pub fn partition_of_group(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka's `Utils.abs` keeps the smallest integer, which has no positive twin, from staying negative: it becomes 0.
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

/// All groups of one partition of `__consumer_offsets`.
///
/// Feed it the partition's records first (`replay`, then `loaded`), then requests and the fate of its appends; call
/// `tick` when `next_deadline` is due.
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: Arc<GroupSettings>,
    groups: BTreeMap<GroupId, Slot>,
    // Invariant: exactly the deadlines noted in the slots.
    deadlines: BTreeSet<(Timestamp, GroupId)>,
    /// Where the offsets of open transactions lie; a group that is gone may still be named.
    transactions: BTreeMap<ProducerId, BTreeSet<GroupId>>,
    next_expiry: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Slot {
    group: Group,
    deadline: Option<Timestamp>,
}

/// Which groups `ListGroups` wants; an empty list wants all.
#[derive(Clone, Debug, Default)]
pub struct GroupFilter {
    /// Names of states, in any case.
    pub states: Vec<String>,
    /// Names of group types, in any case: `classic`, `consumer`.
    pub types: Vec<String>,
}

impl GroupFilter {
    fn admits(&self, group: &Group) -> bool {
        let lists = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|n| n.eq_ignore_ascii_case(name))
        };
        lists(&self.states, group.phase().as_str()) && lists(&self.types, group.kind())
    }
}

impl Coordinator {
    /// A coordinator without groups.
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings: Arc::new(settings),
            groups: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            transactions: BTreeMap::new(),
            next_expiry: None,
        }
    }

    /// Takes a record of the partition, oldest first; `transaction` says whose it is part of. An error means that this
    /// record was skipped; say so and go on.
    pub fn replay(
        &mut self,
        now: Timestamp,
        transaction: Option<ProducerId>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        match (Key::decode(key.ok_or(RecordError::NoKey)?)?, value) {
            (Key::Offset(group, topic, partition), Some(value)) if let Some(producer) = transaction => {
                let offset = CommittedOffset::decode(value)?;
                self.transactions
                    .entry(producer)
                    .or_default()
                    .insert(group.clone());
                let offsets = &mut self.slot(&group).group.offsets;
                offsets.set_pending(producer, topic, partition, offset);
            }
            (Key::Offset(group, topic, partition), Some(value)) => {
                let offset = CommittedOffset::decode(value)?;
                self.slot(&group).group.offsets.set(topic, partition, offset);
            }
            (Key::Offset(group, topic, partition), None) => {
                if let Some(slot) = self.groups.get_mut(&group) {
                    slot.group.offsets.remove(&topic, partition);
                }
            }
            (Key::Group(group), Some(value)) => {
                let metadata = GroupMetadata::decode(value)?;
                self.slot(&group).group.restore(metadata, now);
            }
            (Key::Consumers(key), value) => {
                let group = key.group().clone();
                if value.is_none() && key.ends_group() {
                    if let Some(slot) = self.groups.get_mut(&group) {
                        slot.group.consumers = None;
                    }
                } else if value.is_some() || self.groups.contains_key(&group) {
                    let consumers = &mut self.slot(&group).group.consumers;
                    consumers.get_or_insert_default().replay(&key, value)?;
                }
            }
            (Key::Group(group), None) => {
                // The offsets have tombstones of their own.
                if let Some(slot) = self.groups.remove(&group) {
                    self.slot(&group).group.offsets = slot.group.offsets;
                }
            }
        }
        Ok(())
    }

    /// Takes a transaction's marker of the partition, in its place among the records.
    pub fn replay_marker(&mut self, producer: ProducerId, outcome: Outcome) {
        for group in self.transactions.remove(&producer).unwrap_or_default() {
            if let Some(slot) = self.groups.get_mut(&group) {
                slot.group.offsets.end_transaction(producer, outcome);
            }
        }
    }

    /// The partition has been read to its end: sessions of the members found begin now.
    pub fn loaded(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.next_expiry = Some(now.after(self.settings.offsets_retention_check_ms.max(1)));
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            if let Some(slot) = self.groups.get_mut(&id) {
                slot.group.loaded(now, out);
            }
            self.settle(&id);
        }
    }

    /// The end of a producer's transaction is in the log: what it wrote counts, or never did.
    pub fn end_transaction(
        &mut self,
        now: Timestamp,
        producer: ProducerId,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) {
        for group in self.transactions.remove(&producer).unwrap_or_default() {
            self.handle(now, group, Event::EndTransaction { producer, outcome }, out);
        }
    }

    /// Takes an event of a group.
    pub fn handle(&mut self, now: Timestamp, group: GroupId, event: Event, out: &mut Vec<Action>) {
        if let Event::Commit { request, .. } = &event
            && let Some(producer) = request.transaction
        {
            self.transactions
                .entry(producer.id)
                .or_default()
                .insert(group.clone());
        }
        if let Some(slot) = self.groups.get_mut(&group) {
            slot.group.handle(now, event, out);
        } else if let Err(reply) = may_found_group(&group, &event) {
            out.extend(reply);
            return;
        } else {
            self.slot(&group).group.handle(now, event, out);
        }
        self.settle(&group);
    }

    /// A topic is gone: no group keeps offsets of it.
    pub fn forget_topic(&mut self, now: Timestamp, topic: &TopicName, out: &mut Vec<Action>) {
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.handle(now, id, Event::ForgetTopic { topic: topic.clone() }, out);
        }
    }

    /// When the next `tick` is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines
            .first()
            .map(|(at, _)| *at)
            .into_iter()
            .chain(self.next_expiry)
            .min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let due: Vec<GroupId> = self
            .deadlines
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, group)| group.clone())
            .collect();
        for group in due {
            self.handle(now, group, Event::Tick, out);
        }
        if self.next_expiry.is_some_and(|at| at <= now) {
            self.next_expiry = Some(now.after(self.settings.offsets_retention_check_ms.max(1)));
            for group in self.groups.keys().cloned().collect::<Vec<_>>() {
                self.handle(now, group, Event::Expire, out);
            }
        }
    }

    /// A group, as it is known now.
    pub fn group(&self, group: &GroupId) -> Option<&Group> {
        self.groups.get(group).map(|slot| &slot.group)
    }

    /// What `DescribeGroups` shows; `None` if there is no such group.
    pub fn describe(&self, group: &GroupId) -> Option<GroupDescription> {
        let group = self.group(group).filter(|group| !group.is_consumer())?;
        Some(group.describe())
    }

    /// What `ConsumerGroupDescribe` shows; `None` if there is no such group.
    pub fn describe_consumers(&self, group: &GroupId) -> Option<ConsumerDescription> {
        self.group(group)?.describe_consumers()
    }

    /// Whether a member may read the group's offsets (`OffsetFetch` version 9 and later).
    pub fn check_fetch(&self, group: &GroupId, member: &MemberId, epoch: i32) -> Result<(), GroupError> {
        match self.group(group).and_then(|group| group.consumers.as_ref()) {
            Some(consumers) => consumers.check_fetch(member, epoch),
            None => Ok(()),
        }
    }

    /// What `ListGroups` shows.
    pub fn list(&self, filter: &GroupFilter) -> Vec<GroupListing> {
        let groups = self.groups.values().map(|slot| &slot.group);
        groups
            .filter(|group| filter.admits(group))
            .map(Group::listing)
            .collect()
    }

    /// The committed offsets of these partitions, or of all (`None`). A group nobody knows has none.
    pub fn fetch_offsets(&self, group: &GroupId, wanted: Option<&[(TopicName, i32)]>) -> Vec<FetchedOffset> {
        match (self.group(group), wanted) {
            (Some(group), None) => group.fetch_all_offsets(),
            (Some(group), Some(wanted)) => wanted
                .iter()
                .map(|(topic, at)| group.fetch_offset(topic, *at))
                .collect(),
            (None, wanted) => {
                let none = |(topic, partition): &(TopicName, i32)| FetchedOffset {
                    topic: topic.clone(),
                    partition: *partition,
                    committed: None,
                    unstable: false,
                };
                wanted.unwrap_or_default().iter().map(none).collect()
            }
        }
    }

    fn slot(&mut self, id: &GroupId) -> &mut Slot {
        let settings = &self.settings;
        self.groups.entry(id.clone()).or_insert_with(|| Slot {
            group: Group::new(id.clone(), settings.clone()),
            deadline: None,
        })
    }

    /// After every change of a group: forgets it if it is over, else notes when it is due.
    fn settle(&mut self, id: &GroupId) {
        let Some(slot) = self.groups.get_mut(id) else {
            return;
        };
        if let Some(old) = slot.deadline.take() {
            self.deadlines.remove(&(old, id.clone()));
        }
        if slot.group.is_over() {
            self.groups.remove(id);
        } else if let Some(next) = slot.group.next_deadline() {
            slot.deadline = Some(next);
            self.deadlines.insert((next, id.clone()));
        }
    }
}

/// What a request is answered whose group nobody knows; `None` if it may bring the group into being.
pub fn answer_without_group(group: &GroupId, event: &Event) -> Option<Reply> {
    match may_found_group(group, event) {
        Err(Some(Action::Reply { reply, .. })) => Some(reply),
        _ => None,
    }
}

/// Whether an event may bring a group into being; if not, what it is answered.
fn may_found_group(group: &GroupId, event: &Event) -> Result<(), Option<Action>> {
    let nameless = |otherwise| {
        if group.is_empty() {
            GroupError::InvalidGroupId
        } else {
            otherwise
        }
    };
    let (to, reply) = match event {
        Event::Join { request, .. } if request.member.is_empty() && !group.is_empty() => return Ok(()),
        // Offsets alone may have a nameless group: old clients commit under it.
        Event::Commit { request, .. } if request.generation < 0 => return Ok(()),
        Event::Join { request, to } => {
            let refused = JoinRefused {
                error: nameless(GroupError::UnknownMemberId),
                member: request.member.clone(),
            };
            (*to, Reply::Join(Err(refused)))
        }
        Event::ConsumerHeartbeat { request, .. } if request.epoch == MemberEpoch::Joining => return Ok(()),
        Event::ConsumerHeartbeat { to, .. } => {
            (*to, Reply::ConsumerHeartbeat(Err(GroupError::GroupIdNotFound)))
        }
        Event::Sync { to, .. } => (*to, Reply::Sync(Err(nameless(GroupError::UnknownMemberId)))),
        Event::Heartbeat { to, .. } => (*to, Reply::Heartbeat(Err(nameless(GroupError::UnknownMemberId)))),
        Event::Leave { to, .. } if group.is_empty() => (*to, Reply::Leave(Err(GroupError::InvalidGroupId))),
        Event::Leave { members, to } => {
            let unknown = members.iter().map(|leaving| LeaveAnswer {
                member: leaving.member.clone(),
                instance: leaving.instance.clone(),
                result: Err(GroupError::UnknownMemberId),
            });
            (*to, Reply::Leave(Ok(unknown.collect())))
        }
        Event::Commit { request, to } if request.knows_group_not_found => {
            (*to, Reply::Commit(Err(GroupError::GroupIdNotFound)))
        }
        Event::Commit { to, .. } => (*to, Reply::Commit(Err(GroupError::IllegalGeneration))),
        Event::DeleteOffsets { to, .. } => (*to, Reply::DeleteOffsets(Err(GroupError::GroupIdNotFound))),
        Event::Delete { to } => (*to, Reply::Delete(Err(GroupError::GroupIdNotFound))),
        Event::ForgetTopic { .. }
        | Event::EndTransaction { .. }
        | Event::Written(_)
        | Event::WriteFailed(..)
        | Event::Tick
        | Event::Expire => {
            return Err(None);
        }
    };
    Err(Some(Action::Reply { to, reply }))
}

#[cfg(test)]
mod tests;
