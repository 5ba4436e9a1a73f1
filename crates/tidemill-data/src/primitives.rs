//! Kafka's own formats for the types that Rust and Kafka share.

use bytes::Bytes;
use uuid::Uuid;

use crate::{Data, DecodeError, EncodeError, Presence};

fn present<T>(bytes: Option<&[u8]>) -> Result<&[u8], DecodeError> {
    bytes.ok_or_else(DecodeError::null::<T>)
}

macro_rules! big_endian {
    ($($number:ty),*) => {$(
        impl Data for $number {
            fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
                out.extend_from_slice(&self.to_be_bytes());
                Ok(Presence::Value)
            }

            fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
                let bytes = present::<Self>(bytes)?;
                let array = bytes.try_into().map_err(|_| DecodeError::Length {
                    type_name: stringify!($number),
                    expected: size_of::<Self>(),
                    got: bytes.len(),
                })?;
                Ok(Self::from_be_bytes(array))
            }
        }
    )*};
}
big_endian!(i16, i32, i64, f32, f64);

impl Data for String {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        out.extend_from_slice(self.as_bytes());
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        let text = std::str::from_utf8(present::<Self>(bytes)?);
        text.map(Self::from)
            .map_err(|e| DecodeError::of::<Self>("UTF-8", e))
    }
}

impl Data for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        out.extend_from_slice(self);
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        present::<Self>(bytes).map(<[u8]>::to_vec)
    }
}

impl Data for Bytes {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        out.extend_from_slice(self);
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        present::<Self>(bytes).map(Self::copy_from_slice)
    }
}

impl Data for bool {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        out.push(u8::from(*self));
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        match present::<Self>(bytes)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(DecodeError::of::<Self>(
                "one byte",
                format!("{other} is neither 0 nor 1"),
            )),
            more => Err(DecodeError::Length {
                type_name: "bool",
                expected: 1,
                got: more.len(),
            }),
        }
    }
}

impl Data for Uuid {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        let mut text = Self::encode_buffer();
        out.extend_from_slice(self.hyphenated().encode_lower(&mut text).as_bytes());
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        Self::try_parse_ascii(present::<Self>(bytes)?).map_err(|e| DecodeError::of::<Self>("text", e))
    }
}

/// Kafka's `Void`: always null.
impl Data for () {
    fn encode(&self, _: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        Ok(Presence::Null)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        bytes.map_or(Ok(()), |bytes| Err(DecodeError::NotNull { got: bytes.len() }))
    }

    fn is_null(&self) -> bool {
        true
    }
}

impl<T: Data> Data for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        self.as_ref()
            .map_or(Ok(Presence::Null), |value| value.encode(out))
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        bytes.map(|bytes| T::decode(Some(bytes))).transpose()
    }

    fn is_null(&self) -> bool {
        self.as_ref().is_none_or(T::is_null)
    }
}

#[cfg(test)]
mod tests;
