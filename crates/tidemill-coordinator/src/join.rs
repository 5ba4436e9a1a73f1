//! `JoinGroup`: who may be in the next generation.

use crate::action::{Action, Reply};
use crate::error::{GroupError, JoinRefused};
use crate::event::JoinRequest;
use crate::group::{Group, refuse_waiting};
use crate::id::{MemberId, ReplyTo, Timestamp};
use crate::member::{Member, Terms, Waiting};
use crate::phase::{Phase, Preparing};

impl Group {
    pub(crate) fn join(&mut self, now: Timestamp, request: JoinRequest, to: ReplyTo, out: &mut Vec<Action>) {
        let allowed = self.settings.session_timeout_min_ms..=self.settings.session_timeout_max_ms;
        let nobody = MemberId::from("");
        if !allowed.contains(&request.session_timeout_ms) {
            return refuse(to, GroupError::InvalidSessionTimeout, request.member, out);
        }
        if self.phase == Phase::Dead {
            return refuse(to, GroupError::CoordinatorNotAvailable, request.member, out);
        }
        if !self.has_room_for(&request.member) {
            // A member already in the group that the last place went past is out as well (its place is taken).
            self.remove_member(&request.member, "the group is full", out);
            self.maybe_complete_join(now, out);
            return refuse(to, GroupError::GroupMaxSizeReached, nobody, out);
        }
        if !self.supports(&request) {
            return refuse(to, GroupError::InconsistentGroupProtocol, request.member, out);
        }
        if !request.member.is_empty() {
            return self.join_again(now, request, to, out);
        }
        let known_instance = request
            .instance
            .as_ref()
            .and_then(|instance| self.statics.get(instance))
            .cloned();
        match known_instance {
            Some(old) => self.replace_static(now, &request, old, to, out),
            None if request.instance.is_none() && request.member_id_required => {
                // A client that dies before it learns its id must not leave a member behind, so it first gets the id.
                let id = request.fresh_member;
                self.pending
                    .insert(id.clone(), now.after(request.session_timeout_ms));
                refuse(to, GroupError::MemberIdRequired, id, out);
            }
            None => self.add_member(now, request.fresh_member.clone(), &request, to, out),
        }
    }

    /// Whether `group.max.size` leaves room. While the group gathers, only those already back count: the last to come
    /// are the ones to go when the limit was lowered.
    fn has_room_for(&self, id: &MemberId) -> bool {
        let max = self.settings.size_max;
        let member = self.members.get(id);
        match self.phase {
            Phase::Empty | Phase::Dead => true,
            Phase::PreparingRebalance(_) => {
                member.is_some_and(Member::awaits_join)
                    || self
                        .members
                        .values()
                        .filter(|member| member.awaits_join())
                        .count()
                        < max
            }
            Phase::CompletingRebalance { .. } | Phase::Stable { .. } => {
                member.is_some() || self.members.len() < max
            }
        }
    }

    /// Whether the member speaks at least one protocol that everybody speaks.
    fn supports(&self, request: &JoinRequest) -> bool {
        if self.phase == Phase::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request
                .protocols
                .iter()
                .any(|p| self.members.values().all(|member| member.speaks(&p.name)))
    }

    /// A member that has an id: from MEMBER_ID_REQUIRED, or from an earlier generation.
    fn join_again(&mut self, now: Timestamp, request: JoinRequest, to: ReplyTo, out: &mut Vec<Action>) {
        let id = request.member.clone();
        if request.instance.is_none() && self.pending.contains_key(&id) {
            return self.add_member(now, id, &request, to, out);
        }
        if let Err(error) = self.check_member(&id, request.instance.as_ref()) {
            return refuse(to, error, id, out);
        }
        let same = self
            .members
            .get(&id)
            .is_some_and(|member| member.terms.protocols == request.protocols);
        match self.phase {
            Phase::Empty | Phase::Dead => refuse(to, GroupError::UnknownMemberId, id, out),
            // It may not have received the first answer.
            Phase::CompletingRebalance { .. } if same => self.answer_joined(&id, to, out),
            // The leader joins again to have the work divided anew, for reasons its metadata need not show.
            Phase::Stable { .. } if same && !self.is_leader(&id) => self.answer_joined(&id, to, out),
            _ => {
                self.update_member(&id, Terms::of(&request), to, out);
                self.rebalance(now, "a member joined again with something new to say", out);
            }
        }
    }

    fn answer_joined(&self, id: &MemberId, to: ReplyTo, out: &mut Vec<Action>) {
        out.push(Action::Reply {
            to,
            reply: Reply::Join(Ok(self.joined(id))),
        });
    }

    fn add_member(
        &mut self,
        now: Timestamp,
        id: MemberId,
        request: &JoinRequest,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        if let Phase::PreparingRebalance(Preparing::Initial { newcomers, .. }) = &mut self.phase {
            *newcomers = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.pending.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        if let Some(instance) = &request.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.members
            .insert(id.clone(), Member::joining(id, request, to, now));
        self.rebalance(now, "a new member joined", out);
    }

    /// Takes over what the member says now, and lets it wait for the next generation.
    pub(crate) fn update_member(&mut self, id: &MemberId, terms: Terms, to: ReplyTo, out: &mut Vec<Action>) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.terms = terms;
        // A client that asks twice has given up on its first request.
        refuse_waiting(member, id.clone(), GroupError::RebalanceInProgress, out);
        member.waiting = Waiting::Join(to);
        if !member.is_new {
            member.session_deadline = None;
        }
    }
}

fn refuse(to: ReplyTo, error: GroupError, member: MemberId, out: &mut Vec<Action>) {
    out.push(Action::Reply {
        to,
        reply: Reply::Join(Err(JoinRefused { error, member })),
    });
}
