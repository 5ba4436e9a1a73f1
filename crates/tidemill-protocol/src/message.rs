//! What every generated message can do.

use crate::{ApiKey, DecodeError, Reader, Writer};

/// Something that is read from a frame at a version of its API.
pub trait Decode: Sized {
    /// Reads one value. Strings and bytes become slices of the reader's frame.
    ///
    /// # Errors
    /// A length, count or varint that disagrees with the bytes that are left; text that is not UTF-8; a null where none may be;
    /// a version this message does not have.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError>;
}

/// Something that is written at a version of its API.
pub trait Encode {
    /// Writes the value. Fields that the version does not have are left out; a null it cannot say is written as empty.
    fn encode(&self, writer: &mut Writer, version: i16);
}

/// A request or response of one API.
pub trait Message: Decode + Encode {
    /// The API it belongs to.
    const KEY: ApiKey;
}

/// A request, and what answers it.
pub trait Request: Message {
    /// The answer.
    type Response: Message;
}
