//! MessagePack with named fields, for any serde type.
//!
//! Fields go by name: by position, reordering a struct would give old state a new meaning without an error.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Data, DecodeError, EncodeError, Presence};

/// A serde type whose wire format is MessagePack with named fields, as `#[derive(Data)]` gives to types of one's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessagePack<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Data for MessagePack<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        encode(&self.0, out)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        decode(bytes).map(Self)
    }
}

/// Appends `value` as MessagePack with named fields.
///
/// # Errors
/// When serde refuses.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
    rmp_serde::encode::write_named(out, value).map_err(|e| EncodeError::of::<T>("MessagePack", e))?;
    Ok(Presence::Value)
}

/// Reads a `T` from MessagePack; bytes left over are an error.
///
/// # Errors
/// When the bytes are null, no such MessagePack, or more than one value.
pub fn decode<T: DeserializeOwned>(bytes: Option<&[u8]>) -> Result<T, DecodeError> {
    let bytes = bytes.ok_or_else(DecodeError::null::<T>)?;
    let mut rest = bytes;
    let value =
        rmp_serde::decode::from_read(&mut rest).map_err(|e| DecodeError::of::<T>("MessagePack", e))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::of::<T>(
            "MessagePack",
            format!("{} bytes left over", rest.len()),
        ))
    }
}
