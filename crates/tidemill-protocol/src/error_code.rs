//! Kafka's error codes.
//!
//! Every name Kafka 4.3 has; `Other` keeps a code that a newer peer sends.

/// An error code as it stands in responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ErrorCode {
    /// -1 `UNKNOWN_SERVER_ERROR`.
    UnknownServerError,
    /// 0: no error.
    #[default]
    None,
    /// 1 `OFFSET_OUT_OF_RANGE`.
    OffsetOutOfRange,
    /// 2 `CORRUPT_MESSAGE`.
    CorruptMessage,
    /// 3 `UNKNOWN_TOPIC_OR_PARTITION`.
    UnknownTopicOrPartition,
    /// 4 `INVALID_FETCH_SIZE`.
    InvalidFetchSize,
    /// 5 `LEADER_NOT_AVAILABLE`.
    LeaderNotAvailable,
    /// 6 `NOT_LEADER_OR_FOLLOWER`.
    NotLeaderOrFollower,
    /// 7 `REQUEST_TIMED_OUT`.
    RequestTimedOut,
    /// 8 `BROKER_NOT_AVAILABLE`.
    BrokerNotAvailable,
    /// 9 `REPLICA_NOT_AVAILABLE`.
    ReplicaNotAvailable,
    /// 10 `MESSAGE_TOO_LARGE`.
    MessageTooLarge,
    /// 11 `STALE_CONTROLLER_EPOCH`.
    StaleControllerEpoch,
    /// 12 `OFFSET_METADATA_TOO_LARGE`.
    OffsetMetadataTooLarge,
    /// 13 `NETWORK_EXCEPTION`.
    NetworkException,
    /// 14 `COORDINATOR_LOAD_IN_PROGRESS`.
    CoordinatorLoadInProgress,
    /// 15 `COORDINATOR_NOT_AVAILABLE`.
    CoordinatorNotAvailable,
    /// 16 `NOT_COORDINATOR`.
    NotCoordinator,
    /// 17 `INVALID_TOPIC_EXCEPTION`.
    InvalidTopicException,
    /// 18 `RECORD_LIST_TOO_LARGE`.
    RecordListTooLarge,
    /// 19 `NOT_ENOUGH_REPLICAS`.
    NotEnoughReplicas,
    /// 20 `NOT_ENOUGH_REPLICAS_AFTER_APPEND`.
    NotEnoughReplicasAfterAppend,
    /// 21 `INVALID_REQUIRED_ACKS`.
    InvalidRequiredAcks,
    /// 22 `ILLEGAL_GENERATION`.
    IllegalGeneration,
    /// 23 `INCONSISTENT_GROUP_PROTOCOL`.
    InconsistentGroupProtocol,
    /// 24 `INVALID_GROUP_ID`.
    InvalidGroupId,
    /// 25 `UNKNOWN_MEMBER_ID`.
    UnknownMemberId,
    /// 26 `INVALID_SESSION_TIMEOUT`.
    InvalidSessionTimeout,
    /// 27 `REBALANCE_IN_PROGRESS`.
    RebalanceInProgress,
    /// 28 `INVALID_COMMIT_OFFSET_SIZE`.
    InvalidCommitOffsetSize,
    /// 29 `TOPIC_AUTHORIZATION_FAILED`.
    TopicAuthorizationFailed,
    /// 30 `GROUP_AUTHORIZATION_FAILED`.
    GroupAuthorizationFailed,
    /// 31 `CLUSTER_AUTHORIZATION_FAILED`.
    ClusterAuthorizationFailed,
    /// 32 `INVALID_TIMESTAMP`.
    InvalidTimestamp,
    /// 33 `UNSUPPORTED_SASL_MECHANISM`.
    UnsupportedSaslMechanism,
    /// 34 `ILLEGAL_SASL_STATE`.
    IllegalSaslState,
    /// 35 `UNSUPPORTED_VERSION`.
    UnsupportedVersion,
    /// 36 `TOPIC_ALREADY_EXISTS`.
    TopicAlreadyExists,
    /// 37 `INVALID_PARTITIONS`.
    InvalidPartitions,
    /// 38 `INVALID_REPLICATION_FACTOR`.
    InvalidReplicationFactor,
    /// 39 `INVALID_REPLICA_ASSIGNMENT`.
    InvalidReplicaAssignment,
    /// 40 `INVALID_CONFIG`.
    InvalidConfig,
    /// 41 `NOT_CONTROLLER`.
    NotController,
    /// 42 `INVALID_REQUEST`.
    InvalidRequest,
    /// 43 `UNSUPPORTED_FOR_MESSAGE_FORMAT`.
    UnsupportedForMessageFormat,
    /// 44 `POLICY_VIOLATION`.
    PolicyViolation,
    /// 45 `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    OutOfOrderSequenceNumber,
    /// 46 `DUPLICATE_SEQUENCE_NUMBER`.
    DuplicateSequenceNumber,
    /// 47 `INVALID_PRODUCER_EPOCH`.
    InvalidProducerEpoch,
    /// 48 `INVALID_TXN_STATE`.
    InvalidTxnState,
    /// 49 `INVALID_PRODUCER_ID_MAPPING`.
    InvalidProducerIdMapping,
    /// 50 `INVALID_TRANSACTION_TIMEOUT`.
    InvalidTransactionTimeout,
    /// 51 `CONCURRENT_TRANSACTIONS`.
    ConcurrentTransactions,
    /// 52 `TRANSACTION_COORDINATOR_FENCED`.
    TransactionCoordinatorFenced,
    /// 53 `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`.
    TransactionalIdAuthorizationFailed,
    /// 54 `SECURITY_DISABLED`.
    SecurityDisabled,
    /// 55 `OPERATION_NOT_ATTEMPTED`.
    OperationNotAttempted,
    /// 56 `KAFKA_STORAGE_ERROR`.
    KafkaStorageError,
    /// 57 `LOG_DIR_NOT_FOUND`.
    LogDirNotFound,
    /// 58 `SASL_AUTHENTICATION_FAILED`.
    SaslAuthenticationFailed,
    /// 59 `UNKNOWN_PRODUCER_ID`.
    UnknownProducerId,
    /// 60 `REASSIGNMENT_IN_PROGRESS`.
    ReassignmentInProgress,
    /// 61 `DELEGATION_TOKEN_AUTH_DISABLED`.
    DelegationTokenAuthDisabled,
    /// 62 `DELEGATION_TOKEN_NOT_FOUND`.
    DelegationTokenNotFound,
    /// 63 `DELEGATION_TOKEN_OWNER_MISMATCH`.
    DelegationTokenOwnerMismatch,
    /// 64 `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`.
    DelegationTokenRequestNotAllowed,
    /// 65 `DELEGATION_TOKEN_AUTHORIZATION_FAILED`.
    DelegationTokenAuthorizationFailed,
    /// 66 `DELEGATION_TOKEN_EXPIRED`.
    DelegationTokenExpired,
    /// 67 `INVALID_PRINCIPAL_TYPE`.
    InvalidPrincipalType,
    /// 68 `NON_EMPTY_GROUP`.
    NonEmptyGroup,
    /// 69 `GROUP_ID_NOT_FOUND`.
    GroupIdNotFound,
    /// 70 `FETCH_SESSION_ID_NOT_FOUND`.
    FetchSessionIdNotFound,
    /// 71 `INVALID_FETCH_SESSION_EPOCH`.
    InvalidFetchSessionEpoch,
    /// 72 `LISTENER_NOT_FOUND`.
    ListenerNotFound,
    /// 73 `TOPIC_DELETION_DISABLED`.
    TopicDeletionDisabled,
    /// 74 `FENCED_LEADER_EPOCH`.
    FencedLeaderEpoch,
    /// 75 `UNKNOWN_LEADER_EPOCH`.
    UnknownLeaderEpoch,
    /// 76 `UNSUPPORTED_COMPRESSION_TYPE`.
    UnsupportedCompressionType,
    /// 77 `STALE_BROKER_EPOCH`.
    StaleBrokerEpoch,
    /// 78 `OFFSET_NOT_AVAILABLE`.
    OffsetNotAvailable,
    /// 79 `MEMBER_ID_REQUIRED`.
    MemberIdRequired,
    /// 80 `PREFERRED_LEADER_NOT_AVAILABLE`.
    PreferredLeaderNotAvailable,
    /// 81 `GROUP_MAX_SIZE_REACHED`.
    GroupMaxSizeReached,
    /// 82 `FENCED_INSTANCE_ID`.
    FencedInstanceId,
    /// 83 `ELIGIBLE_LEADERS_NOT_AVAILABLE`.
    EligibleLeadersNotAvailable,
    /// 84 `ELECTION_NOT_NEEDED`.
    ElectionNotNeeded,
    /// 85 `NO_REASSIGNMENT_IN_PROGRESS`.
    NoReassignmentInProgress,
    /// 86 `GROUP_SUBSCRIBED_TO_TOPIC`.
    GroupSubscribedToTopic,
    /// 87 `INVALID_RECORD`.
    InvalidRecord,
    /// 88 `UNSTABLE_OFFSET_COMMIT`.
    UnstableOffsetCommit,
    /// 89 `THROTTLING_QUOTA_EXCEEDED`.
    ThrottlingQuotaExceeded,
    /// 90 `PRODUCER_FENCED`.
    ProducerFenced,
    /// 91 `RESOURCE_NOT_FOUND`.
    ResourceNotFound,
    /// 92 `DUPLICATE_RESOURCE`.
    DuplicateResource,
    /// 93 `UNACCEPTABLE_CREDENTIAL`.
    UnacceptableCredential,
    /// 94 `INCONSISTENT_VOTER_SET`.
    InconsistentVoterSet,
    /// 95 `INVALID_UPDATE_VERSION`.
    InvalidUpdateVersion,
    /// 96 `FEATURE_UPDATE_FAILED`.
    FeatureUpdateFailed,
    /// 97 `PRINCIPAL_DESERIALIZATION_FAILURE`.
    PrincipalDeserializationFailure,
    /// 98 `SNAPSHOT_NOT_FOUND`.
    SnapshotNotFound,
    /// 99 `POSITION_OUT_OF_RANGE`.
    PositionOutOfRange,
    /// 100 `UNKNOWN_TOPIC_ID`.
    UnknownTopicId,
    /// 101 `DUPLICATE_BROKER_REGISTRATION`.
    DuplicateBrokerRegistration,
    /// 102 `BROKER_ID_NOT_REGISTERED`.
    BrokerIdNotRegistered,
    /// 103 `INCONSISTENT_TOPIC_ID`.
    InconsistentTopicId,
    /// 104 `INCONSISTENT_CLUSTER_ID`.
    InconsistentClusterId,
    /// 105 `TRANSACTIONAL_ID_NOT_FOUND`.
    TransactionalIdNotFound,
    /// 106 `FETCH_SESSION_TOPIC_ID_ERROR`.
    FetchSessionTopicIdError,
    /// 107 `INELIGIBLE_REPLICA`.
    IneligibleReplica,
    /// 108 `NEW_LEADER_ELECTED`.
    NewLeaderElected,
    /// 109 `OFFSET_MOVED_TO_TIERED_STORAGE`.
    OffsetMovedToTieredStorage,
    /// 110 `FENCED_MEMBER_EPOCH`.
    FencedMemberEpoch,
    /// 111 `UNRELEASED_INSTANCE_ID`.
    UnreleasedInstanceId,
    /// 112 `UNSUPPORTED_ASSIGNOR`.
    UnsupportedAssignor,
    /// 113 `STALE_MEMBER_EPOCH`.
    StaleMemberEpoch,
    /// 114 `MISMATCHED_ENDPOINT_TYPE`.
    MismatchedEndpointType,
    /// 115 `UNSUPPORTED_ENDPOINT_TYPE`.
    UnsupportedEndpointType,
    /// 116 `UNKNOWN_CONTROLLER_ID`.
    UnknownControllerId,
    /// 117 `UNKNOWN_SUBSCRIPTION_ID`.
    UnknownSubscriptionId,
    /// 118 `TELEMETRY_TOO_LARGE`.
    TelemetryTooLarge,
    /// 119 `INVALID_REGISTRATION`.
    InvalidRegistration,
    /// 120 `TRANSACTION_ABORTABLE`.
    TransactionAbortable,
    /// 121 `INVALID_RECORD_STATE`.
    InvalidRecordState,
    /// 122 `SHARE_SESSION_NOT_FOUND`.
    ShareSessionNotFound,
    /// 123 `INVALID_SHARE_SESSION_EPOCH`.
    InvalidShareSessionEpoch,
    /// 124 `FENCED_STATE_EPOCH`.
    FencedStateEpoch,
    /// 125 `INVALID_VOTER_KEY`.
    InvalidVoterKey,
    /// 126 `DUPLICATE_VOTER`.
    DuplicateVoter,
    /// 127 `VOTER_NOT_FOUND`.
    VoterNotFound,
    /// 128 `INVALID_REGULAR_EXPRESSION`.
    InvalidRegularExpression,
    /// 129 `REBOOTSTRAP_REQUIRED`.
    RebootstrapRequired,
    /// 130 `STREAMS_INVALID_TOPOLOGY`.
    StreamsInvalidTopology,
    /// 131 `STREAMS_INVALID_TOPOLOGY_EPOCH`.
    StreamsInvalidTopologyEpoch,
    /// 132 `STREAMS_TOPOLOGY_FENCED`.
    StreamsTopologyFenced,
    /// 133 `SHARE_SESSION_LIMIT_REACHED`.
    ShareSessionLimitReached,
    /// A code without a name here.
    Other(i16),
}

/// Code, value, Kafka's name, and whether Kafka's clients try again after it.
const NAMED: [(i16, ErrorCode, &str, bool); 135] = [
    (-1, ErrorCode::UnknownServerError, "UNKNOWN_SERVER_ERROR", false),
    (0, ErrorCode::None, "NONE", false),
    (1, ErrorCode::OffsetOutOfRange, "OFFSET_OUT_OF_RANGE", false),
    (2, ErrorCode::CorruptMessage, "CORRUPT_MESSAGE", true),
    (
        3,
        ErrorCode::UnknownTopicOrPartition,
        "UNKNOWN_TOPIC_OR_PARTITION",
        true,
    ),
    (4, ErrorCode::InvalidFetchSize, "INVALID_FETCH_SIZE", false),
    (5, ErrorCode::LeaderNotAvailable, "LEADER_NOT_AVAILABLE", true),
    (6, ErrorCode::NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER", true),
    (7, ErrorCode::RequestTimedOut, "REQUEST_TIMED_OUT", true),
    (8, ErrorCode::BrokerNotAvailable, "BROKER_NOT_AVAILABLE", false),
    (9, ErrorCode::ReplicaNotAvailable, "REPLICA_NOT_AVAILABLE", true),
    (10, ErrorCode::MessageTooLarge, "MESSAGE_TOO_LARGE", false),
    (
        11,
        ErrorCode::StaleControllerEpoch,
        "STALE_CONTROLLER_EPOCH",
        false,
    ),
    (
        12,
        ErrorCode::OffsetMetadataTooLarge,
        "OFFSET_METADATA_TOO_LARGE",
        false,
    ),
    (13, ErrorCode::NetworkException, "NETWORK_EXCEPTION", true),
    (
        14,
        ErrorCode::CoordinatorLoadInProgress,
        "COORDINATOR_LOAD_IN_PROGRESS",
        true,
    ),
    (
        15,
        ErrorCode::CoordinatorNotAvailable,
        "COORDINATOR_NOT_AVAILABLE",
        true,
    ),
    (16, ErrorCode::NotCoordinator, "NOT_COORDINATOR", true),
    (
        17,
        ErrorCode::InvalidTopicException,
        "INVALID_TOPIC_EXCEPTION",
        false,
    ),
    (18, ErrorCode::RecordListTooLarge, "RECORD_LIST_TOO_LARGE", false),
    (19, ErrorCode::NotEnoughReplicas, "NOT_ENOUGH_REPLICAS", true),
    (
        20,
        ErrorCode::NotEnoughReplicasAfterAppend,
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        true,
    ),
    (21, ErrorCode::InvalidRequiredAcks, "INVALID_REQUIRED_ACKS", false),
    (22, ErrorCode::IllegalGeneration, "ILLEGAL_GENERATION", false),
    (
        23,
        ErrorCode::InconsistentGroupProtocol,
        "INCONSISTENT_GROUP_PROTOCOL",
        false,
    ),
    (24, ErrorCode::InvalidGroupId, "INVALID_GROUP_ID", false),
    (25, ErrorCode::UnknownMemberId, "UNKNOWN_MEMBER_ID", false),
    (
        26,
        ErrorCode::InvalidSessionTimeout,
        "INVALID_SESSION_TIMEOUT",
        false,
    ),
    (27, ErrorCode::RebalanceInProgress, "REBALANCE_IN_PROGRESS", false),
    (
        28,
        ErrorCode::InvalidCommitOffsetSize,
        "INVALID_COMMIT_OFFSET_SIZE",
        false,
    ),
    (
        29,
        ErrorCode::TopicAuthorizationFailed,
        "TOPIC_AUTHORIZATION_FAILED",
        false,
    ),
    (
        30,
        ErrorCode::GroupAuthorizationFailed,
        "GROUP_AUTHORIZATION_FAILED",
        false,
    ),
    (
        31,
        ErrorCode::ClusterAuthorizationFailed,
        "CLUSTER_AUTHORIZATION_FAILED",
        false,
    ),
    (32, ErrorCode::InvalidTimestamp, "INVALID_TIMESTAMP", false),
    (
        33,
        ErrorCode::UnsupportedSaslMechanism,
        "UNSUPPORTED_SASL_MECHANISM",
        false,
    ),
    (34, ErrorCode::IllegalSaslState, "ILLEGAL_SASL_STATE", false),
    (35, ErrorCode::UnsupportedVersion, "UNSUPPORTED_VERSION", false),
    (36, ErrorCode::TopicAlreadyExists, "TOPIC_ALREADY_EXISTS", false),
    (37, ErrorCode::InvalidPartitions, "INVALID_PARTITIONS", false),
    (
        38,
        ErrorCode::InvalidReplicationFactor,
        "INVALID_REPLICATION_FACTOR",
        false,
    ),
    (
        39,
        ErrorCode::InvalidReplicaAssignment,
        "INVALID_REPLICA_ASSIGNMENT",
        false,
    ),
    (40, ErrorCode::InvalidConfig, "INVALID_CONFIG", false),
    (41, ErrorCode::NotController, "NOT_CONTROLLER", true),
    (42, ErrorCode::InvalidRequest, "INVALID_REQUEST", false),
    (
        43,
        ErrorCode::UnsupportedForMessageFormat,
        "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        false,
    ),
    (44, ErrorCode::PolicyViolation, "POLICY_VIOLATION", false),
    (
        45,
        ErrorCode::OutOfOrderSequenceNumber,
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        false,
    ),
    (
        46,
        ErrorCode::DuplicateSequenceNumber,
        "DUPLICATE_SEQUENCE_NUMBER",
        false,
    ),
    (
        47,
        ErrorCode::InvalidProducerEpoch,
        "INVALID_PRODUCER_EPOCH",
        false,
    ),
    (48, ErrorCode::InvalidTxnState, "INVALID_TXN_STATE", false),
    (
        49,
        ErrorCode::InvalidProducerIdMapping,
        "INVALID_PRODUCER_ID_MAPPING",
        false,
    ),
    (
        50,
        ErrorCode::InvalidTransactionTimeout,
        "INVALID_TRANSACTION_TIMEOUT",
        false,
    ),
    (
        51,
        ErrorCode::ConcurrentTransactions,
        "CONCURRENT_TRANSACTIONS",
        true,
    ),
    (
        52,
        ErrorCode::TransactionCoordinatorFenced,
        "TRANSACTION_COORDINATOR_FENCED",
        false,
    ),
    (
        53,
        ErrorCode::TransactionalIdAuthorizationFailed,
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        false,
    ),
    (54, ErrorCode::SecurityDisabled, "SECURITY_DISABLED", false),
    (
        55,
        ErrorCode::OperationNotAttempted,
        "OPERATION_NOT_ATTEMPTED",
        false,
    ),
    (56, ErrorCode::KafkaStorageError, "KAFKA_STORAGE_ERROR", true),
    (57, ErrorCode::LogDirNotFound, "LOG_DIR_NOT_FOUND", false),
    (
        58,
        ErrorCode::SaslAuthenticationFailed,
        "SASL_AUTHENTICATION_FAILED",
        false,
    ),
    (59, ErrorCode::UnknownProducerId, "UNKNOWN_PRODUCER_ID", false),
    (
        60,
        ErrorCode::ReassignmentInProgress,
        "REASSIGNMENT_IN_PROGRESS",
        false,
    ),
    (
        61,
        ErrorCode::DelegationTokenAuthDisabled,
        "DELEGATION_TOKEN_AUTH_DISABLED",
        false,
    ),
    (
        62,
        ErrorCode::DelegationTokenNotFound,
        "DELEGATION_TOKEN_NOT_FOUND",
        false,
    ),
    (
        63,
        ErrorCode::DelegationTokenOwnerMismatch,
        "DELEGATION_TOKEN_OWNER_MISMATCH",
        false,
    ),
    (
        64,
        ErrorCode::DelegationTokenRequestNotAllowed,
        "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
        false,
    ),
    (
        65,
        ErrorCode::DelegationTokenAuthorizationFailed,
        "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
        false,
    ),
    (
        66,
        ErrorCode::DelegationTokenExpired,
        "DELEGATION_TOKEN_EXPIRED",
        false,
    ),
    (
        67,
        ErrorCode::InvalidPrincipalType,
        "INVALID_PRINCIPAL_TYPE",
        false,
    ),
    (68, ErrorCode::NonEmptyGroup, "NON_EMPTY_GROUP", false),
    (69, ErrorCode::GroupIdNotFound, "GROUP_ID_NOT_FOUND", false),
    (
        70,
        ErrorCode::FetchSessionIdNotFound,
        "FETCH_SESSION_ID_NOT_FOUND",
        true,
    ),
    (
        71,
        ErrorCode::InvalidFetchSessionEpoch,
        "INVALID_FETCH_SESSION_EPOCH",
        true,
    ),
    (72, ErrorCode::ListenerNotFound, "LISTENER_NOT_FOUND", true),
    (
        73,
        ErrorCode::TopicDeletionDisabled,
        "TOPIC_DELETION_DISABLED",
        false,
    ),
    (74, ErrorCode::FencedLeaderEpoch, "FENCED_LEADER_EPOCH", true),
    (75, ErrorCode::UnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH", true),
    (
        76,
        ErrorCode::UnsupportedCompressionType,
        "UNSUPPORTED_COMPRESSION_TYPE",
        false,
    ),
    (77, ErrorCode::StaleBrokerEpoch, "STALE_BROKER_EPOCH", false),
    (78, ErrorCode::OffsetNotAvailable, "OFFSET_NOT_AVAILABLE", true),
    (79, ErrorCode::MemberIdRequired, "MEMBER_ID_REQUIRED", false),
    (
        80,
        ErrorCode::PreferredLeaderNotAvailable,
        "PREFERRED_LEADER_NOT_AVAILABLE",
        true,
    ),
    (
        81,
        ErrorCode::GroupMaxSizeReached,
        "GROUP_MAX_SIZE_REACHED",
        false,
    ),
    (82, ErrorCode::FencedInstanceId, "FENCED_INSTANCE_ID", false),
    (
        83,
        ErrorCode::EligibleLeadersNotAvailable,
        "ELIGIBLE_LEADERS_NOT_AVAILABLE",
        true,
    ),
    (84, ErrorCode::ElectionNotNeeded, "ELECTION_NOT_NEEDED", true),
    (
        85,
        ErrorCode::NoReassignmentInProgress,
        "NO_REASSIGNMENT_IN_PROGRESS",
        false,
    ),
    (
        86,
        ErrorCode::GroupSubscribedToTopic,
        "GROUP_SUBSCRIBED_TO_TOPIC",
        false,
    ),
    (87, ErrorCode::InvalidRecord, "INVALID_RECORD", false),
    (
        88,
        ErrorCode::UnstableOffsetCommit,
        "UNSTABLE_OFFSET_COMMIT",
        true,
    ),
    (
        89,
        ErrorCode::ThrottlingQuotaExceeded,
        "THROTTLING_QUOTA_EXCEEDED",
        true,
    ),
    (90, ErrorCode::ProducerFenced, "PRODUCER_FENCED", false),
    (91, ErrorCode::ResourceNotFound, "RESOURCE_NOT_FOUND", false),
    (92, ErrorCode::DuplicateResource, "DUPLICATE_RESOURCE", false),
    (
        93,
        ErrorCode::UnacceptableCredential,
        "UNACCEPTABLE_CREDENTIAL",
        false,
    ),
    (
        94,
        ErrorCode::InconsistentVoterSet,
        "INCONSISTENT_VOTER_SET",
        false,
    ),
    (
        95,
        ErrorCode::InvalidUpdateVersion,
        "INVALID_UPDATE_VERSION",
        false,
    ),
    (96, ErrorCode::FeatureUpdateFailed, "FEATURE_UPDATE_FAILED", false),
    (
        97,
        ErrorCode::PrincipalDeserializationFailure,
        "PRINCIPAL_DESERIALIZATION_FAILURE",
        false,
    ),
    (98, ErrorCode::SnapshotNotFound, "SNAPSHOT_NOT_FOUND", false),
    (99, ErrorCode::PositionOutOfRange, "POSITION_OUT_OF_RANGE", false),
    (100, ErrorCode::UnknownTopicId, "UNKNOWN_TOPIC_ID", true),
    (
        101,
        ErrorCode::DuplicateBrokerRegistration,
        "DUPLICATE_BROKER_REGISTRATION",
        false,
    ),
    (
        102,
        ErrorCode::BrokerIdNotRegistered,
        "BROKER_ID_NOT_REGISTERED",
        false,
    ),
    (103, ErrorCode::InconsistentTopicId, "INCONSISTENT_TOPIC_ID", true),
    (
        104,
        ErrorCode::InconsistentClusterId,
        "INCONSISTENT_CLUSTER_ID",
        false,
    ),
    (
        105,
        ErrorCode::TransactionalIdNotFound,
        "TRANSACTIONAL_ID_NOT_FOUND",
        false,
    ),
    (
        106,
        ErrorCode::FetchSessionTopicIdError,
        "FETCH_SESSION_TOPIC_ID_ERROR",
        true,
    ),
    (107, ErrorCode::IneligibleReplica, "INELIGIBLE_REPLICA", false),
    (108, ErrorCode::NewLeaderElected, "NEW_LEADER_ELECTED", false),
    (
        109,
        ErrorCode::OffsetMovedToTieredStorage,
        "OFFSET_MOVED_TO_TIERED_STORAGE",
        false,
    ),
    (110, ErrorCode::FencedMemberEpoch, "FENCED_MEMBER_EPOCH", false),
    (
        111,
        ErrorCode::UnreleasedInstanceId,
        "UNRELEASED_INSTANCE_ID",
        false,
    ),
    (112, ErrorCode::UnsupportedAssignor, "UNSUPPORTED_ASSIGNOR", false),
    (113, ErrorCode::StaleMemberEpoch, "STALE_MEMBER_EPOCH", false),
    (
        114,
        ErrorCode::MismatchedEndpointType,
        "MISMATCHED_ENDPOINT_TYPE",
        false,
    ),
    (
        115,
        ErrorCode::UnsupportedEndpointType,
        "UNSUPPORTED_ENDPOINT_TYPE",
        false,
    ),
    (
        116,
        ErrorCode::UnknownControllerId,
        "UNKNOWN_CONTROLLER_ID",
        false,
    ),
    (
        117,
        ErrorCode::UnknownSubscriptionId,
        "UNKNOWN_SUBSCRIPTION_ID",
        false,
    ),
    (118, ErrorCode::TelemetryTooLarge, "TELEMETRY_TOO_LARGE", false),
    (119, ErrorCode::InvalidRegistration, "INVALID_REGISTRATION", false),
    (
        120,
        ErrorCode::TransactionAbortable,
        "TRANSACTION_ABORTABLE",
        false,
    ),
    (121, ErrorCode::InvalidRecordState, "INVALID_RECORD_STATE", false),
    (
        122,
        ErrorCode::ShareSessionNotFound,
        "SHARE_SESSION_NOT_FOUND",
        true,
    ),
    (
        123,
        ErrorCode::InvalidShareSessionEpoch,
        "INVALID_SHARE_SESSION_EPOCH",
        true,
    ),
    (124, ErrorCode::FencedStateEpoch, "FENCED_STATE_EPOCH", false),
    (125, ErrorCode::InvalidVoterKey, "INVALID_VOTER_KEY", false),
    (126, ErrorCode::DuplicateVoter, "DUPLICATE_VOTER", false),
    (127, ErrorCode::VoterNotFound, "VOTER_NOT_FOUND", false),
    (
        128,
        ErrorCode::InvalidRegularExpression,
        "INVALID_REGULAR_EXPRESSION",
        false,
    ),
    (129, ErrorCode::RebootstrapRequired, "REBOOTSTRAP_REQUIRED", false),
    (
        130,
        ErrorCode::StreamsInvalidTopology,
        "STREAMS_INVALID_TOPOLOGY",
        false,
    ),
    (
        131,
        ErrorCode::StreamsInvalidTopologyEpoch,
        "STREAMS_INVALID_TOPOLOGY_EPOCH",
        false,
    ),
    (
        132,
        ErrorCode::StreamsTopologyFenced,
        "STREAMS_TOPOLOGY_FENCED",
        false,
    ),
    (
        133,
        ErrorCode::ShareSessionLimitReached,
        "SHARE_SESSION_LIMIT_REACHED",
        true,
    ),
];

impl ErrorCode {
    /// Whether it says that nothing went wrong.
    pub fn is_ok(self) -> bool {
        self == ErrorCode::None
    }

    /// Kafka's name for it, as `UNKNOWN_TOPIC_OR_PARTITION`; a code without a name is `UNKNOWN`.
    pub fn name(self) -> &'static str {
        self.row().map_or("UNKNOWN", |(_, _, name, _)| *name)
    }

    /// Whether the same request may succeed later, so that a client should send it again.
    pub fn is_retriable(self) -> bool {
        self.row().is_some_and(|(_, _, _, retriable)| *retriable)
    }

    fn row(self) -> Option<&'static (i16, ErrorCode, &'static str, bool)> {
        NAMED.iter().find(|(_, code, _, _)| *code == self)
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> Self {
        // The table has no gaps and starts at -1.
        let row = usize::try_from(i32::from(code) + 1)
            .ok()
            .and_then(|row| NAMED.get(row));
        row.map_or(ErrorCode::Other(code), |(_, named, _, _)| *named)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::None => 0,
            ErrorCode::Other(other) => other,
            named => named.row().expect("every named code stands in the table").0,
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), i16::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_with_its_name() {
        for (code, named, name, _) in NAMED {
            assert_eq!(ErrorCode::from(code), named);
            assert_eq!(i16::from(named), code);
            assert_eq!(named.name(), name);
        }
        assert_eq!(i16::from(ErrorCode::from(i16::MAX)), i16::MAX);
        assert_eq!(ErrorCode::from(-2), ErrorCode::Other(-2));
        assert_eq!(ErrorCode::from(3).to_string(), "UNKNOWN_TOPIC_OR_PARTITION (3)");
    }
}
