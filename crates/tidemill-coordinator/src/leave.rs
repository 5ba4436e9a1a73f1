//! `LeaveGroup`: members go, or are sent away by an administrator.

use crate::action::{Action, LeaveAnswer, Reply};
use crate::error::GroupError;
use crate::event::LeavingMember;
use crate::group::Group;
use crate::id::{InstanceId, MemberId, ReplyTo, Timestamp};
use crate::phase::Phase;

impl Group {
    pub(crate) fn leave(
        &mut self,
        now: Timestamp,
        leaving: Vec<LeavingMember>,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        if self.phase == Phase::Dead {
            return out.push(Action::Reply {
                to,
                reply: Reply::Leave(Err(GroupError::CoordinatorNotAvailable)),
            });
        }
        let members_before = self.members.len();
        let mut answers = Vec::with_capacity(leaving.len());
        let mut replies = Vec::new();
        for LeavingMember {
            member,
            instance,
            reason: _,
        } in leaving
        {
            let result = self.leave_one(&member, instance.as_ref(), &mut replies);
            answers.push(LeaveAnswer {
                member,
                instance,
                result,
            });
        }
        let gathers = matches!(self.phase, Phase::PreparingRebalance(_));
        out.append(&mut replies);
        out.push(Action::Reply {
            to,
            reply: Reply::Leave(Ok(answers)),
        });
        // A pending member that gives up was in no generation; only those who gather have waited for it.
        if gathers || self.members.len() < members_before {
            self.rebalance(now, "a member left", out);
        }
    }

    fn leave_one(
        &mut self,
        member: &MemberId,
        instance: Option<&InstanceId>,
        out: &mut Vec<Action>,
    ) -> Result<(), GroupError> {
        let id = if member.is_empty() {
            // An administrator names static members by their instance.
            instance
                .and_then(|instance| self.statics.get(instance))
                .cloned()
                .ok_or(GroupError::UnknownMemberId)?
        } else if self.pending.contains_key(member) {
            member.clone()
        } else {
            self.check_member(member, instance)?;
            member.clone()
        };
        self.remove_member(&id, "it left", out);
        Ok(())
    }
}
