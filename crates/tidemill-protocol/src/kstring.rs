//! A string as it came off the wire: a checked slice of the received frame.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// UTF-8 text that shares the bytes it was decoded from, so that decoding a message copies no string.
///
/// Its clone is cheap and keeps the whole frame alive: what outlives a request (a topic name in a map) belongs in a `String`,
/// or goes through [`KString::detach`].
#[derive(Clone, Default)]
pub struct KString {
    // Invariant: valid UTF-8. Every constructor checks it or starts from a `str`.
    bytes: Bytes,
}

impl KString {
    /// Text that lives as long as the program, without a copy.
    pub const fn from_static(text: &'static str) -> Self {
        KString {
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    /// Takes the bytes if they are UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(KString { bytes })
    }

    /// The text.
    #[allow(
        unsafe_code,
        reason = "a second check of every name at every use would cost more than the decoding"
    )]
    pub fn as_str(&self) -> &str {
        // SAFETY: the bytes are UTF-8 by the invariant of `bytes`, and immutable.
        unsafe { std::str::from_utf8_unchecked(&self.bytes) }
    }

    /// The bytes the text is made of, shared.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// A copy that no longer keeps the frame it came from alive.
    pub fn detach(&self) -> Self {
        KString {
            bytes: Bytes::copy_from_slice(&self.bytes),
        }
    }
}

impl Deref for KString {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for KString {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for KString {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for KString {
    fn from(text: &str) -> Self {
        KString {
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        }
    }
}

impl From<String> for KString {
    fn from(text: String) -> Self {
        KString {
            bytes: Bytes::from(text.into_bytes()),
        }
    }
}

impl From<&String> for KString {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<KString> for String {
    fn from(text: KString) -> Self {
        text.as_str().to_owned()
    }
}

// Hash, order and equality are those of `str`, as `Borrow<str>` demands.
impl Hash for KString {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq for KString {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for KString {}

impl PartialEq<str> for KString {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for KString {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for KString {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialOrd for KString {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KString {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl fmt::Debug for KString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for KString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}
