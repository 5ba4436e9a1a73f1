//! What a store writes to its changelog topic.

use tidemill_data::{Headers, Timestamp};

/// One record of a changelog topic, in the bytes Kafka Streams writes there.
#[derive(Clone, Copy, Debug)]
pub struct ChangelogRecord<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The record's timestamp: for stores that keep timestamps, the row's.
    pub timestamp: Timestamp,
    /// The record's headers.
    pub headers: &'a Headers,
}

impl<'a> ChangelogRecord<'a> {
    /// A record without headers.
    #[must_use]
    pub fn new(key: &'a [u8], value: Option<&'a [u8]>, timestamp: Timestamp) -> Self {
        const NONE: &Headers = &Headers::new();
        Self {
            key,
            value,
            timestamp,
            headers: NONE,
        }
    }
}
