//! One consumer group: its members, its offsets, and the dispatch of what happens to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::action::{Action, Assigned, CommitAnswers, Joined, Note, Reply};
use crate::consumer::{Consumers, Undo};
use crate::error::{GroupError, JoinRefused};
use crate::event::{Event, HeartbeatRequest};
use crate::id::{AppendNumber, GroupId, InstanceId, MemberId, Producer, ReplyTo, Timestamp, TopicName};
use crate::member::{Member, Waiting};
use crate::offsets::{CommittedOffset, Offsets};
use crate::phase::{Phase, PhaseName};
use crate::record::{GroupMetadata, Key, Record};
use crate::settings::GroupSettings;
use crate::static_member::Replacement;

/// One consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) id: GroupId,
    pub(crate) settings: Arc<GroupSettings>,
    pub(crate) phase: Phase,
    /// When the group entered its phase; offsets of an empty group are kept from then on.
    pub(crate) since: Option<Timestamp>,
    // Invariant: it only rises.
    pub(crate) generation: i32,
    /// `None` for a group that has only ever had offsets.
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    // Invariant: a member, or `None` when there are none.
    pub(crate) leader: Option<MemberId>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    // Invariant: exactly the members with an instance.
    pub(crate) statics: BTreeMap<InstanceId, MemberId>,
    /// Ids given out by MEMBER_ID_REQUIRED that nobody has joined with yet, and when they lapse.
    pub(crate) pending: BTreeMap<MemberId, Timestamp>,
    /// The topics of all members; `None` when their metadata cannot tell.
    pub(crate) subscribed: Option<BTreeSet<TopicName>>,
    pub(crate) offsets: Offsets,
    /// Set while the group speaks the consumer protocol.
    // Invariant: then it is in phase `Empty` or `Dead`, and has no other members.
    pub(crate) consumers: Option<Box<Consumers>>,
    unwritten: BTreeMap<AppendNumber, Unwritten>,
    appends: u64,
}

/// What waits for an append: done when it is written, undone when it failed.
#[derive(Clone, Debug)]
pub(crate) enum Unwritten {
    Assignment {
        generation: i32,
        assignments: BTreeMap<MemberId, Bytes>,
    },
    EmptyGeneration,
    Replacement(Replacement),
    Commit {
        to: ReplyTo,
        transaction: Option<Producer>,
        offsets: Vec<(TopicName, i32, CommittedOffset)>,
        answers: CommitAnswers,
    },
    OffsetsGone {
        partitions: Vec<(TopicName, i32)>,
        answer: Option<(ReplyTo, CommitAnswers)>,
    },
    GroupGone {
        to: Option<ReplyTo>,
    },
    Consumers(Undo),
    Downgrade(Box<Consumers>),
}

impl Group {
    /// A group without members or offsets.
    pub fn new(id: GroupId, settings: Arc<GroupSettings>) -> Self {
        Self {
            id,
            settings,
            phase: Phase::Empty,
            since: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            subscribed: None,
            offsets: Offsets::default(),
            consumers: None,
            unwritten: BTreeMap::new(),
            appends: 0,
        }
    }

    /// Takes an event; what it leads to is pushed to `out`.
    pub fn handle(&mut self, now: Timestamp, event: Event, out: &mut Vec<Action>) {
        let consumers = self.consumers.is_some() && self.phase != Phase::Dead;
        match event {
            Event::Join { request, to } if consumers => self.classic_join(now, request, to, out),
            Event::Join { request, to } => self.join(now, request, to, out),
            Event::Sync { request, to } if consumers => {
                let reply = Reply::Sync(self.classic_sync(now, &request));
                out.push(Action::Reply { to, reply });
            }
            Event::Sync { request, to } => self.sync(now, request, to, out),
            Event::Heartbeat { request, to } => {
                let reply = Reply::Heartbeat(if consumers {
                    self.classic_heartbeat(now, &request)
                } else {
                    self.heartbeat(now, &request)
                });
                out.push(Action::Reply { to, reply });
            }
            Event::ConsumerHeartbeat { request, to } => self.consumer_heartbeat(now, &request, to, out),
            Event::Leave { members, to } if consumers => self.classic_leave(now, members, to, out),
            Event::Leave { members, to } => self.leave(now, members, to, out),
            Event::Commit { request, to } => self.commit(now, request, to, out),
            Event::DeleteOffsets { partitions, to } => self.delete_offsets(partitions, to, out),
            Event::ForgetTopic { topic } => self.forget_topic(topic, out),
            Event::Delete { to } => self.delete(to, out),
            Event::EndTransaction { producer, outcome } => self.offsets.end_transaction(producer, outcome),
            Event::Written(number) => self.written(now, number, out),
            Event::WriteFailed(number, failure) => self.write_failed(now, number, failure, out),
            Event::Tick => {
                self.tick(now, out);
                self.consumers_tick(now, out);
            }
            Event::Expire => self.expire(now, out),
        }
    }

    /// When the next `Tick` is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let sessions = self.members.values().filter_map(|member| member.session_deadline);
        let pending = self.pending.values().copied();
        let consumers = self
            .consumers
            .as_ref()
            .and_then(|consumers| consumers.next_deadline());
        sessions
            .chain(pending)
            .chain(self.phase.deadline())
            .chain(consumers)
            .min()
    }

    /// The group's state.
    pub fn phase(&self) -> PhaseName {
        match &self.consumers {
            Some(consumers) if self.phase != Phase::Dead => consumers.phase(),
            _ => self.phase.name(),
        }
    }

    /// The group's generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Whether nothing would be lost by forgetting the group: it is deleted, or never came to anything.
    pub(crate) fn is_over(&self) -> bool {
        let nothing_in_it = self.generation == 0
            && self.offsets.is_empty()
            && self.pending.is_empty()
            && self.consumers.is_none();
        self.unwritten.is_empty()
            && match self.phase {
                Phase::Dead => true,
                Phase::Empty => nothing_in_it,
                _ => false,
            }
    }

    /// Takes over what the log says of the group's last generation.
    pub(crate) fn restore(&mut self, metadata: GroupMetadata, now: Timestamp) {
        let protocol = metadata.protocol.clone().unwrap_or_default();
        let members = metadata
            .members
            .into_iter()
            .map(|stored| Member::restored(stored, &protocol, now));
        self.members = members.map(|member| (member.id.clone(), member)).collect();
        let statics = self
            .members
            .values()
            .filter_map(|m| m.instance.clone().map(|i| (i, m.id.clone())));
        self.statics = statics.collect();
        self.pending.clear();
        self.generation = metadata.generation;
        self.protocol_type = Some(metadata.protocol_type).filter(|name| !name.is_empty());
        self.protocol = metadata.protocol;
        self.since = metadata.since;
        self.phase = if self.members.is_empty() {
            Phase::Empty
        } else {
            Phase::Stable { sync_deadline: None }
        };
        let leader = metadata.leader.filter(|leader| self.members.contains_key(leader));
        self.leader = leader.or_else(|| self.members.keys().next().cloned());
        self.subscribed = self.subscribed_topics();
    }

    /// The log has been read to its end: the members found have a whole session to show up.
    pub(crate) fn loaded(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if let Some(consumers) = &mut self.consumers {
            consumers.loaded(now, &self.settings);
        }
        for member in self.members.values_mut() {
            member.restart_session(now);
        }
        if self.members.len() > self.settings.size_max {
            self.prepare_rebalance(now, "the group is larger than group.max.size", out);
        }
    }

    pub(crate) fn is_writing(&self) -> bool {
        !self.unwritten.is_empty()
    }

    pub(crate) fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.phase = phase;
        self.since = Some(now);
    }

    pub(crate) fn is_leader(&self, member: &MemberId) -> bool {
        self.leader.as_ref() == Some(member)
    }

    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members
            .values()
            .map(|member| member.terms.rebalance_timeout_ms)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn note(&self, note: Note, out: &mut Vec<Action>) {
        out.push(Action::Note {
            group: self.id.clone(),
            note,
        });
    }

    pub(crate) fn append(&mut self, records: Vec<Record>, then: Unwritten, out: &mut Vec<Action>) {
        let number = AppendNumber(self.appends);
        self.appends += 1;
        let transaction = match &then {
            Unwritten::Commit { transaction, .. } => *transaction,
            _ => None,
        };
        self.unwritten.insert(number, then);
        out.push(Action::Append {
            group: self.id.clone(),
            number,
            transaction,
            records,
        });
    }

    pub(crate) fn take_unwritten(&mut self, number: AppendNumber) -> Option<Unwritten> {
        self.unwritten.remove(&number)
    }

    /// The record of this generation with these assignments; a member without one gets none.
    pub(crate) fn metadata_record(&self, assignment_of: impl Fn(&Member) -> Bytes) -> Record {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self
            .members
            .values()
            .map(|member| member.stored(protocol, assignment_of(member)))
            .collect();
        let value = GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members,
        };
        Record {
            key: Key::Group(self.id.clone()).encode(),
            value: Some(value.encode()),
        }
    }

    /// Whether a request by this member, under this instance, is one of the group's.
    pub(crate) fn check_member(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(current) if current != member => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) {
            Ok(())
        } else {
            Err(GroupError::UnknownMemberId)
        }
    }

    /// A member's place in the current generation.
    pub(crate) fn joined(&self, member: &MemberId) -> Joined {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = if self.is_leader(member) {
            self.members
                .values()
                .map(|other| other.introduced(protocol))
                .collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| MemberId::from("")),
            member: member.clone(),
            skip_assignment: false,
            members,
        }
    }

    pub(crate) fn assigned(&self, assignment: Bytes) -> Assigned {
        Assigned {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    fn heartbeat(&mut self, now: Timestamp, request: &HeartbeatRequest) -> Result<(), GroupError> {
        if self.phase == Phase::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.check_member(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.keep_alive(now, &request.member);
        match self.phase {
            Phase::PreparingRebalance(_) => Err(GroupError::RebalanceInProgress),
            // Between the answer to its JoinGroup and its assignment a member may well send heartbeats.
            _ => Ok(()),
        }
    }

    /// Restarts the member's session, unless it waits for us and so has none running.
    pub(crate) fn keep_alive(&mut self, now: Timestamp, member: &MemberId) {
        if let Some(member) = self
            .members
            .get_mut(member)
            .filter(|member| member.waiting == Waiting::Nothing)
        {
            member.restart_session(now);
        }
    }

    fn delete(&mut self, to: ReplyTo, out: &mut Vec<Action>) {
        let members = self
            .consumers
            .as_ref()
            .is_some_and(|consumers| !consumers.is_empty());
        match self.phase {
            Phase::Empty if !members => self.bury(Some(to), out),
            Phase::Dead => out.push(Action::Reply {
                to,
                reply: Reply::Delete(Err(GroupError::GroupIdNotFound)),
            }),
            _ => out.push(Action::Reply {
                to,
                reply: Reply::Delete(Err(GroupError::NonEmptyGroup)),
            }),
        }
    }

    /// The partitions with an offset, also one that is on its way to the log: a tombstone must come after it.
    pub(crate) fn kept_partitions(&self) -> BTreeSet<(TopicName, i32)> {
        let written = self
            .offsets
            .iter()
            .map(|(topic, partition, _)| (topic.clone(), partition));
        let coming = self.unwritten.values().filter_map(|then| match then {
            Unwritten::Commit { offsets, .. } => {
                Some(offsets.iter().map(|(topic, at, _)| (topic.clone(), *at)))
            }
            _ => None,
        });
        let pending = self.offsets.pending().cloned();
        written.chain(pending).chain(coming.flatten()).collect()
    }

    /// Writes tombstones for everything the group has.
    pub(crate) fn bury(&mut self, to: Option<ReplyTo>, out: &mut Vec<Action>) {
        let key = |(topic, partition)| Key::Offset(self.id.clone(), topic, partition);
        let mut records: Vec<Record> = self
            .kept_partitions()
            .into_iter()
            .map(|at| key(at).tombstone())
            .collect();
        match &self.consumers {
            Some(consumers) => records.extend(consumers.tombstones(&self.id)),
            None => records.push(Key::Group(self.id.clone()).tombstone()),
        }
        self.phase = Phase::Dead;
        self.append(records, Unwritten::GroupGone { to }, out);
    }
}

/// Tells a member that waits that it waits no longer.
pub(crate) fn refuse_waiting(
    member: &mut Member,
    answer_as: MemberId,
    error: GroupError,
    out: &mut Vec<Action>,
) {
    match std::mem::replace(&mut member.waiting, Waiting::Nothing) {
        Waiting::Nothing => {}
        Waiting::Join(to) => {
            let refused = JoinRefused {
                error,
                member: answer_as,
            };
            out.push(Action::Reply {
                to,
                reply: Reply::Join(Err(refused)),
            });
        }
        Waiting::Sync(to) => out.push(Action::Reply {
            to,
            reply: Reply::Sync(Err(error)),
        }),
    }
}

#[cfg(test)]
mod tests;
