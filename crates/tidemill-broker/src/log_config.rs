//! How a topic's log behaves, from its settings.

use tidemill_log::{CleanupPolicy, LogConfig, TimestampType};

use crate::settings::{TopicValues, Values, setting_value};

/// The log settings of a topic with `topic` set, under a broker with `broker` set.
pub(crate) fn log_config(topic: &TopicValues, broker: &Values) -> LogConfig {
    let text = |name: &str| setting_value(name, topic, broker);
    let number = |name: &str| {
        text(name)
            .parse::<i64>()
            .expect("numbers were checked when they were set")
    };
    let size = |name: &str| u32::try_from(number(name)).expect("the table keeps sizes within 0 and 2^31");
    // Kafka's ways to say "never" and "no limit".
    let bounded = |name: &str| Some(number(name)).filter(|n| (0..i64::MAX).contains(n));
    let policy = text("cleanup.policy");
    let has = |word: &str| policy.split(',').any(|part| part.trim() == word);
    LogConfig {
        segment_bytes: size("segment.bytes"),
        segment_ms: number("segment.ms"),
        segment_index_bytes: size("segment.index.bytes"),
        index_interval_bytes: size("index.interval.bytes"),
        retention_ms: bounded("retention.ms"),
        retention_bytes: bounded("retention.bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        max_message_bytes: size("max.message.bytes"),
        flush_messages: bounded("flush.messages").and_then(|count| u64::try_from(count).ok()),
        flush_ms: bounded("flush.ms"),
        timestamp_type: match text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
        cleanup_policy: match (has("compact"), has("delete")) {
            (true, true) => CleanupPolicy::CompactAndDelete,
            (true, false) => CleanupPolicy::Compact,
            _ => CleanupPolicy::Delete,
        },
        min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio")
            .parse()
            .expect("fractions were checked when they were set"),
        min_compaction_lag_ms: number("min.compaction.lag.ms"),
        max_compaction_lag_ms: number("max.compaction.lag.ms"),
        delete_retention_ms: number("delete.retention.ms"),
        producer_id_expiration_ms: broker
            .text("producer.id.expiration.ms")
            .parse()
            .expect("checked when it was set"),
    }
}
