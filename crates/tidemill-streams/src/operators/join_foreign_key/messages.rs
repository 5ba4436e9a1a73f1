//! What the two sides of a foreign-key join tell each other through topics, in the bytes of Kafka Streams:
//!
//! ```text
//! subscription  0   u8               version 0 or 1; plus 128 where no hash follows
//!               1   u8               instruction
//!               2   [u8; 16]         hash of the row that subscribes, unless it went
//!               ..  ..               its key
//!               n-4 i32 big-endian   its partition, in version 1
//! response      0   u8               version 0; plus 128 where no hash follows
//!               1   [u8; 16]         hash, as in the subscription
//!               ..  ..               the other table's value; nothing if it has no row
//! ```

use tidemill_data::{DecodeError, EncodeError, Format, Headers, Place, Presence, Wire};

/// What became of a row that refers to one of the other table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    /// It refers to another row now, which answers.
    Forget,
    /// It went: the answer is that there is no result.
    ForgetAndTell,
    /// It refers to this row: the answer is its value, or that there is none.
    Answer,
    /// It refers to this row: the answer is its value, if there is one.
    AnswerIfThere,
}

impl Instruction {
    fn byte(self) -> u8 {
        match self {
            Self::Forget => 0,
            Self::ForgetAndTell => 1,
            Self::Answer => 2,
            Self::AnswerIfThere => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Forget,
            Self::ForgetAndTell,
            Self::Answer,
            Self::AnswerIfThere,
        ];
        all.into_iter().find(|instruction| instruction.byte() == byte)
    }
}

pub(super) type Hash = [u64; 2];

/// Sent to the row that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription<K> {
    pub(super) hash: Option<Hash>,
    pub(super) instruction: Instruction,
    pub(super) key: K,
    /// Where the answer goes; unknown in version 0.
    pub(super) partition: Option<i32>,
}

/// Sent back to the row that refers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response<T> {
    pub(super) hash: Option<Hash>,
    pub(super) value: Option<T>,
    // Not in the bytes: it says which partition they go to.
    pub(super) partition: Option<i32>,
}

const NO_HASH: u8 = 128;
const WITH_PARTITION: u8 = 1;

pub(super) struct SubscriptionFormat<K> {
    pub(super) key: Wire<K>,
    // What the key's format sees as its topic.
    pub(super) topic: String,
}

impl<K: 'static> Format<Subscription<K>> for SubscriptionFormat<K> {
    fn encode(
        &self,
        _: Place<'_>,
        subscription: &Subscription<K>,
        out: &mut Vec<u8>,
    ) -> Result<Presence, EncodeError> {
        let version = u8::from(subscription.partition.is_some());
        push_version(version, subscription.hash, out);
        out.push(subscription.instruction.byte());
        push_hash(subscription.hash, out);
        let none = Headers::new();
        let _ = self
            .key
            .encode(Place::key(&self.topic, &none), &subscription.key, out)?;
        if let Some(partition) = subscription.partition {
            out.extend_from_slice(&partition.to_be_bytes());
        }
        Ok(Presence::Value)
    }

    fn decode(&self, _: Place<'_>, bytes: Option<&[u8]>) -> Result<Subscription<K>, DecodeError> {
        let (version, has_hash, rest) = split_version(bytes).ok_or_else(malformed::<K>)?;
        let (instruction, rest) = rest.split_first().ok_or_else(malformed::<K>)?;
        let instruction = Instruction::of(*instruction).ok_or_else(malformed::<K>)?;
        let (hash, rest) = split_hash(has_hash, rest).ok_or_else(malformed::<K>)?;
        let (key, partition) = match version {
            0 => (rest, None),
            WITH_PARTITION => {
                let (key, partition) = rest.split_last_chunk().ok_or_else(malformed::<K>)?;
                (key, Some(i32::from_be_bytes(*partition)))
            }
            _ => return Err(malformed::<K>()),
        };
        let none = Headers::new();
        Ok(Subscription {
            hash,
            instruction,
            key: self.key.decode(Place::key(&self.topic, &none), Some(key))?,
            partition,
        })
    }
}

pub(super) struct ResponseFormat<T>(pub(super) Wire<T>);

impl<T: 'static> Format<Response<T>> for ResponseFormat<T> {
    fn encode(
        &self,
        at: Place<'_>,
        response: &Response<T>,
        out: &mut Vec<u8>,
    ) -> Result<Presence, EncodeError> {
        push_version(0, response.hash, out);
        push_hash(response.hash, out);
        if let Some(value) = &response.value {
            let _ = self.0.encode(at, value, out)?;
        }
        Ok(Presence::Value)
    }

    fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<Response<T>, DecodeError> {
        let (version, has_hash, rest) = split_version(bytes).ok_or_else(malformed::<T>)?;
        if version != 0 {
            return Err(malformed::<T>());
        }
        let (hash, value) = split_hash(has_hash, rest).ok_or_else(malformed::<T>)?;
        // No bytes are no row: Kafka Streams cannot tell an empty value from a missing one here either.
        let value = Some(value).filter(|value| !value.is_empty());
        Ok(Response {
            hash,
            value: value.map(|value| self.0.decode(at, Some(value))).transpose()?,
            partition: None,
        })
    }
}

fn malformed<T>() -> DecodeError {
    DecodeError::of::<T>(
        "a message of a foreign-key join",
        "the bytes end early or are of an unknown version",
    )
}

fn push_version(version: u8, hash: Option<Hash>, out: &mut Vec<u8>) {
    out.push(if hash.is_some() {
        version
    } else {
        version | NO_HASH
    });
}

fn push_hash(hash: Option<Hash>, out: &mut Vec<u8>) {
    for word in hash.iter().flatten() {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// The version, whether a hash follows, and what follows.
fn split_version(bytes: Option<&[u8]>) -> Option<(u8, bool, &[u8])> {
    let (version, rest) = bytes?.split_first()?;
    Some((version & !NO_HASH, version & NO_HASH == 0, rest))
}

fn split_hash(has_hash: bool, bytes: &[u8]) -> Option<(Option<Hash>, &[u8])> {
    if !has_hash {
        return Some((None, bytes));
    }
    let (first, rest) = bytes.split_first_chunk()?;
    let (second, rest) = rest.split_first_chunk()?;
    let hash = [u64::from_be_bytes(*first), u64::from_be_bytes(*second)];
    Some((Some(hash), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::join_foreign_key::murmur3;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect()
    }

    fn subscriptions() -> SubscriptionFormat<String> {
        let (key, topic) = (Wire::own(), "t-pk".to_owned());
        SubscriptionFormat { key, topic }
    }

    // The bytes are what Kafka Streams 4.1.0's own serializers gave.
    #[test]
    fn subscriptions_have_the_bytes_of_kafka_streams() {
        let hash = Some(murmur3::hash(b"abc"));
        let cases = [
            (
                Instruction::Forget,
                hash,
                "01008cc66bdf24a3b65ee942bed9d38bee40706b00000003",
            ),
            (Instruction::Forget, None, "8100706b00000003"),
            (
                Instruction::ForgetAndTell,
                hash,
                "01018cc66bdf24a3b65ee942bed9d38bee40706b00000003",
            ),
            (Instruction::Answer, None, "8102706b00000003"),
            (
                Instruction::AnswerIfThere,
                hash,
                "01038cc66bdf24a3b65ee942bed9d38bee40706b00000003",
            ),
        ];
        let (headers, format) = (Headers::new(), subscriptions());
        for (instruction, hash, expected) in cases {
            let subscription = Subscription {
                hash,
                instruction,
                key: "pk".to_owned(),
                partition: Some(3),
            };
            let mut out = Vec::new();
            let at = Place::value("t", &headers);
            let _ = format.encode(at, &subscription, &mut out).unwrap();
            assert_eq!(out, bytes(expected));
            assert_eq!(format.decode(at, Some(&out)).unwrap(), subscription);
        }
        let of_version_0 = format.decode(Place::value("t", &headers), Some(&bytes("8002706b")));
        assert_eq!(of_version_0.unwrap().partition, None);
    }

    #[test]
    fn responses_have_the_bytes_of_kafka_streams() {
        let hash = Some(murmur3::hash(b"abc"));
        let cases = [
            (hash, Some("val"), "008cc66bdf24a3b65ee942bed9d38bee4076616c"),
            (None, Some("val"), "8076616c"),
            (hash, None, "008cc66bdf24a3b65ee942bed9d38bee40"),
        ];
        let (headers, format) = (Headers::new(), ResponseFormat(Wire::<String>::own()));
        let at = Place::value("t", &headers);
        for (hash, value, expected) in cases {
            let response = Response {
                hash,
                value: value.map(str::to_owned),
                partition: None,
            };
            let mut out = Vec::new();
            let _ = format.encode(at, &response, &mut out).unwrap();
            assert_eq!(out, bytes(expected));
            assert_eq!(format.decode(at, Some(&out)).unwrap(), response);
        }
    }

    #[test]
    fn malformed_messages_are_errors() {
        let headers = Headers::new();
        let at = Place::value("t", &headers);
        for text in [
            "",
            "01",
            "0104",
            "81020000",
            "0102ffff",
            "0202706b00000003",
            "0009",
        ] {
            assert!(subscriptions().decode(at, Some(&bytes(text))).is_err(), "{text}");
        }
        let responses = ResponseFormat(Wire::<String>::own());
        for text in ["", "01", "0012", "81ff"] {
            assert!(responses.decode(at, Some(&bytes(text))).is_err(), "{text}");
        }
        assert!(responses.decode(at, None).is_err());
    }
}
