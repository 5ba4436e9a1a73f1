//! What a coordinator refuses, and why. The broker maps each to its wire code in one place.

use crate::id::MemberId;

/// Why a request to a group was refused. The names are those of Kafka's error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    /// The member is not, or no longer, in the group; it joins again without an id.
    #[error("the member is not in the group")]
    UnknownMemberId,
    /// The member speaks of another generation than the group's.
    #[error("the generation is not the group's")]
    IllegalGeneration,
    /// The group is rebalancing; the member joins again with its id.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// No protocol is left that all members know, or the protocol type is another one.
    #[error("the member's protocols do not fit those of the group")]
    InconsistentGroupProtocol,
    /// Another process took over this `group.instance.id`.
    #[error("another member took over this group.instance.id")]
    FencedInstanceId,
    /// The member shall join again with the id it was given.
    #[error("the member joins again with the id it was given")]
    MemberIdRequired,
    /// The group has as many members as `group.max.size` allows.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// The session timeout lies outside what the broker allows.
    #[error("the session timeout is outside group.min.session.timeout.ms and group.max.session.timeout.ms")]
    InvalidSessionTimeout,
    /// The group's name is empty.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The coordinator cannot serve the group for a moment; the client looks for it again.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// This coordinator does not hold the group (or lost its log).
    #[error("this is not the group's coordinator")]
    NotCoordinator,
    /// The metadata of a committed offset is longer than `offset.metadata.max.bytes`.
    #[error("the offset's metadata is too long")]
    OffsetMetadataTooLarge,
    /// The commit does not fit into one batch of `__consumer_offsets`.
    #[error("the commit is too large")]
    InvalidCommitOffsetSize,
    /// No such group.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// The group has members.
    #[error("the group has members")]
    NonEmptyGroup,
    /// A member of the group is subscribed to the topic.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// The member speaks of an epoch that is not its own; it starts over.
    #[error("the member's epoch is not the one it has")]
    FencedMemberEpoch,
    /// The member speaks of an epoch that is not its own, about offsets; it takes its epoch from the next heartbeat.
    #[error("the member's epoch has changed")]
    StaleMemberEpoch,
    /// The `group.instance.id` belongs to a member that has not left.
    #[error("the group.instance.id is in use")]
    UnreleasedInstanceId,
    /// There is no such assignor.
    #[error("the assignor is not one of group.consumer.assignors")]
    UnsupportedAssignor,
    /// The pattern of topics cannot be read.
    #[error("the regular expression cannot be read")]
    InvalidRegularExpression,
    /// The request's version is too old for what the member is.
    #[error("the version of the request is too old for a member of the consumer protocol")]
    UnsupportedVersion,
    /// Something this broker cannot do anything about, such as a record larger than its log takes.
    #[error("the server failed")]
    UnknownServerError,
}

/// Why a `JoinGroup` was refused, and the member id its answer carries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct JoinRefused {
    /// Why.
    pub error: GroupError,
    /// The id to join with next; empty if the member shall join as a new one.
    pub member: MemberId,
}

/// Why an append to `__consumer_offsets` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFailure {
    /// Not now: no partition yet, too few replicas, too late.
    Unavailable,
    /// The log is broken or elsewhere.
    NotLeader,
    /// The batch is larger than the log takes.
    TooLarge,
}

impl WriteFailure {
    /// What a group request is answered whose append failed so.
    pub(crate) fn group_error(self) -> GroupError {
        match self {
            Self::Unavailable => GroupError::CoordinatorNotAvailable,
            Self::NotLeader => GroupError::NotCoordinator,
            Self::TooLarge => GroupError::UnknownServerError,
        }
    }

    /// What an offset commit is answered whose append failed so.
    pub(crate) fn commit_error(self) -> GroupError {
        match self {
            Self::TooLarge => GroupError::InvalidCommitOffsetSize,
            other => other.group_error(),
        }
    }
}

/// Why a record of `__consumer_offsets` cannot be used. The caller logs it and goes on with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record has no key.
    #[error("a record without a key")]
    NoKey,
    /// A newer broker's record kind (KIP-915: skipped, so that a downgrade works).
    #[error("key version {0} is not known here")]
    UnknownKey(i16),
    /// A newer broker's value.
    #[error("value version {version} of key version {key} is not known here")]
    UnknownValue {
        /// The version of the record's key, which tells its kind.
        key: i16,
        /// The version of the value.
        version: i16,
    },
    /// The bytes end early, or a length or text in them is impossible.
    #[error("the bytes of key version {0} do not parse")]
    Malformed(i16),
}
