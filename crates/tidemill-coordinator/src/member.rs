//! One member of a group.

use bytes::Bytes;

use crate::action::JoinedMember;
use crate::event::{JoinRequest, Protocol};
use crate::id::{InstanceId, MemberId, ReplyTo, Timestamp};
use crate::record::StoredMember;

/// How long a member that joins for the first time may stay silent. It has no id to send heartbeats with, and a
/// client that gave up leaves its request behind: without a bound such members would pile up in a long rebalance.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1_000;

/// One member of a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) terms: Terms,
    pub(crate) assignment: Bytes,
    pub(crate) waiting: Waiting,
    /// It has not been in any generation yet: its silence counts although it waits.
    pub(crate) is_new: bool,
    /// It was told of the generation and has not asked for its assignment.
    pub(crate) owes_sync: bool,
    /// When it is out if it stays silent. `None` while it waits for us, and so cannot be blamed.
    pub(crate) session_deadline: Option<Timestamp>,
}

/// What a member may change each time it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
}

/// The one request of a member that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Nothing,
    Join(ReplyTo),
    Sync(ReplyTo),
}

impl Terms {
    pub(crate) fn of(request: &JoinRequest) -> Self {
        Self {
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols.clone(),
        }
    }
}

impl Member {
    /// A member that joins for the first time and waits for its generation.
    pub(crate) fn joining(id: MemberId, request: &JoinRequest, to: ReplyTo, now: Timestamp) -> Self {
        Self {
            id,
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            terms: Terms::of(request),
            assignment: Bytes::new(),
            waiting: Waiting::Join(to),
            is_new: true,
            owes_sync: false,
            session_deadline: Some(now.after(NEW_MEMBER_JOIN_TIMEOUT_MS)),
        }
    }

    /// A member as the log remembers it, with a whole session to show up again.
    pub(crate) fn restored(stored: StoredMember, protocol: &str, now: Timestamp) -> Self {
        let mut member = Self {
            id: stored.member,
            instance: stored.instance,
            client_id: stored.client_id,
            client_host: stored.client_host,
            terms: Terms {
                session_timeout_ms: stored.session_timeout_ms,
                rebalance_timeout_ms: stored.rebalance_timeout_ms,
                protocols: vec![Protocol::new(protocol, stored.subscription)],
            },
            assignment: stored.assignment,
            waiting: Waiting::Nothing,
            is_new: false,
            owes_sync: false,
            session_deadline: None,
        };
        member.restart_session(now);
        member
    }

    pub(crate) fn stored(&self, protocol: &str, assignment: Bytes) -> StoredMember {
        StoredMember {
            member: self.id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.terms.rebalance_timeout_ms,
            session_timeout_ms: self.terms.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    pub(crate) fn restart_session(&mut self, now: Timestamp) {
        self.session_deadline = Some(now.after(self.terms.session_timeout_ms));
    }

    pub(crate) fn awaits_join(&self) -> bool {
        matches!(self.waiting, Waiting::Join(_))
    }

    pub(crate) fn speaks(&self, protocol: &str) -> bool {
        self.terms.protocols.iter().any(|p| p.name == protocol)
    }

    /// What the member says in `protocol`; empty if it does not speak it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.terms
            .protocols
            .iter()
            .find(|p| p.name == protocol)
            .map(|p| p.metadata.clone())
            .unwrap_or_default()
    }

    pub(crate) fn introduced(&self, protocol: &str) -> JoinedMember {
        JoinedMember {
            member: self.id.clone(),
            instance: self.instance.clone(),
            metadata: self.metadata(protocol),
        }
    }
}
