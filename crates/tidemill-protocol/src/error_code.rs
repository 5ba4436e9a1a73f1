//! Kafka's error codes.
//!
//! Every name Kafka 4.3 has; `Other` keeps a code that a newer peer sends.

/// Makes the enum and its four tables from one list: code, variant, Kafka's name, and what a client does after it.
macro_rules! error_codes {
    ($($code:literal $variant:ident $name:literal $after:ident,)*) => {
        /// An error code as it stands in responses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[non_exhaustive]
        pub enum ErrorCode {
            /// 0: no error.
            #[default]
            None,
            $(#[doc = concat!(stringify!($code), ": `", $name, "`.")] $variant,)*
            /// A code without a name here.
            Other(i16),
        }

        impl ErrorCode {
            /// Every code that has a name.
            pub const NAMED: &[ErrorCode] = &[ErrorCode::None, $(ErrorCode::$variant,)*];

            /// Kafka's name for it, as `UNKNOWN_TOPIC_OR_PARTITION`; a code without a name is `UNKNOWN`.
            pub fn name(self) -> &'static str {
                match self {
                    ErrorCode::None => "NONE",
                    $(ErrorCode::$variant => $name,)*
                    ErrorCode::Other(_) => "UNKNOWN",
                }
            }

            fn after(self) -> After {
                match self {
                    ErrorCode::None | ErrorCode::Other(_) => After::Stop,
                    $(ErrorCode::$variant => After::$after,)*
                }
            }
        }

        impl From<i16> for ErrorCode {
            fn from(code: i16) -> Self {
                match code {
                    0 => ErrorCode::None,
                    $($code => ErrorCode::$variant,)*
                    other => ErrorCode::Other(other),
                }
            }
        }

        impl From<ErrorCode> for i16 {
            fn from(code: ErrorCode) -> Self {
                match code {
                    ErrorCode::None => 0,
                    $(ErrorCode::$variant => $code,)*
                    ErrorCode::Other(other) => other,
                }
            }
        }
    };
}

/// Whether the same request may succeed later.
#[derive(PartialEq, Eq)]
enum After {
    Retry,
    Stop,
}

impl ErrorCode {
    /// Whether it says that nothing went wrong.
    pub fn is_ok(self) -> bool {
        self == ErrorCode::None
    }

    /// Whether the same request may succeed later, so that a client should send it again.
    pub fn is_retriable(self) -> bool {
        self.after() == After::Retry
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), i16::from(*self))
    }
}

error_codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" Stop,
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" Stop,
    2 CorruptMessage "CORRUPT_MESSAGE" Retry,
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" Retry,
    4 InvalidFetchSize "INVALID_FETCH_SIZE" Stop,
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" Retry,
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" Retry,
    7 RequestTimedOut "REQUEST_TIMED_OUT" Retry,
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" Stop,
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" Retry,
    10 MessageTooLarge "MESSAGE_TOO_LARGE" Stop,
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" Stop,
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" Stop,
    13 NetworkException "NETWORK_EXCEPTION" Retry,
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" Retry,
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" Retry,
    16 NotCoordinator "NOT_COORDINATOR" Retry,
    17 InvalidTopicException "INVALID_TOPIC_EXCEPTION" Stop,
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" Stop,
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" Retry,
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" Retry,
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" Stop,
    22 IllegalGeneration "ILLEGAL_GENERATION" Stop,
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" Stop,
    24 InvalidGroupId "INVALID_GROUP_ID" Stop,
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" Stop,
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" Stop,
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" Stop,
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" Stop,
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" Stop,
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" Stop,
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" Stop,
    32 InvalidTimestamp "INVALID_TIMESTAMP" Stop,
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM" Stop,
    34 IllegalSaslState "ILLEGAL_SASL_STATE" Stop,
    35 UnsupportedVersion "UNSUPPORTED_VERSION" Stop,
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" Stop,
    37 InvalidPartitions "INVALID_PARTITIONS" Stop,
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" Stop,
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" Stop,
    40 InvalidConfig "INVALID_CONFIG" Stop,
    41 NotController "NOT_CONTROLLER" Retry,
    42 InvalidRequest "INVALID_REQUEST" Stop,
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" Stop,
    44 PolicyViolation "POLICY_VIOLATION" Stop,
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" Stop,
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" Stop,
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" Stop,
    48 InvalidTxnState "INVALID_TXN_STATE" Stop,
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" Stop,
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" Stop,
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" Retry,
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" Stop,
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" Stop,
    54 SecurityDisabled "SECURITY_DISABLED" Stop,
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" Stop,
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" Retry,
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" Stop,
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED" Stop,
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" Stop,
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" Stop,
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED" Stop,
    62 DelegationTokenNotFound "DELEGATION_TOKEN_NOT_FOUND" Stop,
    63 DelegationTokenOwnerMismatch "DELEGATION_TOKEN_OWNER_MISMATCH" Stop,
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" Stop,
    65 DelegationTokenAuthorizationFailed "DELEGATION_TOKEN_AUTHORIZATION_FAILED" Stop,
    66 DelegationTokenExpired "DELEGATION_TOKEN_EXPIRED" Stop,
    67 InvalidPrincipalType "INVALID_PRINCIPAL_TYPE" Stop,
    68 NonEmptyGroup "NON_EMPTY_GROUP" Stop,
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" Stop,
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" Retry,
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" Retry,
    72 ListenerNotFound "LISTENER_NOT_FOUND" Retry,
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" Stop,
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" Retry,
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" Retry,
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" Stop,
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" Stop,
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" Retry,
    79 MemberIdRequired "MEMBER_ID_REQUIRED" Stop,
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" Retry,
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" Stop,
    82 FencedInstanceId "FENCED_INSTANCE_ID" Stop,
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" Retry,
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" Retry,
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" Stop,
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" Stop,
    87 InvalidRecord "INVALID_RECORD" Stop,
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" Retry,
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" Retry,
    90 ProducerFenced "PRODUCER_FENCED" Stop,
    91 ResourceNotFound "RESOURCE_NOT_FOUND" Stop,
    92 DuplicateResource "DUPLICATE_RESOURCE" Stop,
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL" Stop,
    94 InconsistentVoterSet "INCONSISTENT_VOTER_SET" Stop,
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" Stop,
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" Stop,
    97 PrincipalDeserializationFailure "PRINCIPAL_DESERIALIZATION_FAILURE" Stop,
    98 SnapshotNotFound "SNAPSHOT_NOT_FOUND" Stop,
    99 PositionOutOfRange "POSITION_OUT_OF_RANGE" Stop,
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" Retry,
    101 DuplicateBrokerRegistration "DUPLICATE_BROKER_REGISTRATION" Stop,
    102 BrokerIdNotRegistered "BROKER_ID_NOT_REGISTERED" Stop,
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" Retry,
    104 InconsistentClusterId "INCONSISTENT_CLUSTER_ID" Stop,
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" Stop,
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" Retry,
    107 IneligibleReplica "INELIGIBLE_REPLICA" Stop,
    108 NewLeaderElected "NEW_LEADER_ELECTED" Stop,
    109 OffsetMovedToTieredStorage "OFFSET_MOVED_TO_TIERED_STORAGE" Stop,
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH" Stop,
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID" Stop,
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR" Stop,
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH" Stop,
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE" Stop,
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE" Stop,
    116 UnknownControllerId "UNKNOWN_CONTROLLER_ID" Stop,
    117 UnknownSubscriptionId "UNKNOWN_SUBSCRIPTION_ID" Stop,
    118 TelemetryTooLarge "TELEMETRY_TOO_LARGE" Stop,
    119 InvalidRegistration "INVALID_REGISTRATION" Stop,
    120 TransactionAbortable "TRANSACTION_ABORTABLE" Stop,
    121 InvalidRecordState "INVALID_RECORD_STATE" Stop,
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND" Retry,
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH" Retry,
    124 FencedStateEpoch "FENCED_STATE_EPOCH" Stop,
    125 InvalidVoterKey "INVALID_VOTER_KEY" Stop,
    126 DuplicateVoter "DUPLICATE_VOTER" Stop,
    127 VoterNotFound "VOTER_NOT_FOUND" Stop,
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION" Stop,
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED" Stop,
    130 StreamsInvalidTopology "STREAMS_INVALID_TOPOLOGY" Stop,
    131 StreamsInvalidTopologyEpoch "STREAMS_INVALID_TOPOLOGY_EPOCH" Stop,
    132 StreamsTopologyFenced "STREAMS_TOPOLOGY_FENCED" Stop,
    133 ShareSessionLimitReached "SHARE_SESSION_LIMIT_REACHED" Retry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for code in i16::MIN..=i16::MAX {
            assert_eq!(i16::from(ErrorCode::from(code)), code);
        }
        for named in ErrorCode::NAMED {
            assert_eq!(ErrorCode::from(i16::from(*named)), *named);
        }
        assert_eq!(ErrorCode::from(-2), ErrorCode::Other(-2));
        assert_eq!(ErrorCode::from(3).to_string(), "UNKNOWN_TOPIC_OR_PARTITION (3)");
    }

    #[test]
    fn retriable_is_what_kafkas_clients_retry() {
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(ErrorCode::CoordinatorLoadInProgress.is_retriable());
        assert!(!ErrorCode::None.is_retriable());
        assert!(!ErrorCode::ProducerFenced.is_retriable());
        assert!(!ErrorCode::Other(999).is_retriable());
    }
}
