//! `Data`: a type's own wire format.

use crate::{DecodeError, EncodeError};

/// Whether encoding made bytes or a null: a null key or value is not the empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Presence {
    /// The record's key or value is null; nothing was written.
    Null,
    /// The bytes written are the key or value.
    Value,
}

/// A type with a wire format of its own.
///
/// Derive it with `#[derive(Data)]` (MessagePack with named fields), with `#[data(json)]` (JSON), or implement it.
/// Only `Option<T>` and `()` have a null; every other type refuses one when decoding.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no wire format, so it cannot cross a topic, a repartition or a store",
    label = "has no wire format",
    note = "for a type of yours: `#[derive(Data, serde::Serialize, serde::Deserialize)]`, with `#[data(json)]` for JSON",
    note = "for any other serde type: wrap it in `Json<{Self}>` or `MessagePack<{Self}>`",
    note = "for a format of your own: implement `Format<{Self}>` and give it to `Topic::with_formats` or `StoreName::with_formats`"
)]
pub trait Data: Sized + Send + Sync + 'static {
    /// Appends the bytes of `self` to `out`, or says that it is null. What was in `out` before stays.
    ///
    /// # Errors
    /// When the value cannot be written; `out` may then end in part of it.
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError>;

    /// Reads a value; `None` is a null.
    ///
    /// # Errors
    /// When the bytes are no such value, or are null and the type has no null.
    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError>;

    /// Whether [`encode`](Self::encode) would say [`Presence::Null`]. A type with a null says so here, too: operators
    /// that drop nulls ask this.
    fn is_null(&self) -> bool {
        false
    }
}
