//! One member of a group of the consumer protocol.

use std::collections::BTreeSet;

use super::Partitions;
use crate::event::Protocol;
use crate::id::{InstanceId, MemberId, TopicName};
use crate::settings::GroupSettings;

/// One member of a group of the consumer protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerMember {
    pub(crate) id: MemberId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// The topics it wants by name.
    pub(crate) names: BTreeSet<TopicName>,
    /// The pattern of the topics it wants besides.
    pub(crate) pattern: Option<String>,
    pub(crate) rebalance_timeout_ms: i32,
    /// Which assignor it would have.
    pub(crate) assignor: Option<String>,
    /// Set for members that speak the classic protocol.
    pub(crate) classic: Option<ClassicPart>,
    pub(crate) epoch: i32,
    /// The epoch before, in case the answer with the new one was lost.
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) assigned: Partitions,
    /// Partitions it shall give up; nobody else gets them before.
    pub(crate) revoking: Partitions,
}

/// What a member of the classic protocol says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassicPart {
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
}

/// How far a member is on its way to its share of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what the target of its epoch gives it.
    Stable,
    /// It must give up partitions first.
    Unrevoked,
    /// It waits for partitions that others have not given up.
    Unreleased,
}

impl MemberState {
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
        }
    }

    pub(crate) fn of_code(code: i8) -> Option<Self> {
        [Self::Stable, Self::Unrevoked, Self::Unreleased]
            .into_iter()
            .find(|state| state.code() == code)
    }
}

impl ConsumerMember {
    pub(crate) fn new(id: MemberId) -> Self {
        Self {
            id,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            names: BTreeSet::new(),
            pattern: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: Partitions::default(),
            revoking: Partitions::default(),
        }
    }

    pub(crate) fn session_timeout_ms(&self, settings: &GroupSettings) -> i32 {
        self.classic
            .as_ref()
            .map_or(settings.consumer_session_timeout_ms, |classic| {
                classic.session_timeout_ms
            })
    }

    /// Whether the same is written of both, leaving out what they hold.
    pub(crate) fn same_metadata(&self, other: &Self) -> bool {
        let metadata = |member: &Self| {
            (
                member.instance.clone(),
                member.rack.clone(),
                member.client_id.clone(),
                member.client_host.clone(),
                member.pattern.clone(),
                member.rebalance_timeout_ms,
                member.assignor.clone(),
            )
        };
        metadata(self) == metadata(other) && self.names == other.names && self.classic == other.classic
    }

    pub(crate) fn same_assignment(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.previous_epoch == other.previous_epoch
            && self.state == other.state
            && self.assigned == other.assigned
            && self.revoking == other.revoking
    }
}
