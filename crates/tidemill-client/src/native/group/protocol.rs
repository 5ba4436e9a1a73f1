//! What members tell each other through the coordinator, in Kafka's consumer protocol. Pure.
//!
//! ```text
//! subscription   i16 version, topics [string], user data (nullable bytes), v1+ owned [topic, [i32]]
//! assignment     i16 version, partitions [topic, [i32]], user data (nullable bytes)
//! ```
//! Versions only add fields at the end, so what is behind those we know is left alone.

use bytes::Bytes;
use tidemill_protocol::{DecodeError, EncodeError, KString, Reader, Writer};

use crate::TopicPartition;

/// The protocol's type, which all members of a group of consumers share.
pub(super) const PROTOCOL_TYPE: &str = "consumer";
const VERSION: i16 = 1;

/// What a member wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberSubscription {
    pub(super) topics: Vec<String>,
    /// The assignor's own words, member to leader.
    pub(super) user_data: Option<Bytes>,
}

/// What a member gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) partitions: Vec<TopicPartition>,
    /// The assignor's own words, leader to member.
    pub(super) user_data: Option<Bytes>,
}

impl MemberSubscription {
    pub(super) fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        writer.i16(VERSION);
        writer.array(false, &self.topics, |writer, topic| writer.string(false, topic));
        writer.nullable_bytes(false, self.user_data.as_ref());
        // Eager: nothing is kept through a rebalance.
        writer.array::<String>(false, &[], |_, _| {});
        Ok(writer.finish()?.into_bytes())
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.i16()?;
        let topics = reader.array(false, 2, |reader| reader.string(false))?;
        Ok(Self {
            topics: topics.iter().map(ToString::to_string).collect(),
            user_data: reader.nullable_bytes(false)?,
        })
    }
}

impl Assignment {
    pub(super) fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut topics: Vec<(&str, Vec<i32>)> = Vec::new();
        for at in &self.partitions {
            match topics.iter_mut().find(|(topic, _)| *topic == &*at.topic) {
                Some((_, partitions)) => partitions.push(at.partition),
                None => topics.push((&at.topic, vec![at.partition])),
            }
        }
        let mut writer = Writer::new();
        writer.i16(VERSION);
        writer.array(false, &topics, |writer, (topic, partitions)| {
            writer.string(false, topic);
            writer.array(false, partitions, |writer, partition| writer.i32(*partition));
        });
        writer.nullable_bytes(false, self.user_data.as_ref());
        Ok(writer.finish()?.into_bytes())
    }

    /// No bytes at all are an assignment of nothing: so a coordinator answers a member that the leader left out.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(bytes);
        reader.i16()?;
        let topics: Vec<(KString, Vec<i32>)> = reader.array(false, 6, |reader| {
            Ok((reader.string(false)?, reader.array(false, 4, Reader::i32)?))
        })?;
        let user_data = reader.nullable_bytes(false)?;
        let mut partitions = Vec::new();
        for (topic, numbers) in topics {
            let topic: std::sync::Arc<str> = (&*topic).into();
            partitions.extend(numbers.into_iter().map(|partition| TopicPartition {
                topic: topic.clone(),
                partition,
            }));
        }
        Ok(Self {
            partitions,
            user_data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_messages_come_back() {
        let subscription = MemberSubscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"x")),
        };
        assert_eq!(
            MemberSubscription::decode(&subscription.encode().unwrap()),
            Ok(subscription)
        );
        let at = |topic: &str, partition| TopicPartition::new(topic, partition);
        let assignment = Assignment {
            partitions: vec![at("a", 0), at("a", 2), at("b", 1)],
            user_data: None,
        };
        assert_eq!(Assignment::decode(&assignment.encode().unwrap()), Ok(assignment));
        assert_eq!(Assignment::decode(&Bytes::new()), Ok(Assignment::default()));
    }

    #[test]
    fn cut_off_messages_are_errors() {
        let whole = Assignment {
            partitions: vec![TopicPartition::new("a", 0)],
            user_data: Some(Bytes::from_static(b"x")),
        };
        let whole = whole.encode().unwrap();
        for len in 1..whole.len() {
            assert!(Assignment::decode(&whole.slice(..len)).is_err(), "{len}");
        }
    }
}
