//! JSON text, for any serde type.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Data, DecodeError, EncodeError, Presence};

/// A serde type whose wire format is JSON text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Data for Json<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        encode(&self.0, out)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        decode(bytes).map(Self)
    }
}

/// Appends `value` as JSON.
///
/// # Errors
/// When serde refuses, as with a map whose keys are no text.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
    serde_json::to_writer(out, value).map_err(|e| EncodeError::of::<T>("JSON", e))?;
    Ok(Presence::Value)
}

/// Reads a `T` from JSON; a null record value is an error, the text `null` is JSON's.
///
/// # Errors
/// When the bytes are null or no such JSON.
pub fn decode<T: DeserializeOwned>(bytes: Option<&[u8]>) -> Result<T, DecodeError> {
    let bytes = bytes.ok_or_else(DecodeError::null::<T>)?;
    serde_json::from_slice(bytes).map_err(|e| DecodeError::of::<T>("JSON", e))
}
