//! The settings of a group coordinator, under Kafka's names.

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
            offset_metadata_bytes_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_ms: 600_000,
        }
    }

    /// Kafka's defaults, except that nobody waits for members that will not come, and that short sessions are allowed.
    pub fn embedded() -> Self {
        Self {
            initial_rebalance_delay_ms: 0,
            session_timeout_min_ms: 10,
            ..Self::server()
        }
    }
}
