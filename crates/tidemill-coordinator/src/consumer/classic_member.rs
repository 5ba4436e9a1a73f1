//! Members that speak the classic protocol in a group of the consumer protocol: each is told its own share, as if it
//! followed a leader it never sees.

use bytes::Bytes;

use super::member::{ClassicPart, ConsumerMember, MemberState};
use super::migrate::subscription_of;
use super::reconcile::Holds;
use super::{Change, Consumers, Partitions};
use crate::action::{Action, Assigned, Joined, LeaveAnswer, Reply};
use crate::error::{GroupError, JoinRefused};
use crate::event::{HeartbeatRequest, JoinRequest, LeavingMember, SyncRequest};
use crate::group::Group;
use crate::id::{InstanceId, MemberId, ReplyTo, Timestamp};
use crate::member::Terms;
use crate::subscription::{self, CONSUMER};

impl Group {
    /// `JoinGroup`. The answer comes at once: nobody waits for anybody.
    pub(crate) fn classic_join(
        &mut self,
        now: Timestamp,
        request: JoinRequest,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        if let Some((error, member)) = self.refuses_join(now, &request) {
            let reply = Reply::Join(Err(JoinRefused { error, member }));
            return out.push(Action::Reply { to, reply });
        }
        let Some(consumers) = &self.consumers else { return };
        let settings = self.settings.clone();
        let mut change = Change {
            group: &self.id.clone(),
            settings: &settings,
            now,
            records: Vec::new(),
        };
        let mut draft = (**consumers).clone();
        match draft.classic_join(&request, &mut change) {
            Ok(joined) => {
                self.pending.remove(&joined.member);
                self.adopt(
                    now,
                    draft,
                    change.records,
                    Some((to, Reply::Join(Ok(joined)))),
                    out,
                );
            }
            Err(error) => {
                let member = request.member;
                let reply = Reply::Join(Err(JoinRefused { error, member }));
                out.push(Action::Reply { to, reply });
            }
        }
    }

    /// What keeps a request from being looked at: a client that can do so first gets its id.
    fn refuses_join(&mut self, now: Timestamp, request: &JoinRequest) -> Option<(GroupError, MemberId)> {
        let allowed = self.settings.session_timeout_min_ms..=self.settings.session_timeout_max_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Some((GroupError::InvalidSessionTimeout, request.member.clone()));
        }
        if request.protocol_type != CONSUMER || subscription_of(&Terms::of(request)).is_none() {
            return Some((GroupError::InconsistentGroupProtocol, request.member.clone()));
        }
        if request.member.is_empty() && request.instance.is_none() && request.member_id_required {
            let id = request.fresh_member.clone();
            self.pending
                .insert(id.clone(), now.after(request.session_timeout_ms));
            return Some((GroupError::MemberIdRequired, id));
        }
        let known = self.pending.contains_key(&request.member)
            || self
                .consumers
                .as_ref()
                .is_some_and(|consumers| consumers.members.contains_key(&request.member));
        let stranger = !request.member.is_empty() && !known;
        stranger.then(|| (GroupError::UnknownMemberId, request.member.clone()))
    }

    /// `SyncGroup`: the member's share as it is now.
    pub(crate) fn classic_sync(
        &mut self,
        now: Timestamp,
        request: &SyncRequest,
    ) -> Result<Assigned, GroupError> {
        let settings = self.settings.clone();
        let consumers = self.consumers.as_mut().ok_or(GroupError::UnknownMemberId)?;
        let member =
            consumers.classic_member(&request.member, request.instance.as_ref(), request.generation)?;
        let protocol = member.classic_protocol();
        let differs =
            |theirs: &Option<String>, ours: &str| theirs.as_ref().is_some_and(|theirs| theirs != ours);
        if differs(&request.protocol_type, CONSUMER)
            || protocol
                .as_ref()
                .is_some_and(|ours| differs(&request.protocol, ours))
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if consumers.must_join_again(&member) {
            return Err(GroupError::RebalanceInProgress);
        }
        let timeout_ms = member.session_timeout_ms(&settings);
        consumers
            .sessions
            .insert(member.id.clone(), now.after(timeout_ms));
        Ok(Assigned {
            protocol_type: Some(CONSUMER.to_owned()),
            protocol,
            assignment: consumers.assignment_bytes(&member.assigned),
        })
    }

    /// `Heartbeat`: the member joins again where it must give something up or could get more.
    pub(crate) fn classic_heartbeat(
        &mut self,
        now: Timestamp,
        request: &HeartbeatRequest,
    ) -> Result<(), GroupError> {
        let settings = self.settings.clone();
        let consumers = self.consumers.as_mut().ok_or(GroupError::UnknownMemberId)?;
        let member =
            consumers.classic_member(&request.member, request.instance.as_ref(), request.generation)?;
        let timeout_ms = member.session_timeout_ms(&settings);
        consumers
            .sessions
            .insert(member.id.clone(), now.after(timeout_ms));
        if !consumers.must_join_again(&member) {
            return Ok(());
        }
        // If it does not join again in time, it is out.
        consumers
            .revocations
            .entry(member.id.clone())
            .or_insert(now.after(member.rebalance_timeout_ms));
        Err(GroupError::RebalanceInProgress)
    }

    /// `LeaveGroup`, by members of both kinds: administrators take out either.
    pub(crate) fn classic_leave(
        &mut self,
        now: Timestamp,
        leaving: Vec<LeavingMember>,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        let Some(consumers) = &self.consumers else { return };
        let settings = self.settings.clone();
        let mut change = Change {
            group: &self.id.clone(),
            settings: &settings,
            now,
            records: Vec::new(),
        };
        let mut draft = (**consumers).clone();
        let mut answers = Vec::with_capacity(leaving.len());
        for LeavingMember { member, instance, .. } in leaving {
            let pending = self.pending.remove(&member).is_some();
            let result = match draft.leaving(&member, instance.as_ref()) {
                _ if pending => Ok(()),
                Ok(id) => {
                    draft.remove(&id, &mut change);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            answers.push(LeaveAnswer {
                member,
                instance,
                result,
            });
        }
        self.adopt(
            now,
            draft,
            change.records,
            Some((to, Reply::Leave(Ok(answers)))),
            out,
        );
    }
}

impl Consumers {
    fn classic_join(&mut self, request: &JoinRequest, change: &mut Change<'_>) -> Result<Joined, GroupError> {
        let terms = Terms::of(request);
        let subscribed = subscription_of(&terms).ok_or(GroupError::InconsistentGroupProtocol)?;
        let before = self.joining(request, change)?;
        let mut member = before.clone();
        member.client_id.clone_from(&request.client_id);
        member.client_host.clone_from(&request.client_host);
        member.instance.clone_from(&request.instance);
        member.rack.clone_from(&subscribed.rack);
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.names = subscribed.names.into_iter().collect();
        member.pattern = None;
        member.classic = Some(ClassicPart {
            session_timeout_ms: terms.session_timeout_ms,
            protocols: terms.protocols,
        });
        // An eager member holds nothing when it joins; a cooperative one says what it holds.
        let holds: Partitions = subscribed
            .owned
            .into_iter()
            .filter_map(|(name, partition)| Some((request.topics.find(&name)?.id, partition)))
            .collect();
        let topics = request.topics.clone();
        let member = self.advance(&before, member, &Holds::These(&holds), &topics, change);
        self.revocations.remove(&member.id);
        Ok(Joined {
            generation: member.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol: member.classic_protocol(),
            leader: MemberId::from(""),
            member: member.id,
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// The member that joins, new if need be; a static one takes its old place.
    fn joining(
        &mut self,
        request: &JoinRequest,
        change: &mut Change<'_>,
    ) -> Result<ConsumerMember, GroupError> {
        let owner = request
            .instance
            .as_ref()
            .and_then(|instance| self.statics.get(instance).cloned());
        if let Some(owner) = owner {
            if !request.member.is_empty() && request.member != owner {
                return Err(GroupError::FencedInstanceId);
            }
            if request.member.is_empty() {
                // Whoever held the instance until now is fenced: the classic protocol knows no other way to come back.
                let mut old = (**self.member(&owner)?).clone();
                old.epoch = super::heartbeat::STATIC_AWAY;
                self.insert(old);
                return self.take_over(&owner, &request.fresh_member, change);
            }
        }
        if let Some(member) = self.members.get(&request.member) {
            return Ok((**member).clone());
        }
        if self.members.len() >= change.settings.consumer_size_max {
            return Err(GroupError::GroupMaxSizeReached);
        }
        let id = if request.member.is_empty() {
            &request.fresh_member
        } else {
            &request.member
        };
        Ok(ConsumerMember::new(id.clone()))
    }

    /// A member that speaks the classic protocol, as its request names it.
    fn classic_member(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
        generation: i32,
    ) -> Result<ConsumerMember, GroupError> {
        let owner = instance.map(|instance| self.statics.get(instance));
        match owner {
            Some(None) => return Err(GroupError::UnknownMemberId),
            Some(Some(owner)) if owner != id => return Err(GroupError::FencedInstanceId),
            _ => {}
        }
        let member = self.member(id)?;
        if member.classic.is_none() {
            return Err(GroupError::UnknownMemberId);
        }
        if member.epoch != generation {
            return Err(GroupError::IllegalGeneration);
        }
        Ok((**member).clone())
    }

    /// Whether the work has changed for a member, or something it waits for is free.
    fn must_join_again(&self, member: &ConsumerMember) -> bool {
        member.epoch < self.epoch
            || member.state == MemberState::Unrevoked
            || (member.state == MemberState::Unreleased && !self.waits_for_others(member))
    }

    /// The member that a `LeaveGroup` names.
    fn leaving(&self, id: &MemberId, instance: Option<&InstanceId>) -> Result<MemberId, GroupError> {
        match instance {
            None => self.member(id).map(|member| member.id.clone()),
            Some(instance) => match self.statics.get(instance) {
                None => Err(GroupError::UnknownMemberId),
                Some(owner) if !id.is_empty() && owner != id => Err(GroupError::FencedInstanceId),
                Some(owner) => Ok(owner.clone()),
            },
        }
    }

    /// Partitions as the classic protocol writes an assignment; topics that are gone are left out.
    pub(super) fn assignment_bytes(&self, partitions: &Partitions) -> Bytes {
        let named = partitions
            .topics()
            .filter_map(|(id, partitions)| Some((self.topics.name(id)?, partitions)));
        subscription::write_assignment(named)
    }
}

impl ConsumerMember {
    fn classic_protocol(&self) -> Option<String> {
        let protocols = self.classic.as_ref().map(|classic| &classic.protocols)?;
        protocols.first().map(|protocol| protocol.name.clone())
    }
}
