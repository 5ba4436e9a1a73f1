//! What `DescribeGroups`, `ListGroups` and `OffsetFetch` show of a group.

use bytes::Bytes;

use crate::group::Group;
use crate::id::{GroupId, InstanceId, MemberId, TopicName};
use crate::offsets::FetchedOffset;
use crate::phase::{Phase, PhaseName};
use crate::subscription::CONSUMER;

/// A group as `DescribeGroups` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its state.
    pub phase: PhaseName,
    /// Its protocol type, empty if it has none.
    pub protocol_type: String,
    /// The protocol of a stable group, else empty.
    pub protocol: String,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member as `DescribeGroups` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member: MemberId,
    /// Its name for itself, if static.
    pub instance: Option<InstanceId>,
    /// Its client's id.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it says in the protocol of a stable group, else empty.
    pub metadata: Bytes,
    /// Its share of the work in a stable group, else empty.
    pub assignment: Bytes,
}

/// A group as `ListGroups` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its name.
    pub group: GroupId,
    /// Its protocol type, empty if it has none.
    pub protocol_type: String,
    /// Its state.
    pub phase: PhaseName,
    /// `classic` or `consumer`.
    pub kind: &'static str,
}

impl Group {
    /// The name of the protocol the group speaks.
    pub fn kind(&self) -> &'static str {
        if self.is_consumer() { CONSUMER } else { "classic" }
    }

    /// What `DescribeGroups` shows.
    pub fn describe(&self) -> GroupDescription {
        // Only a stable group's metadata and assignments belong together.
        let stable = matches!(self.phase, Phase::Stable { .. });
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self.members.values().map(|member| MemberDescription {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable {
                member.metadata(&protocol)
            } else {
                Bytes::new()
            },
            assignment: if stable {
                member.assignment.clone()
            } else {
                Bytes::new()
            },
        });
        GroupDescription {
            phase: self.phase(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol,
        }
    }

    /// What `ListGroups` shows.
    pub fn listing(&self) -> GroupListing {
        GroupListing {
            group: self.id.clone(),
            protocol_type: match &self.protocol_type {
                _ if self.is_consumer() => CONSUMER.to_owned(),
                Some(name) => name.clone(),
                None => String::new(),
            },
            phase: self.phase(),
            kind: self.kind(),
        }
    }

    /// The committed offset of a partition.
    pub fn fetch_offset(&self, topic: &TopicName, partition: i32) -> FetchedOffset {
        let committed = self.offsets.at(topic, partition).cloned();
        FetchedOffset {
            topic: topic.clone(),
            partition,
            committed,
            unstable: self.offsets.is_pending(topic, partition),
        }
    }

    /// All committed offsets.
    pub fn fetch_all_offsets(&self) -> Vec<FetchedOffset> {
        let all = self
            .offsets
            .iter()
            .map(|(topic, partition, committed)| FetchedOffset {
                topic: topic.clone(),
                partition,
                committed: Some(committed.clone()),
                unstable: self.offsets.is_pending(topic, partition),
            });
        all.collect()
    }
}
