//! The settings of a group coordinator, under Kafka's names.

use crate::consumer::AssignorName;

/// What Kafka's `group.*` and `offsets.*` settings say. All times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members before its first generation.
    pub initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max_ms: i32,
    /// `group.max.size`
    pub size_max: usize,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`
    pub consumer_size_max: usize,
    /// `group.consumer.assignors`, the default first.
    pub consumer_assignors: Vec<AssignorName>,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_ms: i32,
}

impl GroupSettings {
    /// Kafka's defaults.
    pub fn server() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            size_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_size_max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            consumer_assignors: AssignorName::ALL.to_vec(),
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_ms: 600_000,
        }
    }

    /// Kafka's defaults, except that nobody waits for members that will not come, and that short sessions are allowed
    /// and heartbeats come often.
    pub fn embedded() -> Self {
        Self {
            initial_rebalance_delay_ms: 0,
            session_timeout_min_ms: 10,
            consumer_heartbeat_interval_ms: 500,
            ..Self::server()
        }
    }
}
