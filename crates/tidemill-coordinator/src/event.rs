//! What may happen to a group: requests, finished appends, and time.

use std::sync::Arc;

use bytes::Bytes;

use crate::consumer::{ConsumerHeartbeat, TopicImage};
use crate::error::WriteFailure;
use crate::id::{AppendNumber, InstanceId, MemberId, Producer, ProducerId, ReplyTo, TopicName};
use crate::transactions::Outcome;

/// What may happen to a group.
#[derive(Clone, Debug)]
pub enum Event {
    /// A member wants to be in the next generation. The answer waits until that generation begins.
    Join {
        /// The request.
        request: JoinRequest,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// A member asks for its assignment, the leader brings everybody's. The answer waits for the leader.
    Sync {
        /// The request.
        request: SyncRequest,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// A member says it lives.
    Heartbeat {
        /// The request.
        request: HeartbeatRequest,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// A member of the consumer protocol comes, stays or goes.
    ConsumerHeartbeat {
        /// The request.
        request: Box<ConsumerHeartbeat>,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// Members go, or are sent away by an administrator.
    Leave {
        /// Who goes.
        members: Vec<LeavingMember>,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// Offsets to keep. The answer waits until they are written.
    Commit {
        /// The request.
        request: CommitRequest,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// Offsets to forget.
    DeleteOffsets {
        /// Of which partitions.
        partitions: Vec<(TopicName, i32)>,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// A topic is gone: its offsets go too, subscribed or not.
    ForgetTopic {
        /// Which.
        topic: TopicName,
    },
    /// The group shall be gone, with its offsets.
    Delete {
        /// Whom to answer.
        to: ReplyTo,
    },
    /// The end of a producer's transaction is in the log.
    EndTransaction {
        /// Whose.
        producer: ProducerId,
        /// How it ended.
        outcome: Outcome,
    },
    /// An append the group asked for is in the log.
    Written(AppendNumber),
    /// An append the group asked for is not in the log and will not be.
    WriteFailed(AppendNumber, WriteFailure),
    /// A deadline may have passed.
    Tick,
    /// The time to look for offsets that are kept no longer.
    Expire,
}

/// `JoinGroup`.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Empty if the member has none yet.
    pub member: MemberId,
    /// The id to give the member if it needs one: unique, made by the caller, since this crate has no dice.
    pub fresh_member: MemberId,
    /// Set by static members.
    pub instance: Option<InstanceId>,
    /// From the request's header.
    pub client_id: String,
    /// Where the client connects from, `/127.0.0.1` as Kafka prints it.
    pub client_host: String,
    /// `session.timeout.ms`
    pub session_timeout_ms: i32,
    /// How long the member may take to join again; version 0 has only the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// What the member can speak, the best first.
    pub protocols: Vec<Protocol>,
    /// The client knows the answer `MEMBER_ID_REQUIRED` (version 4 and later).
    pub member_id_required: bool,
    /// The client knows that a leader may be told to leave the assignment alone (version 9 and later).
    pub skips_assignment: bool,
    /// The topics there are: read where the member joins members of the consumer protocol.
    pub topics: Arc<TopicImage>,
}

impl JoinRequest {
    /// A new dynamic consumer's request, of a version before `MEMBER_ID_REQUIRED`, with Kafka's default timeouts.
    pub fn consumer(client_id: &str, fresh_member: &str, protocols: Vec<Protocol>) -> Self {
        Self {
            member: MemberId::from(""),
            fresh_member: MemberId::from(fresh_member),
            instance: None,
            client_id: client_id.to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 300_000,
            protocol_type: "consumer".to_owned(),
            protocols,
            member_id_required: false,
            skips_assignment: false,
            topics: Arc::default(),
        }
    }
}

/// One way of dividing the work that a member can speak, with what it says in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// `range`, `cooperative-sticky`, …
    pub name: String,
    /// For consumers, the subscription.
    pub metadata: Bytes,
}

impl Protocol {
    /// A protocol.
    pub fn new(name: impl Into<String>, metadata: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            metadata: metadata.into(),
        }
    }
}

/// `SyncGroup`.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// Who asks.
    pub member: MemberId,
    /// Set by static members.
    pub instance: Option<InstanceId>,
    /// The generation the member joined.
    pub generation: i32,
    /// Checked when given (version 5 and later).
    pub protocol_type: Option<String>,
    /// Checked when given (version 5 and later).
    pub protocol: Option<String>,
    /// What each member gets; only the leader's counts.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// `Heartbeat`.
#[derive(Clone, Debug)]
pub struct HeartbeatRequest {
    /// Who lives.
    pub member: MemberId,
    /// Set by static members.
    pub instance: Option<InstanceId>,
    /// The generation the member is in.
    pub generation: i32,
}

/// One member of a `LeaveGroup`.
#[derive(Clone, Debug)]
pub struct LeavingMember {
    /// Empty if an administrator names the member by its instance only.
    pub member: MemberId,
    /// Set for static members.
    pub instance: Option<InstanceId>,
    /// What the client says why; for the log.
    pub reason: Option<String>,
}

/// `OffsetCommit` or `TxnOffsetCommit`, after the topics nobody knows have been sorted out.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Empty if the offsets come from no member.
    pub member: MemberId,
    /// Set by static members.
    pub instance: Option<InstanceId>,
    /// Below zero if the offsets come from no member.
    pub generation: i32,
    /// How long to keep the offsets, where a request of an old version says so.
    pub retention_ms: Option<i64>,
    /// The client knows `GROUP_ID_NOT_FOUND` as an answer (version 9 and later).
    pub knows_group_not_found: bool,
    /// Set by `TxnOffsetCommit`: the offsets count when this producer's transaction commits.
    pub transaction: Option<Producer>,
    /// What to keep.
    pub offsets: Vec<OffsetToCommit>,
}

/// One partition of a commit.
#[derive(Clone, Debug)]
pub struct OffsetToCommit {
    /// The topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the last record read, if known.
    pub leader_epoch: Option<i32>,
    /// Whatever the client wants to keep with it.
    pub metadata: String,
}
