//! `Format`: a wire format chosen for a topic or store, and `Wire`, the handle that carries the choice.

use std::{fmt, sync::Arc};

use crate::{Data, DecodeError, EncodeError, Headers, Presence};

/// Which half of a record is being written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The record's key.
    Key,
    /// The record's value.
    Value,
}

/// Where a key or value is being written to or read from.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The topic; for a store its changelog topic.
    pub topic: &'a str,
    /// Key or value.
    pub role: Role,
    /// The record's headers.
    pub headers: &'a Headers,
}

impl<'a> Place<'a> {
    /// The key of a record of `topic`.
    #[must_use]
    pub const fn key(topic: &'a str, headers: &'a Headers) -> Self {
        Self {
            topic,
            role: Role::Key,
            headers,
        }
    }

    /// The value of a record of `topic`.
    #[must_use]
    pub const fn value(topic: &'a str, headers: &'a Headers) -> Self {
        Self {
            topic,
            role: Role::Value,
            headers,
        }
    }
}

/// A wire format for `T` that is not `T`'s own: a foreign type's, a registry's.
pub trait Format<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`, or says that it is null.
    ///
    /// # Errors
    /// When the value cannot be written.
    fn encode(&self, at: Place<'_>, value: &T, out: &mut Vec<u8>) -> Result<Presence, EncodeError>;

    /// Reads a value; `None` is a null.
    ///
    /// # Errors
    /// When the bytes are no such value, or are null and this format has no null.
    fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<T, DecodeError>;

    /// Whether [`encode`](Self::encode) would make a null. Without a better answer it encodes and looks.
    fn is_null(&self, at: Place<'_>, value: &T) -> bool {
        matches!(self.encode(at, value, &mut Vec::new()), Ok(Presence::Null))
    }
}

/// The [`Format`] that is each type's own [`Data`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Own;

impl<T: Data> Format<T> for Own {
    fn encode(&self, _: Place<'_>, value: &T, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        value.encode(out)
    }

    fn decode(&self, _: Place<'_>, bytes: Option<&[u8]>) -> Result<T, DecodeError> {
        T::decode(bytes)
    }

    fn is_null(&self, _: Place<'_>, value: &T) -> bool {
        value.is_null()
    }
}

/// A handle on the format of `T` in one place: the type's own, or one that was given. Cheap to clone.
pub struct Wire<T> {
    choice: Choice<T>,
}

enum Choice<T> {
    Own {
        encode: fn(&T, &mut Vec<u8>) -> Result<Presence, EncodeError>,
        decode: fn(Option<&[u8]>) -> Result<T, DecodeError>,
        is_null: fn(&T) -> bool,
    },
    Given(Arc<dyn Format<T>>),
}

impl<T: Data> Wire<T> {
    /// The type's own format.
    #[must_use]
    pub const fn own() -> Self {
        Self {
            choice: Choice::Own {
                encode: T::encode,
                decode: T::decode,
                is_null: T::is_null,
            },
        }
    }
}

impl<T: 'static> Wire<T> {
    /// A format that was given.
    pub fn given(format: impl Format<T>) -> Self {
        Self {
            choice: Choice::Given(Arc::new(format)),
        }
    }

    /// Whether this is the type's own format.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        matches!(self.choice, Choice::Own { .. })
    }

    /// Appends the bytes of `value` to `out`, or says that it is null.
    ///
    /// # Errors
    /// When the value cannot be written.
    pub fn encode(&self, at: Place<'_>, value: &T, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        match &self.choice {
            Choice::Own { encode, .. } => encode(value, out),
            Choice::Given(format) => format.encode(at, value, out),
        }
    }

    /// Reads a value; `None` is a null.
    ///
    /// # Errors
    /// When the bytes are no such value, or are null and the format has no null.
    pub fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<T, DecodeError> {
        match &self.choice {
            Choice::Own { decode, .. } => decode(bytes),
            Choice::Given(format) => format.decode(at, bytes),
        }
    }

    /// Whether encoding `value` makes a null.
    pub fn is_null(&self, at: Place<'_>, value: &T) -> bool {
        match &self.choice {
            Choice::Own { is_null, .. } => is_null(value),
            Choice::Given(format) => format.is_null(at, value),
        }
    }
}

impl<T> Clone for Wire<T> {
    fn clone(&self) -> Self {
        let choice = match &self.choice {
            Choice::Own {
                encode,
                decode,
                is_null,
            } => Choice::Own {
                encode: *encode,
                decode: *decode,
                is_null: *is_null,
            },
            Choice::Given(format) => Choice::Given(Arc::clone(format)),
        };
        Self { choice }
    }
}

impl<T: 'static> fmt::Debug for Wire<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choice = if self.is_own() { "own" } else { "given" };
        write!(f, "Wire<{}>({choice})", std::any::type_name::<T>())
    }
}
