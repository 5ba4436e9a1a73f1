//! Kafka's error codes for our errors: the one place where they meet.

use tidemill_coordinator::{GroupError, TransactionError};
use tidemill_log::{AppendError, InvalidBatch, ProducerError, ReadError};
use tidemill_protocol::ErrorCode;

use crate::settings::SettingError;
use crate::topics::TopicError;

/// The code of an append that failed.
pub(crate) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Corrupt(_) => ErrorCode::CorruptMessage,
        AppendError::Invalid(InvalidBatch::LogAppendTime) => ErrorCode::InvalidTimestamp,
        AppendError::Invalid(_) => ErrorCode::InvalidRecord,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::TimestampOutOfRange { .. } => ErrorCode::InvalidTimestamp,
        AppendError::Producer(ProducerError::Fenced { .. }) => ErrorCode::InvalidProducerEpoch,
        AppendError::Producer(ProducerError::TransactionEnded { .. }) => ErrorCode::InvalidTxnState,
        AppendError::Producer(_) => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::Closed => ErrorCode::NotLeaderOrFollower,
        AppendError::Poisoned | AppendError::Disk(_) => ErrorCode::KafkaStorageError,
        _ => ErrorCode::UnknownServerError,
    }
}

/// The code of a read that failed.
pub(crate) fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Damaged { .. } => ErrorCode::CorruptMessage,
        ReadError::Closed => ErrorCode::NotLeaderOrFollower,
        _ => ErrorCode::KafkaStorageError,
    }
}

/// The code of a change to topics that was refused.
pub(crate) fn of_topic(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
        TopicError::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
        TopicError::UnknownId(_) => ErrorCode::UnknownTopicId,
        TopicError::Name { .. } => ErrorCode::InvalidTopicException,
        TopicError::Partitions(_) => ErrorCode::InvalidPartitions,
        TopicError::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        TopicError::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
        TopicError::Setting(SettingError::ReadOnly(_)) => ErrorCode::InvalidRequest,
        TopicError::Request(_) | TopicError::Resource(_) => ErrorCode::InvalidRequest,
        TopicError::Setting(_) => ErrorCode::InvalidConfig,
        TopicError::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
        TopicError::Metadata(_) | TopicError::Log(_) | TopicError::Disk(_) => ErrorCode::KafkaStorageError,
    }
}

/// The code of a request to a group that was refused.
pub(crate) fn of_group(error: GroupError) -> ErrorCode {
    match error {
        GroupError::UnknownMemberId => ErrorCode::UnknownMemberId,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::FencedInstanceId => ErrorCode::FencedInstanceId,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
        GroupError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
        GroupError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        GroupError::NotCoordinator => ErrorCode::NotCoordinator,
        GroupError::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        GroupError::InvalidCommitOffsetSize => ErrorCode::InvalidCommitOffsetSize,
        GroupError::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        GroupError::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        GroupError::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        GroupError::FencedMemberEpoch => ErrorCode::FencedMemberEpoch,
        GroupError::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
        GroupError::UnreleasedInstanceId => ErrorCode::UnreleasedInstanceId,
        GroupError::UnsupportedAssignor => ErrorCode::UnsupportedAssignor,
        GroupError::InvalidRegularExpression => ErrorCode::InvalidRegularExpression,
        GroupError::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        GroupError::UnknownServerError => ErrorCode::UnknownServerError,
    }
}

/// The code of a group's answer to one member, partition or group.
pub(crate) fn of_result(result: Result<(), GroupError>) -> ErrorCode {
    result.map_or_else(of_group, |()| ErrorCode::None)
}

/// How a client is told that a newer instance took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fencing {
    /// INVALID_PRODUCER_EPOCH, which every client knows.
    ByEpoch,
    /// PRODUCER_FENCED, from which a client cannot recover.
    ByName,
}

impl Fencing {
    /// As clients from `first` on are told.
    pub(crate) fn known_from(first: i16, version: i16) -> Fencing {
        if version >= first {
            Fencing::ByName
        } else {
            Fencing::ByEpoch
        }
    }
}

/// The code of a request of a transactional producer that was refused.
pub(crate) fn of_transaction(error: TransactionError, fencing: Fencing) -> ErrorCode {
    match error {
        TransactionError::InvalidProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
        TransactionError::ProducerFenced => match fencing {
            Fencing::ByEpoch => ErrorCode::InvalidProducerEpoch,
            Fencing::ByName => ErrorCode::ProducerFenced,
        },
        TransactionError::ConcurrentTransactions => ErrorCode::ConcurrentTransactions,
        TransactionError::InvalidTxnState => ErrorCode::InvalidTxnState,
        TransactionError::InvalidTransactionTimeout => ErrorCode::InvalidTransactionTimeout,
        TransactionError::NotInTransaction => ErrorCode::TransactionAbortable,
        TransactionError::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        TransactionError::NotCoordinator => ErrorCode::NotCoordinator,
        TransactionError::UnknownServerError => ErrorCode::UnknownServerError,
    }
}
