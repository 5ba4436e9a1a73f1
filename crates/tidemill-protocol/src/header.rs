//! The headers before every request and response.
//!
//! ```text
//! request   i16 api key, i16 api version, i32 correlation id, [v1+ nullable string client id], [v2 tagged fields]
//! response  i32 correlation id, [v1 tagged fields]
//! ```
//! Flexible versions of an API use request header 2 and response header 1, the others 1 and 0. ApiVersions always answers
//! with response header 0, since the client does not know yet what the broker speaks.

use crate::{ApiKey, DecodeError, KString, Reader, Writer};

/// What stands before every request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// The API as sent, which may be one that we do not know.
    pub api_key: i16,
    /// The version the client chose, which may be one that we do not have.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<KString>,
}

impl RequestHeader {
    /// Reads a header; the body follows at the reader's position.
    ///
    /// # Errors
    /// [`DecodeError::ApiKey`] if the API is unknown, so that the layout of the rest is too; otherwise what [`Reader`] says.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let api_key = reader.i16()?;
        let api_version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let key = ApiKey::try_from(api_key)?;
        // The client id keeps its fixed length in every version, so that a broker can read it before it knows the header's version.
        let client_id = reader.nullable_string(false)?;
        if key.is_flexible(api_version) {
            reader.skip_tagged_fields()?;
        }
        Ok(RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    /// Writes the header. An API we do not know gets the inflexible form.
    pub fn encode(&self, writer: &mut Writer) {
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.nullable_string(false, self.client_id.as_deref());
        if ApiKey::try_from(self.api_key).is_ok_and(|key| key.is_flexible(self.api_version)) {
            writer.uvarint(0);
        }
    }
}

/// What stands before every response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseHeader {
    /// The one of the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to `key` at `version`.
    ///
    /// # Errors
    /// What [`Reader`] says.
    pub fn decode(reader: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = reader.i32()?;
        if Self::has_tags(key, version) {
            reader.skip_tagged_fields()?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Writes the header of a response to `key` at `version`.
    pub fn encode(&self, writer: &mut Writer, key: ApiKey, version: i16) {
        writer.i32(self.correlation_id);
        if Self::has_tags(key, version) {
            writer.uvarint(0);
        }
    }

    fn has_tags(key: ApiKey, version: i16) -> bool {
        key.is_flexible(version) && key != ApiKey::ApiVersions
    }
}
