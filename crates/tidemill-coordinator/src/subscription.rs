//! What consumers of the classic protocol tell each other: subscriptions, of which the coordinator reads the topics, and
//! assignments, which it reads and writes only where members of both protocols share a group.
//!
//! ```text
//! subscription  version i16 | count i32 | (length i16, UTF-8) * count | user data bytes?
//!               | owned, as in an assignment (1+) | generation i32 (2+) | rack text? (3+) | later fields, not read
//! assignment    version i16 | count i32 | (topic text | count i32 | partition i32 * count) * count | user data bytes?
//! ```

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::TopicName;
use crate::record::{Reader, put_text};

/// The protocol type of groups whose members read topics.
pub(crate) const CONSUMER: &str = "consumer";

/// A consumer's subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) names: Vec<TopicName>,
    /// What it holds while it joins.
    pub(crate) owned: Vec<(TopicName, i32)>,
    pub(crate) rack: Option<String>,
}

/// The topics of `metadata`, or `None` if the bytes are not a subscription (a `consumer` group may lie).
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<TopicName>> {
    let mut reader = Reader::new(metadata);
    reader.i16()?;
    names(&mut reader)
}

/// The whole subscription; `None` if the bytes are none.
pub(crate) fn read(metadata: &[u8]) -> Option<Subscription> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16()?;
    let mut subscription = Subscription {
        names: names(&mut reader)?,
        ..Subscription::default()
    };
    // Old clients end here, and some write no user data at all.
    if version < 1 {
        return Some(subscription);
    }
    nullable_bytes(&mut reader)?;
    subscription.owned = partitions(&mut reader)?;
    if version >= 3 {
        reader.i32()?;
        subscription.rack = reader.nullable_text()?.map(str::to_owned);
    }
    Some(subscription)
}

/// The partitions of an assignment; `None` if the bytes are none.
pub(crate) fn read_assignment(assignment: &[u8]) -> Option<Vec<(TopicName, i32)>> {
    let mut reader = Reader::new(assignment);
    reader.i16()?;
    partitions(&mut reader)
}

/// An assignment of version 0, which every client reads.
pub(crate) fn write_assignment<'a>(
    topics: impl Iterator<Item = (&'a TopicName, &'a BTreeSet<i32>)>,
) -> Bytes {
    let topics: Vec<_> = topics.collect();
    let mut out = BytesMut::new();
    let put_count = |out: &mut BytesMut, count: usize| {
        out.put_i32(i32::try_from(count).expect("fewer partitions than 2^31"));
    };
    out.put_i16(0);
    put_count(&mut out, topics.len());
    for (topic, partitions) in topics {
        put_text(&mut out, topic.as_str());
        put_count(&mut out, partitions.len());
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.put_i32(-1);
    out.freeze()
}

// The vectors grow as their elements are read: a count alone could ask for anything.
fn names(reader: &mut Reader<'_>) -> Option<Vec<TopicName>> {
    let count = usize::try_from(reader.i32()?).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(TopicName::from(reader.text()?));
    }
    Some(topics)
}

fn partitions(reader: &mut Reader<'_>) -> Option<Vec<(TopicName, i32)>> {
    let mut all = Vec::new();
    for _ in 0..reader.i32()? {
        let topic = TopicName::from(reader.text()?);
        for _ in 0..reader.i32()? {
            all.push((topic.clone(), reader.i32()?));
        }
    }
    Some(all)
}

fn nullable_bytes(reader: &mut Reader<'_>) -> Option<()> {
    if let Ok(length) = usize::try_from(reader.i32()?) {
        reader.take(length)?;
    }
    Some(())
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
        assert_eq!(read(b"\0\x01\0\0\0\0\xff\xff\xff\xff\x7f\xff\xff\xff"), None);
    }

    #[test]
    fn a_subscription_says_what_its_member_holds_and_where_it_runs() {
        let bytes = b"\0\x03\0\0\0\x01\0\x01a\0\0\0\x01!\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x02\
            \0\0\0\x07\0\x01r";
        let expected = Subscription {
            names: vec!["a".into()],
            owned: vec![("a".into(), 0), ("a".into(), 2)],
            rack: Some("r".to_owned()),
        };
        assert_eq!(read(bytes), Some(expected));
        assert_eq!(
            read(b"\0\0\0\0\0\0"),
            Some(Subscription::default()),
            "without user data"
        );
    }

    #[test]
    fn an_assignment_comes_back() {
        let (topic, partitions) = (TopicName::from("bc"), [1, 4].into());
        let bytes = write_assignment([(&topic, &partitions)].into_iter());
        assert_eq!(
            &bytes[..],
            b"\0\0\0\0\0\x01\0\x02bc\0\0\0\x02\0\0\0\x01\0\0\0\x04\xff\xff\xff\xff"
        );
        assert_eq!(
            read_assignment(&bytes),
            Some(vec![("bc".into(), 1), ("bc".into(), 4)])
        );
    }
}
