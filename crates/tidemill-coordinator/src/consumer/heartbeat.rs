//! `ConsumerGroupHeartbeat`: joining, staying, giving up partitions and leaving, all in one request.

use std::sync::Arc;

use super::member::{ConsumerMember, MemberState};
use super::reconcile::Holds;
use super::record::{ConsumerKey, ConsumerRecord};
use super::topics::{TopicImage, compile};
use super::{Change, Consumers, Partitions};
use crate::action::{Action, Note, Reply};
use crate::error::GroupError;
use crate::group::{Group, Unwritten};
use crate::id::{InstanceId, MemberId, ReplyTo, Timestamp, TopicName};
use crate::phase::Phase;
use crate::settings::GroupSettings;

/// The epoch of a static member that is away and will be back.
pub(super) const STATIC_AWAY: i32 = -2;

/// What a member's epoch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEpoch {
    /// It joins, or starts over.
    Joining,
    /// It is in the group since this epoch.
    At(i32),
    /// It goes.
    Leaving,
    /// It goes and will be back under its instance: its partitions are kept for it.
    Away,
}

impl MemberEpoch {
    /// As the wire says it; `None` for what means nothing.
    pub fn of_wire(epoch: i32) -> Option<Self> {
        match epoch {
            0 => Some(Self::Joining),
            -1 => Some(Self::Leaving),
            STATIC_AWAY => Some(Self::Away),
            epoch => (epoch > 0).then_some(Self::At(epoch)),
        }
    }
}

/// `ConsumerGroupHeartbeat`. What is not said has not changed.
#[derive(Clone, Debug)]
pub struct ConsumerHeartbeat {
    /// Who.
    pub member: MemberId,
    /// Since when, or whether it comes or goes.
    pub epoch: MemberEpoch,
    /// Set by static members.
    pub instance: Option<InstanceId>,
    /// Where it runs.
    pub rack: Option<String>,
    /// How long it may take to give up partitions.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics it wants by name.
    pub names: Option<Vec<TopicName>>,
    /// The pattern of the topics it wants besides; the empty one is none.
    pub pattern: Option<String>,
    /// Which assignor it would have.
    pub assignor: Option<String>,
    /// What it holds.
    pub holds: Option<Partitions>,
    /// From the request's header.
    pub client_id: String,
    /// Where the client connects from, `/127.0.0.1` as Kafka prints it.
    pub client_host: String,
    /// The topics there are.
    pub topics: Arc<TopicImage>,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerBeat {
    /// Who this is.
    pub member: MemberId,
    /// The epoch to say from now on.
    pub epoch: i32,
    /// How soon to come again.
    pub interval_ms: i32,
    /// What to hold from now on, where that is news.
    pub assignment: Option<Partitions>,
}

/// What puts a group back as it was before a change that could not be written.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    before: Option<Box<Consumers>>,
    answer: Option<(ReplyTo, Reply)>,
}

impl Group {
    pub(crate) fn consumer_heartbeat(
        &mut self,
        now: Timestamp,
        request: &ConsumerHeartbeat,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        let settings = Arc::clone(&self.settings);
        let known = |name: &String| settings.consumer_assignors.iter().any(|a| a.as_str() == name);
        if request.assignor.as_ref().is_some_and(|name| !known(name)) {
            let reply = Reply::ConsumerHeartbeat(Err(GroupError::UnsupportedAssignor));
            return out.push(Action::Reply { to, reply });
        }
        if let Some(beat) = self
            .consumers
            .as_mut()
            .and_then(|consumers| consumers.unchanged(now, request, &settings))
        {
            let reply = Reply::ConsumerHeartbeat(Ok(beat));
            return out.push(Action::Reply { to, reply });
        }
        let mut change = Change {
            group: &self.id.clone(),
            settings: &settings,
            now,
            records: Vec::new(),
        };
        let result = self.draft(request, &mut change).and_then(|mut draft| {
            let beat = draft.heartbeat(request, &mut change)?;
            Ok((draft, beat))
        });
        match result {
            Ok((draft, beat)) => {
                let reply = Reply::ConsumerHeartbeat(Ok(beat));
                self.adopt(now, draft, change.records, Some((to, reply)), out);
            }
            Err(error) => out.push(Action::Reply {
                to,
                reply: Reply::ConsumerHeartbeat(Err(error)),
            }),
        }
    }

    /// The group to change: a copy, so that what is refused half way has changed nothing.
    fn draft(&self, request: &ConsumerHeartbeat, change: &mut Change<'_>) -> Result<Consumers, GroupError> {
        match &self.consumers {
            _ if self.phase == Phase::Dead => Err(GroupError::CoordinatorNotAvailable),
            Some(consumers) => Ok((**consumers).clone()),
            None if request.epoch != MemberEpoch::Joining => Err(GroupError::GroupIdNotFound),
            None => self.upgraded(&request.topics, change),
        }
    }

    /// Puts a changed group in force and has it written; the answer follows when it is.
    pub(super) fn adopt(
        &mut self,
        now: Timestamp,
        draft: Consumers,
        records: Vec<crate::record::Record>,
        answer: Option<(ReplyTo, Reply)>,
        out: &mut Vec<Action>,
    ) {
        self.end_classic(now, out);
        let before = self.consumers.replace(Box::new(draft));
        if !records.is_empty() {
            return self.append(records, Unwritten::Consumers(Undo { before, answer }), out);
        }
        if let Some((to, reply)) = answer {
            out.push(Action::Reply { to, reply });
        }
    }

    pub(crate) fn consumers_written(&mut self, now: Timestamp, undo: Undo, out: &mut Vec<Action>) {
        if let Some((to, reply)) = undo.answer {
            out.push(Action::Reply { to, reply });
        }
        self.downgrade_if_due(now, out);
    }

    pub(crate) fn consumers_lost(&mut self, undo: Undo, error: GroupError, out: &mut Vec<Action>) {
        let what = "a change of members";
        self.note(Note::WriteFailed { what }, out);
        self.consumers = undo.before;
        if let Some((to, reply)) = undo.answer {
            out.push(Action::Reply {
                to,
                reply: reply.refused(error),
            });
        }
    }

    /// Members whose time is up are out.
    pub(crate) fn consumers_tick(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let Some(consumers) = &self.consumers else { return };
        let due = |deadlines: &std::collections::BTreeMap<MemberId, Timestamp>| {
            let due = deadlines.iter().filter(|(_, at)| **at <= now);
            due.map(|(id, _)| id.clone()).collect::<Vec<_>>()
        };
        let silent = due(&consumers.sessions)
            .into_iter()
            .map(|id| (id, "it was silent too long"));
        let slow = due(&consumers.revocations)
            .into_iter()
            .map(|id| (id, "it did not give up its partitions in time"));
        let out_now: Vec<_> = silent.chain(slow).collect();
        if out_now.is_empty() {
            return;
        }
        let settings = Arc::clone(&self.settings);
        let mut change = Change {
            group: &self.id.clone(),
            settings: &settings,
            now,
            records: Vec::new(),
        };
        let mut draft = (**consumers).clone();
        for (member, reason) in out_now {
            draft.remove(&member, &mut change);
            self.note(Note::Removed { member, reason }, out);
        }
        self.adopt(now, draft, change.records, None, out);
    }
}

impl Consumers {
    /// The answer to a heartbeat that brings no news and finds none; the member's session goes on.
    fn unchanged(
        &mut self,
        now: Timestamp,
        request: &ConsumerHeartbeat,
        settings: &GroupSettings,
    ) -> Option<ConsumerBeat> {
        let MemberEpoch::At(epoch) = request.epoch else {
            return None;
        };
        let member = self.members.get(&request.member)?;
        let silent = request.names.is_none()
            && request.pattern.is_none()
            && request.rebalance_timeout_ms.is_none()
            && request.assignor.is_none()
            && request.rack.is_none();
        let settled = self.epoch == self.target_epoch
            && member.epoch == epoch
            && member.epoch == self.target_epoch
            && member.state == MemberState::Stable
            && member.classic.is_none()
            && self.topics.version() == request.topics.version();
        if !silent || !settled || member.instance != request.instance || request.holds.is_some() {
            return None;
        }
        let timeout_ms = settings.consumer_session_timeout_ms;
        self.sessions
            .insert(request.member.clone(), now.after(timeout_ms));
        Some(ConsumerBeat {
            member: request.member.clone(),
            epoch,
            interval_ms: settings.consumer_heartbeat_interval_ms,
            assignment: None,
        })
    }

    fn heartbeat(
        &mut self,
        request: &ConsumerHeartbeat,
        change: &mut Change<'_>,
    ) -> Result<ConsumerBeat, GroupError> {
        match request.epoch {
            MemberEpoch::Leaving => self.leave(request, change),
            MemberEpoch::Away => self.go_away(request, change),
            MemberEpoch::Joining | MemberEpoch::At(_) => {
                let before = self.find(request, change)?;
                let mut member = before.clone();
                member.take(request)?;
                member.classic = None;
                let holds = request.holds.as_ref().map_or(Holds::Unsaid, Holds::These);
                let joined = request.epoch == MemberEpoch::Joining;
                let member = self.advance(&before, member, &holds, &request.topics, change);
                let full = request.rebalance_timeout_ms.is_some()
                    && (request.names.is_some() || request.pattern.is_some())
                    && request.holds.is_some();
                let news = joined || full || member.assigned != before.assigned;
                Ok(ConsumerBeat {
                    member: member.id.clone(),
                    epoch: member.epoch,
                    interval_ms: change.settings.consumer_heartbeat_interval_ms,
                    assignment: news.then(|| member.assigned.clone()),
                })
            }
        }
    }

    /// The member that asks, new if need be.
    fn find(
        &mut self,
        request: &ConsumerHeartbeat,
        change: &mut Change<'_>,
    ) -> Result<ConsumerMember, GroupError> {
        let joins = request.epoch == MemberEpoch::Joining;
        let by_instance = request
            .instance
            .as_ref()
            .map(|instance| self.statics.get(instance).cloned());
        match by_instance {
            Some(None) | None if joins && !self.members.contains_key(&request.member) => {
                if self.members.len() >= change.settings.consumer_size_max {
                    return Err(GroupError::GroupMaxSizeReached);
                }
                Ok(ConsumerMember::new(request.member.clone()))
            }
            Some(Some(owner)) if owner != request.member => {
                if !joins {
                    return Err(GroupError::FencedInstanceId);
                }
                self.take_over(&owner, &request.member, change)
            }
            Some(None) => Err(GroupError::UnknownMemberId),
            _ => {
                let member = self.member(&request.member)?;
                if member.epoch != STATIC_AWAY || !joins {
                    check_epoch(member, request)?;
                }
                Ok((**member).clone())
            }
        }
    }

    /// A static member comes back under another id and gets what was kept for it.
    pub(super) fn take_over(
        &mut self,
        owner: &MemberId,
        id: &MemberId,
        change: &mut Change<'_>,
    ) -> Result<ConsumerMember, GroupError> {
        let old = (**self.member(owner)?).clone();
        if old.epoch != STATIC_AWAY {
            return Err(GroupError::UnreleasedInstanceId);
        }
        for key in [ConsumerKey::Current, ConsumerKey::Target, ConsumerKey::Member] {
            change.forget(key(change.group.clone(), owner.clone()));
        }
        self.members.remove(owner);
        self.sessions.remove(owner);
        self.revocations.remove(owner);
        if let Some(target) = self.target.remove(owner) {
            change.write(ConsumerRecord::Target {
                member: id.clone(),
                partitions: (*target).clone(),
            });
            self.target.insert(id.clone(), target);
        }
        let new = ConsumerMember {
            id: id.clone(),
            epoch: 0,
            previous_epoch: 0,
            ..old
        };
        change.write(ConsumerRecord::Member(Box::new(new.clone())));
        self.insert(new.clone());
        Ok(new)
    }

    /// Puts in what a member says now, divides the work anew if that or the topics changed it, and takes the member a
    /// step further.
    pub(super) fn advance(
        &mut self,
        before: &ConsumerMember,
        member: ConsumerMember,
        holds: &Holds<'_>,
        topics: &Arc<TopicImage>,
        change: &mut Change<'_>,
    ) -> ConsumerMember {
        let is_new = !self.members.contains_key(&member.id);
        if is_new || !member.same_metadata(before) {
            change.write(ConsumerRecord::Member(Box::new(member.clone())));
        }
        let other_topics = is_new || member.names != before.names || member.pattern != before.pattern;
        let other_wish = member.assignor != before.assignor;
        self.insert(member.clone());
        self.see_topics(topics, change);
        if other_topics {
            self.forget_unused_patterns(change);
        }
        if other_topics || other_wish || self.hash() != self.topics_hash {
            self.bump(change);
        }
        if self.epoch > self.target_epoch {
            self.divide(change);
        }
        let next = self.reconciled(&member, holds);
        if is_new || !next.same_assignment(before) {
            change.write(ConsumerRecord::Current(Box::new(next.clone())));
        }
        let now = change.now;
        self.sessions.insert(
            next.id.clone(),
            now.after(next.session_timeout_ms(change.settings)),
        );
        if next.state != MemberState::Unrevoked {
            self.revocations.remove(&next.id);
        } else if before.state != MemberState::Unrevoked || before.epoch != next.epoch {
            self.revocations
                .insert(next.id.clone(), now.after(next.rebalance_timeout_ms));
        }
        self.insert(next.clone());
        next
    }

    fn leave(
        &mut self,
        request: &ConsumerHeartbeat,
        change: &mut Change<'_>,
    ) -> Result<ConsumerBeat, GroupError> {
        let id = self.owner(request)?;
        self.remove(&id, change);
        Ok(gone(id, -1, change))
    }

    fn go_away(
        &mut self,
        request: &ConsumerHeartbeat,
        change: &mut Change<'_>,
    ) -> Result<ConsumerBeat, GroupError> {
        let id = self.owner(request)?;
        let mut member = (**self.member(&id)?).clone();
        // What it shall give up it holds no longer.
        member.epoch = STATIC_AWAY;
        member.revoking = Partitions::default();
        change.write(ConsumerRecord::Current(Box::new(member.clone())));
        // Its session goes on: if it is not back by then, others get its partitions.
        self.revocations.remove(&id);
        self.insert(member);
        Ok(gone(id, STATIC_AWAY, change))
    }

    /// The member that goes, which must be who it says.
    fn owner(&self, request: &ConsumerHeartbeat) -> Result<MemberId, GroupError> {
        let Some(instance) = &request.instance else {
            return self.member(&request.member).map(|member| member.id.clone());
        };
        match self.statics.get(instance) {
            None => Err(GroupError::UnknownMemberId),
            Some(owner) if *owner != request.member => Err(GroupError::FencedInstanceId),
            Some(owner) => Ok(owner.clone()),
        }
    }
}

fn gone(member: MemberId, epoch: i32, change: &Change<'_>) -> ConsumerBeat {
    ConsumerBeat {
        member,
        epoch,
        interval_ms: change.settings.consumer_heartbeat_interval_ms,
        assignment: None,
    }
}

/// A member may be one epoch behind, if the answer with the new one was lost and it holds nothing it should not.
fn check_epoch(member: &ConsumerMember, request: &ConsumerHeartbeat) -> Result<(), GroupError> {
    let MemberEpoch::At(epoch) = request.epoch else {
        return Ok(());
    };
    let holds_its_own = request
        .holds
        .as_ref()
        .is_some_and(|holds| holds.is_subset(&member.assigned));
    if epoch == member.epoch || (epoch == member.previous_epoch && epoch < member.epoch && holds_its_own) {
        Ok(())
    } else {
        Err(GroupError::FencedMemberEpoch)
    }
}

impl ConsumerMember {
    /// Takes over what the member says now.
    fn take(&mut self, request: &ConsumerHeartbeat) -> Result<(), GroupError> {
        self.instance.clone_from(&request.instance);
        self.client_id.clone_from(&request.client_id);
        self.client_host.clone_from(&request.client_host);
        if request.rack.is_some() {
            self.rack.clone_from(&request.rack);
        }
        if let Some(timeout_ms) = request.rebalance_timeout_ms {
            self.rebalance_timeout_ms = timeout_ms;
        }
        if let Some(names) = &request.names {
            self.names = names.iter().cloned().collect();
        }
        if request.assignor.is_some() {
            self.assignor.clone_from(&request.assignor);
        }
        if let Some(pattern) = &request.pattern
            && self.pattern.as_ref() != Some(pattern)
        {
            if !pattern.is_empty() {
                compile(pattern)?;
            }
            self.pattern = Some(pattern.clone()).filter(|pattern| !pattern.is_empty());
        }
        Ok(())
    }
}
