//! What a group asks of its caller.

use std::fmt;

use bytes::Bytes;

use crate::consumer::ConsumerBeat;
use crate::error::{GroupError, JoinRefused};
use crate::id::{AppendNumber, GroupId, InstanceId, MemberId, Producer, ReplyTo, TopicName};
use crate::record::Record;

/// What a group asks of its caller, to be done in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Append these records as one batch to the group's partition of `__consumer_offsets`, in the order of the actions;
    /// then report `Written` or `WriteFailed` with this number to this group.
    Append {
        /// The group.
        group: GroupId,
        /// The group's number for it.
        number: AppendNumber,
        /// Set if the records belong to this producer's transaction.
        transaction: Option<Producer>,
        /// The records.
        records: Vec<Record>,
    },
    /// Answer this request.
    Reply {
        /// Which.
        to: ReplyTo,
        /// With what.
        reply: Reply,
    },
    /// Say this in the log.
    Note {
        /// Of which group.
        group: GroupId,
        /// What happened.
        note: Note,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `Join`.
    Join(Result<Joined, JoinRefused>),
    /// To `Sync`.
    Sync(Result<Assigned, GroupError>),
    /// To `Heartbeat`.
    Heartbeat(Result<(), GroupError>),
    /// To `ConsumerHeartbeat`.
    ConsumerHeartbeat(Result<ConsumerBeat, GroupError>),
    /// To `Leave`: for the whole request, or member by member.
    Leave(Result<Vec<LeaveAnswer>, GroupError>),
    /// To `Commit`: for the whole request, or partition by partition.
    Commit(Result<CommitAnswers, GroupError>),
    /// To `DeleteOffsets`: for the whole request, or partition by partition.
    DeleteOffsets(Result<CommitAnswers, GroupError>),
    /// To `Delete`.
    Delete(Result<(), GroupError>),
}

impl Reply {
    /// The same answer as a refusal.
    pub(crate) fn refused(self, error: GroupError) -> Self {
        match self {
            Self::Join(joined) => {
                let member = joined.map_or_else(|refused| refused.member, |joined| joined.member);
                Self::Join(Err(JoinRefused { error, member }))
            }
            Self::Sync(_) => Self::Sync(Err(error)),
            Self::Heartbeat(_) => Self::Heartbeat(Err(error)),
            Self::ConsumerHeartbeat(_) => Self::ConsumerHeartbeat(Err(error)),
            Self::Leave(_) => Self::Leave(Err(error)),
            Self::Commit(_) => Self::Commit(Err(error)),
            Self::DeleteOffsets(_) => Self::DeleteOffsets(Err(error)),
            Self::Delete(_) => Self::Delete(Err(error)),
        }
    }
}

/// An answer for each partition of a request, in its order.
pub type CommitAnswers = Vec<(TopicName, i32, Result<(), GroupError>)>;

/// A member's place in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The protocol the members agreed on.
    pub protocol: Option<String>,
    /// Who divides the work.
    pub leader: MemberId,
    /// Who this is.
    pub member: MemberId,
    /// The leader shall not divide the work again: everybody keeps what they have.
    pub skip_assignment: bool,
    /// All members, for the leader only.
    pub members: Vec<JoinedMember>,
}

/// What a leader learns of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: MemberId,
    /// Its name for itself, if static.
    pub instance: Option<InstanceId>,
    /// What it said in the protocol chosen.
    pub metadata: Bytes,
}

/// A member's share of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The protocol of this generation.
    pub protocol: Option<String>,
    /// The leader's bytes for this member.
    pub assignment: Bytes,
}

/// What became of one leaving member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveAnswer {
    /// As in the request.
    pub member: MemberId,
    /// As in the request.
    pub instance: Option<InstanceId>,
    /// Whether it left.
    pub result: Result<(), GroupError>,
}

/// What an operator reads in the log about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The members shall join again.
    Rebalancing {
        /// The generation that ends.
        generation: i32,
        /// Why.
        reason: &'static str,
    },
    /// A generation began.
    Generation {
        /// Its number.
        generation: i32,
        /// How many are in it.
        members: usize,
        /// The protocol they agreed on.
        protocol: Option<String>,
    },
    /// The leader's assignment is in the log.
    Stable {
        /// The generation.
        generation: i32,
    },
    /// A member is in the group no longer.
    Removed {
        /// Who.
        member: MemberId,
        /// Why.
        reason: &'static str,
    },
    /// A static member came back under a new id.
    Replaced {
        /// Its name for itself.
        instance: InstanceId,
        /// The id that is fenced from now on.
        old: MemberId,
        /// The id that counts.
        new: MemberId,
    },
    /// An append failed.
    WriteFailed {
        /// What was undone.
        what: &'static str,
    },
    /// Offsets went because they are kept no longer.
    OffsetsExpired {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rebalancing { generation, reason } => {
                write!(f, "rebalances after generation {generation}: {reason}")
            }
            Self::Generation {
                generation,
                members,
                protocol,
            } => match protocol {
                Some(protocol) => write!(
                    f,
                    "generation {generation} has {members} members, protocol {protocol}"
                ),
                None => write!(f, "generation {generation} has {members} members"),
            },
            Self::Stable { generation } => write!(f, "generation {generation} is stable"),
            Self::Removed { member, reason } => write!(f, "member {member} is out: {reason}"),
            Self::Replaced { instance, old, new } => {
                write!(f, "static member {instance} is now {new}, {old} is fenced")
            }
            Self::WriteFailed { what } => write!(f, "an append failed, undone: {what}"),
            Self::OffsetsExpired { count } => write!(f, "{count} committed offsets expired"),
        }
    }
}
