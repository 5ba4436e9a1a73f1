//! A static member that restarts: it joins without a member id and takes its old place, without a rebalance where that
//! is possible. Whoever still speaks under the old id is fenced.

use crate::action::{Action, Joined, Note, Reply};
use crate::error::{GroupError, JoinRefused, WriteFailure};
use crate::event::JoinRequest;
use crate::group::{Group, Unwritten, refuse_waiting};
use crate::id::{InstanceId, MemberId, ReplyTo, Timestamp};
use crate::member::{Terms, Waiting};
use crate::phase::Phase;

/// A replacement on its way to the log, and what it takes to undo it.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    instance: InstanceId,
    old: MemberId,
    new: MemberId,
    old_terms: Terms,
    old_leader: Option<MemberId>,
    to: ReplyTo,
    skips_assignment: bool,
}

impl Group {
    pub(crate) fn replace_static(
        &mut self,
        now: Timestamp,
        request: &JoinRequest,
        old: MemberId,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        let Some(instance) = request.instance.clone() else {
            return;
        };
        let new = request.fresh_member.clone();
        let old_leader = self.leader.clone();
        let Some(old_terms) = self.rename_static(now, &instance, &old, &new, out) else {
            return;
        };
        self.update_member(&new, Terms::of(request), to, out);
        if let Some(member) = self.members.get_mut(&new) {
            member.client_id.clone_from(&request.client_id);
            member.client_host.clone_from(&request.client_host);
        }
        self.note(
            Note::Replaced {
                instance: instance.clone(),
                old: old.clone(),
                new: new.clone(),
            },
            out,
        );
        if matches!(self.phase, Phase::Stable { .. }) && self.select_protocol() == self.protocol {
            // Everybody keeps their work; only the new id must reach the log.
            let record = self.metadata_record(|member| member.assignment.clone());
            let skips_assignment = request.skips_assignment;
            let replacement = Replacement {
                instance,
                old,
                new,
                old_terms,
                old_leader,
                to,
                skips_assignment,
            };
            return self.append(vec![record], Unwritten::Replacement(replacement), out);
        }
        // While a generation completes, the leader may divide the work among the old ids: the new one would get none.
        self.rebalance(now, "a static member came back under a new id", out);
    }

    /// Gives the place of `old` to `new`, and fences whoever waits under the old id. The terms `old` had.
    fn rename_static(
        &mut self,
        now: Timestamp,
        instance: &InstanceId,
        old: &MemberId,
        new: &MemberId,
        out: &mut Vec<Action>,
    ) -> Option<Terms> {
        let mut member = self.members.remove(old)?;
        refuse_waiting(&mut member, old.clone(), GroupError::FencedInstanceId, out);
        member.id = new.clone();
        member.restart_session(now);
        // Its predecessor may have been the new one, its client need not be: it learns its id now.
        member.is_new = false;
        let terms = member.terms.clone();
        self.members.insert(new.clone(), member);
        self.statics.insert(instance.clone(), new.clone());
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        Some(terms)
    }

    pub(crate) fn replacement_written(&mut self, now: Timestamp, done: Replacement, out: &mut Vec<Action>) {
        if !self.still_waits(&done) || !matches!(self.phase, Phase::Stable { .. }) {
            // A rebalance began meanwhile: the next generation answers.
            return;
        }
        let mut joined = self.joined(&done.new);
        if done.skips_assignment {
            joined.skip_assignment = self.is_leader(&done.new);
        } else {
            // Clients of old versions would divide the work if told that they lead; under the old leader's id they do not.
            let leader = done.old_leader.unwrap_or_else(|| MemberId::from(""));
            joined = Joined {
                leader,
                members: Vec::new(),
                ..joined
            };
        }
        if let Some(member) = self.members.get_mut(&done.new) {
            member.waiting = Waiting::Nothing;
            member.restart_session(now);
        }
        out.push(Action::Reply {
            to: done.to,
            reply: Reply::Join(Ok(joined)),
        });
    }

    pub(crate) fn replacement_lost(
        &mut self,
        now: Timestamp,
        lost: Replacement,
        failure: WriteFailure,
        out: &mut Vec<Action>,
    ) {
        if !self.still_waits(&lost) {
            return;
        }
        if let Some(member) = self.members.get_mut(&lost.new) {
            member.waiting = Waiting::Nothing;
            member.terms = lost.old_terms;
        }
        self.rename_static(now, &lost.instance, &lost.new, &lost.old, out);
        self.note(
            Note::WriteFailed {
                what: "a static member's new id",
            },
            out,
        );
        let refused = JoinRefused {
            error: failure.group_error(),
            member: MemberId::from(""),
        };
        out.push(Action::Reply {
            to: lost.to,
            reply: Reply::Join(Err(refused)),
        });
    }

    fn still_waits(&self, replacement: &Replacement) -> bool {
        self.members
            .get(&replacement.new)
            .is_some_and(|member| member.waiting == Waiting::Join(replacement.to))
    }
}
