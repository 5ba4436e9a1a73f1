//! The topics in a consumer's subscription, the one thing the coordinator reads of what members tell each other.
//!
//! ```text
//! version i16 | count i32 | (length i16, UTF-8) * count | user data and later fields, not read
//! ```

use crate::id::TopicName;
use crate::record::Reader;

/// The topics of `metadata`, or `None` if the bytes are not a subscription (a `consumer` group may lie).
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<TopicName>> {
    let mut reader = Reader::new(metadata);
    reader.i16()?;
    let count = usize::try_from(reader.i32()?).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(TopicName::from(reader.text()?));
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_topics_and_ignores_the_rest() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        assert_eq!(topics(bytes), Some(vec!["a".into(), "bc".into()]));
    }

    #[test]
    fn a_count_that_lies_is_no_subscription() {
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff\0\x01a"), None);
        assert_eq!(topics(b"\0\0\xff\xff\xff\xff"), None);
        assert_eq!(topics(b""), None);
    }
}
