//! What `ConsumerGroupDescribe` shows.

use super::Consumers;
use super::member::ConsumerMember;
use super::partitions::{Partitions, TopicId};
use super::{AssignorName, Change};
use crate::group::Group;
use crate::id::{InstanceId, MemberId, Timestamp, TopicName};
use crate::phase::PhaseName;

/// A group as `ConsumerGroupDescribe` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// Its state.
    pub phase: PhaseName,
    /// The group epoch.
    pub epoch: i32,
    /// The epoch of the target.
    pub target_epoch: i32,
    /// Who divides its work.
    pub assignor: AssignorName,
    /// Its members.
    pub members: Vec<ConsumerMemberDescription>,
}

/// A member as `ConsumerGroupDescribe` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMemberDescription {
    /// Its id.
    pub member: MemberId,
    /// Its name for itself, if static.
    pub instance: Option<InstanceId>,
    /// Where it runs.
    pub rack: Option<String>,
    /// Its epoch.
    pub epoch: i32,
    /// Its client's id.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// The topics it wants by name.
    pub names: Vec<TopicName>,
    /// The pattern of the topics it wants besides.
    pub pattern: Option<String>,
    /// What it holds, with the names of topics that are still there.
    pub assigned: Vec<(TopicId, TopicName, Vec<i32>)>,
    /// What it shall hold.
    pub target: Vec<(TopicId, TopicName, Vec<i32>)>,
    /// Whether it speaks the classic protocol.
    pub classic: bool,
}

impl Group {
    /// What `ConsumerGroupDescribe` shows; `None` for a group of the classic protocol.
    pub fn describe_consumers(&self) -> Option<ConsumerDescription> {
        let consumers = self.consumers.as_deref()?;
        let change = Change {
            group: &self.id,
            settings: &self.settings,
            now: Timestamp(0),
            records: Vec::new(),
        };
        let members = consumers.members.values();
        Some(ConsumerDescription {
            phase: consumers.phase(),
            epoch: consumers.epoch,
            target_epoch: consumers.target_epoch,
            assignor: consumers.assignor(&change),
            members: members.map(|member| consumers.described(member)).collect(),
        })
    }
}

impl Consumers {
    fn described(&self, member: &ConsumerMember) -> ConsumerMemberDescription {
        let target = self.target.get(&member.id);
        ConsumerMemberDescription {
            member: member.id.clone(),
            instance: member.instance.clone(),
            rack: member.rack.clone(),
            epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            names: member.names.iter().cloned().collect(),
            pattern: member.pattern.clone(),
            assigned: self.named(&member.assigned),
            target: target.map(|target| self.named(target)).unwrap_or_default(),
            classic: member.classic.is_some(),
        }
    }

    fn named(&self, partitions: &Partitions) -> Vec<(TopicId, TopicName, Vec<i32>)> {
        let named = partitions.topics().filter_map(|(id, partitions)| {
            let name = self.topics.name(id)?.clone();
            Some((id, name, partitions.iter().copied().collect()))
        });
        named.collect()
    }
}
