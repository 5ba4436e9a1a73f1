//! What goes wrong between values and bytes.

/// Any error, as user code gives it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A value that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A windowed key around a null key.
    #[error("the key inside a windowed key is null")]
    NullInsideWindow,
    /// The format refused the value.
    #[error("cannot write {type_name} as {format}: {source}")]
    Format {
        /// The format's name.
        format: &'static str,
        /// The Rust type.
        type_name: &'static str,
        /// What the format said.
        source: BoxError,
    },
}

/// Bytes that are not the value asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A null where the type has none.
    #[error("a null, and {type_name} has none; if nulls are expected here, use Option<{type_name}>")]
    Null {
        /// The Rust type.
        type_name: &'static str,
    },
    /// Bytes where only a null is allowed.
    #[error("{got} bytes, where only a null is allowed")]
    NotNull {
        /// How many bytes there were.
        got: usize,
    },
    /// A number of bytes that the type does not have.
    #[error("{got} bytes, and {type_name} has {expected}")]
    Length {
        /// The Rust type.
        type_name: &'static str,
        /// How many the type has (at least, for a type of several lengths).
        expected: usize,
        /// How many there were.
        got: usize,
    },
    /// The format refused the bytes.
    #[error("not {type_name} as {format}: {source}")]
    Format {
        /// The format's name.
        format: &'static str,
        /// The Rust type.
        type_name: &'static str,
        /// What the format said.
        source: BoxError,
    },
}

impl EncodeError {
    /// An error of the format named `format` with a value of type `T`.
    pub fn of<T>(format: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Format {
            format,
            type_name: std::any::type_name::<T>(),
            source: source.into(),
        }
    }
}

impl DecodeError {
    /// An error of the format named `format` with bytes read as a `T`.
    pub fn of<T>(format: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Format {
            format,
            type_name: std::any::type_name::<T>(),
            source: source.into(),
        }
    }

    /// A null that was to be read as a `T`.
    #[must_use]
    pub fn null<T>() -> Self {
        Self::Null {
            type_name: std::any::type_name::<T>(),
        }
    }
}
