//! One member's next step towards its share of the target: give up first, then take what is free.

use super::member::{ConsumerMember, MemberState};
use super::{Consumers, Partitions};
use crate::id::MemberId;

/// What a member says it holds.
pub(super) enum Holds<'a> {
    /// Nothing about it.
    Unsaid,
    /// These.
    These(&'a Partitions),
}

impl Holds<'_> {
    fn any_of(&self, revoked: &Partitions) -> bool {
        match self {
            Self::Unsaid => true,
            Self::These(held) => !held.is_disjoint(revoked),
        }
    }
}

impl Consumers {
    /// The member after its next step; the same if there is none to take now.
    pub(super) fn reconciled(&self, member: &ConsumerMember, holds: &Holds<'_>) -> ConsumerMember {
        match member.state {
            MemberState::Stable if member.epoch == self.target_epoch => member.clone(),
            MemberState::Stable | MemberState::Unreleased => self.next_step(member, member.epoch, holds),
            MemberState::Unrevoked if holds.any_of(&member.revoking) => member.clone(),
            // What it had to give up for its epoch is given up.
            MemberState::Unrevoked => self.next_step(member, member.epoch.saturating_add(1), holds),
        }
    }

    fn next_step(&self, member: &ConsumerMember, epoch: i32, holds: &Holds<'_>) -> ConsumerMember {
        let nothing = Partitions::default();
        let target = self.target.get(&member.id).map_or(&nothing, |target| target);
        let (kept, given_up): (Vec<_>, Vec<_>) = member
            .assigned
            .iter()
            .partition(|(topic, partition)| target.contains(*topic, *partition));
        let kept: Partitions = kept.into_iter().collect();
        let given_up: Partitions = given_up.into_iter().collect();
        let mut next = member.clone();
        if !given_up.is_empty() && holds.any_of(&given_up) {
            next.state = MemberState::Unrevoked;
            next.assigned = kept;
            next.revoking = given_up;
            return at_epoch(next, epoch);
        }
        let others = self.held_by_others(&member.id);
        next.revoking = Partitions::default();
        next.state = MemberState::Stable;
        next.assigned = kept;
        for (topic, partition) in target.iter() {
            if others.contains(topic, partition) {
                next.state = MemberState::Unreleased;
            } else {
                next.assigned.insert(topic, partition);
            }
        }
        at_epoch(next, self.target_epoch)
    }

    /// Whether another member holds a partition that this one shall get.
    pub(super) fn waits_for_others(&self, member: &ConsumerMember) -> bool {
        let others = self.held_by_others(&member.id);
        let target = self.target.get(&member.id);
        target.is_some_and(|target| !target.is_disjoint(&others))
    }

    fn held_by_others(&self, id: &MemberId) -> Partitions {
        self.members
            .values()
            .filter(|member| member.id != *id)
            .flat_map(|member| member.assigned.iter().chain(member.revoking.iter()))
            .collect()
    }
}

fn at_epoch(mut member: ConsumerMember, epoch: i32) -> ConsumerMember {
    member.previous_epoch = member.epoch;
    member.epoch = epoch;
    member
}
