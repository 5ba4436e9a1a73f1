//! The consumer protocol (KIP-848): members say by heartbeat what they want to read and what they hold, the coordinator
//! divides the work and tells each member its share.
//!
//! ```text
//! group epoch   rises with every change of subscriptions or topics         what the work is
//! target epoch  follows it once the work is divided anew                    who shall have what
//! member epoch  follows that, member by member, as partitions are given up  who has what
//! ```
//! A group of the classic protocol becomes one of these when a member of the new protocol joins it, and the other way round
//! when the last of them leaves: meanwhile members of both kinds share the work.

mod assignor;
mod classic_member;
mod describe;
mod heartbeat;
mod member;
mod migrate;
mod partitions;
mod reconcile;
mod record;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::GroupError;
use crate::event::CommitRequest;
use crate::group::Group;
use crate::id::{GroupId, InstanceId, MemberId, Timestamp, TopicName};
use crate::phase::PhaseName;
use crate::record::Record;
use crate::settings::GroupSettings;

pub use assignor::AssignorName;
pub use describe::{ConsumerDescription, ConsumerMemberDescription};
pub use heartbeat::{ConsumerBeat, ConsumerHeartbeat, MemberEpoch};
pub use partitions::{Partitions, TopicId};
pub use topics::{TopicImage, TopicShape};

pub(crate) use heartbeat::Undo;
pub(crate) use record::{ConsumerKey, ConsumerRecord};

use member::{ConsumerMember, MemberState};

/// A group of the consumer protocol. It is cloned before a change and put back if the change cannot be written, so its
/// larger parts are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumers {
    // Invariant: target_epoch <= epoch.
    epoch: i32,
    target_epoch: i32,
    /// Of the topics subscribed to, as `epoch` knows them.
    topics_hash: i64,
    members: BTreeMap<MemberId, Arc<ConsumerMember>>,
    // Invariant: exactly the members with an instance.
    statics: BTreeMap<InstanceId, MemberId>,
    target: BTreeMap<MemberId, Arc<Partitions>>,
    /// The topics that match each pattern in use.
    matches: BTreeMap<String, Arc<BTreeSet<TopicName>>>,
    /// The topics as the last heartbeat saw them.
    topics: Arc<TopicImage>,
    /// When each member is out if it stays silent.
    sessions: BTreeMap<MemberId, Timestamp>,
    /// When a member that shall give up partitions is out if it does not.
    revocations: BTreeMap<MemberId, Timestamp>,
}

impl Consumers {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn phase(&self) -> PhaseName {
        let settled = |member: &Arc<ConsumerMember>| {
            member.state == MemberState::Stable && member.epoch == self.target_epoch
        };
        if self.members.is_empty() {
            PhaseName::Empty
        } else if self.epoch > self.target_epoch {
            PhaseName::Assigning
        } else if self.members.values().all(settled) {
            PhaseName::Stable
        } else {
            PhaseName::Reconciling
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = self.sessions.values().chain(self.revocations.values());
        deadlines.min().copied()
    }

    /// The topics any member reads.
    fn subscribed(&self) -> BTreeSet<&TopicName> {
        self.members
            .values()
            .flat_map(|member| self.subscription_of(member))
            .collect()
    }

    pub(crate) fn is_subscribed(&self, topic: &TopicName) -> bool {
        self.members
            .values()
            .any(|member| self.subscription_of(member).any(|name| name == topic))
    }

    fn subscription_of<'a>(&'a self, member: &'a ConsumerMember) -> impl Iterator<Item = &'a TopicName> {
        let matched = member
            .pattern
            .as_ref()
            .and_then(|pattern| self.matches.get(pattern));
        member
            .names
            .iter()
            .chain(matched.into_iter().flat_map(|names| names.iter()))
    }

    /// Whether a member's commit may be kept.
    pub(crate) fn check_commit(&self, request: &CommitRequest) -> Result<(), GroupError> {
        let nobody = request.generation < 0 && request.member.is_empty() && request.instance.is_none();
        if (request.generation < 0 && self.members.is_empty()) || (nobody && request.transaction.is_some()) {
            return Ok(());
        }
        let member = self.member(&request.member)?;
        // An older request cannot say that its epoch is stale in words the client knows.
        if request.transaction.is_none() && member.classic.is_none() && !request.knows_group_not_found {
            return Err(GroupError::UnsupportedVersion);
        }
        match member.classic {
            _ if member.epoch == request.generation => Ok(()),
            Some(_) => Err(GroupError::IllegalGeneration),
            None => Err(GroupError::StaleMemberEpoch),
        }
    }

    /// Whether a member may read the group's offsets; those who are no member may.
    pub(crate) fn check_fetch(&self, member: &MemberId, epoch: i32) -> Result<(), GroupError> {
        if member.is_empty() && epoch < 0 {
            return Ok(());
        }
        if self.member(member)?.epoch == epoch {
            Ok(())
        } else {
            Err(GroupError::StaleMemberEpoch)
        }
    }

    fn member(&self, id: &MemberId) -> Result<&Arc<ConsumerMember>, GroupError> {
        self.members.get(id).ok_or(GroupError::UnknownMemberId)
    }

    fn insert(&mut self, member: ConsumerMember) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), Arc::new(member));
    }

    /// Takes a member out; its partitions go to others with the next target.
    fn remove(&mut self, id: &MemberId, change: &mut Change<'_>) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
        self.target.remove(id);
        self.sessions.remove(id);
        self.revocations.remove(id);
        for key in [ConsumerKey::Current, ConsumerKey::Target, ConsumerKey::Member] {
            change.forget(key(change.group.clone(), id.clone()));
        }
        self.forget_unused_patterns(change);
        self.bump(change);
    }

    /// The work has changed: it is divided anew with the next heartbeat.
    fn bump(&mut self, change: &mut Change<'_>) {
        self.epoch = self.epoch.saturating_add(1);
        self.topics_hash = self.hash();
        change.write(ConsumerRecord::Group {
            epoch: self.epoch,
            topics_hash: self.topics_hash,
        });
    }

    /// Tombstones for all there is.
    pub(crate) fn tombstones(&self, group: &GroupId) -> Vec<Record> {
        let mut keys = Vec::new();
        for id in self.members.keys() {
            keys.push(ConsumerKey::Current(group.clone(), id.clone()));
            keys.push(ConsumerKey::Target(group.clone(), id.clone()));
            keys.push(ConsumerKey::Member(group.clone(), id.clone()));
        }
        for pattern in self.matches.keys() {
            keys.push(ConsumerKey::Pattern(group.clone(), pattern.clone()));
        }
        keys.push(ConsumerKey::TargetEpoch(group.clone()));
        keys.push(ConsumerKey::Group(group.clone()));
        keys.iter().map(ConsumerKey::tombstone).collect()
    }

    /// The log has been read to its end: the members found have a whole session to show up.
    pub(crate) fn loaded(&mut self, now: Timestamp, settings: &GroupSettings) {
        let sessions = self
            .members
            .values()
            .map(|member| (member.id.clone(), now.after(member.session_timeout_ms(settings))));
        self.sessions = sessions.collect();
        let revoking = self
            .members
            .values()
            .filter(|member| member.state == MemberState::Unrevoked)
            .map(|member| (member.id.clone(), now.after(member.rebalance_timeout_ms)));
        self.revocations = revoking.collect();
    }
}

/// What a change writes.
pub(crate) struct Change<'a> {
    group: &'a GroupId,
    settings: &'a GroupSettings,
    now: Timestamp,
    records: Vec<Record>,
}

impl Change<'_> {
    fn write(&mut self, record: ConsumerRecord) {
        self.records.push(record.of_group(self.group));
    }

    fn forget(&mut self, key: ConsumerKey) {
        self.records.push(key.tombstone());
    }
}

impl Group {
    /// Whether the group speaks the consumer protocol.
    pub fn is_consumer(&self) -> bool {
        self.consumers.is_some()
    }
}

#[cfg(test)]
mod tests;
