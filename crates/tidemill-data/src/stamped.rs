//! A value with the timestamp it was last changed at, in the bytes of Kafka Streams' timestamped stores.
//!
//! ```text
//! 0  i64 big-endian  timestamp
//! 8  ..              value
//! ```

use crate::{Data, DecodeError, EncodeError, Presence, Timestamp};

/// A value and its timestamp: a row of a timestamped store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamped<T> {
    /// The value.
    pub value: T,
    /// When it was last changed, in event time.
    pub timestamp: Timestamp,
}

impl<T> Stamped<T> {
    /// A value as of `timestamp`.
    pub const fn new(value: T, timestamp: Timestamp) -> Self {
        Self { value, timestamp }
    }
}

impl<T: Data> Data for Stamped<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        let start = out.len();
        out.extend_from_slice(&self.timestamp.millis().to_be_bytes());
        let presence = self.value.encode(out)?;
        if presence == Presence::Null {
            out.truncate(start);
        }
        Ok(presence)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        let bytes = bytes.ok_or_else(DecodeError::null::<Self>)?;
        let (timestamp, value) = bytes.split_first_chunk().ok_or(DecodeError::Length {
            type_name: std::any::type_name::<Self>(),
            expected: 8,
            got: bytes.len(),
        })?;
        Ok(Self {
            value: T::decode(Some(value))?,
            timestamp: Timestamp::from_millis(i64::from_be_bytes(*timestamp)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timestamp_stands_before_the_value() {
        let row = Stamped::new(String::from("v"), Timestamp::from_millis(258));
        let mut out = Vec::new();
        assert_eq!(row.encode(&mut out).unwrap(), Presence::Value);
        assert_eq!(out, [0, 0, 0, 0, 0, 0, 1, 2, b'v']);
        assert_eq!(Stamped::<String>::decode(Some(&out)).unwrap(), row);
        assert!(Stamped::<String>::decode(Some(&out[..7])).is_err());
    }

    #[test]
    fn a_null_value_is_a_null_row() {
        let mut out = vec![9];
        let row = Stamped::new(None::<i64>, Timestamp::from_millis(1));
        assert_eq!(row.encode(&mut out).unwrap(), Presence::Null);
        assert_eq!(out, [9]);
    }
}
