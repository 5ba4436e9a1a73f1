//! When the samples happen. Zero would not do: to librdkafka it means now.

/// Sample times count from here: the first of January 2026.
pub(crate) const START_MS: i64 = 1_767_225_600_000;
