//! Keys with a window, in Kafka's byte forms. Times are signed 64-bit milliseconds, big-endian.
//!
//! ```text
//! TimeWindowedSerializer       key | start
//! SessionWindowedSerializer    key | end | start       also the key of a session store's changelog
//! window store's changelog     key | start | i32 sequence number, 0 unless the store keeps duplicates
//! ```

use std::{fmt, time::Duration};

use crate::{Data, DecodeError, EncodeError, Format, Place, Presence, Wire};

/// A key in one window.
///
/// Its own wire format is that of Kafka's session windows, which says both ends. [`TimeWindowed`] is the format of
/// Kafka's time windows, which writes the start only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// When the window starts, inclusive.
    pub start_ms: i64,
    /// When it ends: exclusive for tumbling and hopping windows, inclusive for sliding and session windows.
    pub end_ms: i64,
}

impl<K> Windowed<K> {
    /// `key` in the window from `start_ms` to `end_ms`.
    pub const fn new(key: K, start_ms: i64, end_ms: i64) -> Self {
        Self {
            key,
            start_ms,
            end_ms,
        }
    }

    /// The same window of another key.
    pub fn map_key<L>(self, change: impl FnOnce(K) -> L) -> Windowed<L> {
        Windowed {
            key: change(self.key),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
        }
    }
}

impl<K: fmt::Display> fmt::Display for Windowed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.key, self.start_ms, self.end_ms)
    }
}

impl<K: Data> Data for Windowed<K> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        value_present(self.key.encode(out)?)?;
        bytes::push_session_suffix(self.start_ms, self.end_ms, out);
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        let bytes = bytes.ok_or_else(DecodeError::null::<Self>)?;
        let (key, start_ms, end_ms) =
            bytes::split_session(bytes).ok_or_else(|| too_short::<Self>(16, bytes.len()))?;
        Ok(Self {
            key: K::decode(Some(key))?,
            start_ms,
            end_ms,
        })
    }
}

/// Kafka's `TimeWindowedSerializer` over a key format: the end is not written but start plus size.
pub struct TimeWindowed<K> {
    key: Wire<K>,
    size_ms: i64,
}

impl<K: Data> TimeWindowed<K> {
    /// Windows of one size around keys in their own format.
    #[must_use]
    pub fn of_size(size: Duration) -> Self {
        Self::with_key(Wire::own(), size)
    }
}

impl<K: 'static> TimeWindowed<K> {
    /// Windows of one size around keys in the format `key`.
    #[must_use]
    pub fn with_key(key: Wire<K>, size: Duration) -> Self {
        Self {
            key,
            size_ms: i64::try_from(size.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

impl<K: 'static> Format<Windowed<K>> for TimeWindowed<K> {
    fn encode(
        &self,
        at: Place<'_>,
        windowed: &Windowed<K>,
        out: &mut Vec<u8>,
    ) -> Result<Presence, EncodeError> {
        value_present(self.key.encode(at, &windowed.key, out)?)?;
        out.extend_from_slice(&windowed.start_ms.to_be_bytes());
        Ok(Presence::Value)
    }

    fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<Windowed<K>, DecodeError> {
        let bytes = bytes.ok_or_else(DecodeError::null::<Windowed<K>>)?;
        let (key, start_ms) =
            bytes::split_time(bytes).ok_or_else(|| too_short::<Windowed<K>>(8, bytes.len()))?;
        let key = self.key.decode(at, Some(key))?;
        Ok(Windowed {
            key,
            start_ms,
            end_ms: start_ms.saturating_add(self.size_ms),
        })
    }
}

/// Kafka's `SessionWindowedSerializer` over a key format: both ends are written.
pub struct SessionWindowed<K> {
    key: Wire<K>,
}

impl<K: 'static> SessionWindowed<K> {
    /// Sessions of keys in the format `key`.
    #[must_use]
    pub fn with_key(key: Wire<K>) -> Self {
        Self { key }
    }
}

impl<K: 'static> Format<Windowed<K>> for SessionWindowed<K> {
    fn encode(
        &self,
        at: Place<'_>,
        windowed: &Windowed<K>,
        out: &mut Vec<u8>,
    ) -> Result<Presence, EncodeError> {
        value_present(self.key.encode(at, &windowed.key, out)?)?;
        bytes::push_session_suffix(windowed.start_ms, windowed.end_ms, out);
        Ok(Presence::Value)
    }

    fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<Windowed<K>, DecodeError> {
        let bytes = bytes.ok_or_else(DecodeError::null::<Windowed<K>>)?;
        let (key, start_ms, end_ms) =
            bytes::split_session(bytes).ok_or_else(|| too_short::<Windowed<K>>(16, bytes.len()))?;
        let key = self.key.decode(at, Some(key))?;
        Ok(Windowed {
            key,
            start_ms,
            end_ms,
        })
    }
}

fn value_present(key: Presence) -> Result<(), EncodeError> {
    match key {
        Presence::Value => Ok(()),
        Presence::Null => Err(EncodeError::NullInsideWindow),
    }
}

fn too_short<T>(expected: usize, got: usize) -> DecodeError {
    DecodeError::Length {
        type_name: std::any::type_name::<T>(),
        expected,
        got,
    }
}

pub(crate) mod bytes {
    /// Key and start of the time form, or `None` when the bytes are too few.
    #[must_use]
    pub fn split_time(bytes: &[u8]) -> Option<(&[u8], i64)> {
        let (key, start) = bytes.split_last_chunk()?;
        Some((key, i64::from_be_bytes(*start)))
    }

    /// Appends what stands after the key in the session form: end, then start.
    pub fn push_session_suffix(start_ms: i64, end_ms: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&end_ms.to_be_bytes());
        out.extend_from_slice(&start_ms.to_be_bytes());
    }

    /// Key, start and end of the session form, or `None` when the bytes are too few.
    #[must_use]
    pub fn split_session(bytes: &[u8]) -> Option<(&[u8], i64, i64)> {
        let (rest, start) = bytes.split_last_chunk()?;
        let (key, end) = rest.split_last_chunk()?;
        Some((key, i64::from_be_bytes(*start), i64::from_be_bytes(*end)))
    }

    /// Appends what stands after the key in a window store's changelog: start and sequence number.
    pub fn push_store_suffix(start_ms: i64, sequence: i32, out: &mut Vec<u8>) {
        out.extend_from_slice(&start_ms.to_be_bytes());
        out.extend_from_slice(&sequence.to_be_bytes());
    }

    /// Key, start and sequence number of a window store's changelog key, or `None` when the bytes are too few.
    #[must_use]
    pub fn split_store(bytes: &[u8]) -> Option<(&[u8], i64, i32)> {
        let (rest, sequence) = bytes.split_last_chunk()?;
        let (key, start) = rest.split_last_chunk()?;
        Some((key, i64::from_be_bytes(*start), i32::from_be_bytes(*sequence)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, SECOND, Topic};

    #[test]
    fn a_windowed_key_is_written_as_kafkas_session_key() {
        let key = Windowed::new(String::from("k"), 1, 258);
        let mut out = Vec::new();
        assert_eq!(key.encode(&mut out).unwrap(), Presence::Value);
        assert_eq!(out, [b'k', 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Windowed::<String>::decode(Some(&out)).unwrap(), key);
        assert_eq!(key.to_string(), "k@1/258");
    }

    #[test]
    fn a_time_window_is_written_as_its_start() {
        let topic: Topic<Windowed<String>, i64> =
            Topic::new("counts").key_format(TimeWindowed::of_size(10 * SECOND));
        let none = Headers::new();
        let key = Windowed::new(String::from("k"), 20_000, 30_000);
        let mut out = Vec::new();
        let place = Place::key("counts", &none);
        assert_eq!(
            topic.key().encode(place, &key, &mut out).unwrap(),
            Presence::Value
        );
        assert_eq!(out, [b'k', 0, 0, 0, 0, 0, 0, 0x4e, 0x20]);
        assert_eq!(topic.key().decode(place, Some(&out)).unwrap(), key);
        assert!(topic.key().decode(place, Some(&out[..7])).is_err());
    }

    #[test]
    fn a_session_around_a_chosen_key_format_is_written_as_the_keys_own() {
        let topic: Topic<Windowed<String>, i64> =
            Topic::new("visits").key_format(SessionWindowed::with_key(Wire::own()));
        let none = Headers::new();
        let place = Place::key("visits", &none);
        let key = Windowed::new(String::from("k"), 1, 258);
        let (mut chosen, mut own) = (Vec::new(), Vec::new());
        let _ = topic.key().encode(place, &key, &mut chosen).unwrap();
        let _ = key.encode(&mut own).unwrap();
        assert_eq!(chosen, own);
        assert_eq!(topic.key().decode(place, Some(&own)).unwrap(), key);
        assert!(topic.key().decode(place, Some(&own[..15])).is_err());
    }

    #[test]
    fn a_null_inside_a_window_is_refused() {
        let key = Windowed::new(None::<String>, 0, 1);
        assert!(matches!(
            key.encode(&mut Vec::new()),
            Err(EncodeError::NullInsideWindow)
        ));
    }

    #[test]
    fn store_keys_carry_start_and_sequence() {
        let mut out = b"key".to_vec();
        bytes::push_store_suffix(-1, 7, &mut out);
        assert_eq!(bytes::split_store(&out), Some((&b"key"[..], -1, 7)));
        assert_eq!(bytes::split_store(&out[..11]), None);
    }
}
