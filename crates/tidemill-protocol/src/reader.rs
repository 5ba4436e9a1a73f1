//! Reads primitives from a frame, checking every length against the bytes that are left before anything is allocated.

use bytes::Bytes;
use uuid::Uuid;

use crate::varint;
use crate::{ApiKey, KString, Records};

/// Why bytes from a peer are not the message they should be. The peer is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ends inside a value.
    #[error("{needed} bytes needed, {left} left")]
    Truncated {
        /// What the value needs.
        needed: usize,
        /// What the frame still has.
        left: usize,
    },
    /// A count of elements that the rest of the frame could not hold.
    #[error("{count} elements announced, {left} bytes left")]
    Count {
        /// The announced count.
        count: i64,
        /// What the frame still has.
        left: usize,
    },
    /// A negative length that does not mean null.
    #[error("a length of {0}")]
    Length(i64),
    /// A variable-length integer that is cut off, or longer than its type.
    #[error("a broken varint")]
    Varint,
    /// Null where this version of the message has none.
    #[error("null where a value must be")]
    Null,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
    /// A tagged field whose content is shorter than it says.
    #[error("tagged field {tag} says {size} bytes, its content has {used}")]
    Tagged {
        /// The field's tag.
        tag: u32,
        /// Its announced size.
        size: usize,
        /// What decoding it used.
        used: usize,
    },
    /// An API this crate does not know.
    #[error("unknown API key {0}")]
    ApiKey(i16),
    /// A version that this crate does not decode.
    #[error("{api:?} has no version {version} here")]
    Version {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
}

/// A position in a received frame.
///
/// Strings, bytes and records that it returns are slices of the frame.
#[derive(Debug)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
    // Invariant: at <= end <= frame.len(). Below the frame's length inside a tagged field.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the frame's first byte.
    pub fn new(frame: &'a Bytes) -> Self {
        Reader {
            frame,
            at: 0,
            end: frame.len(),
        }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.remaining();
        let truncated = DecodeError::Truncated { needed: len, left };
        if len > left {
            return Err(truncated);
        }
        let taken = self.frame.get(self.at..self.at + len).ok_or(truncated)?;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take returns as many bytes as asked for"))
    }

    /// One byte; anything but zero is true, as in Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }

    /// Two bytes, big-endian, as all fixed integers.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array_of()?))
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array_of()?))
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    /// An IEEE double.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array_of()?))
    }

    /// Sixteen bytes; all zero means "none".
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array_of()?))
    }

    /// An error code.
    pub fn error_code(&mut self) -> Result<crate::ErrorCode, DecodeError> {
        Ok(self.i16()?.into())
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let rest = self.frame.get(self.at..self.end).ok_or(DecodeError::Varint)?;
        let (value, rest) = varint::read_u32(rest).ok_or(DecodeError::Varint)?;
        self.at = self.end - rest.len();
        Ok(value)
    }

    /// A length: compact (plus one, zero is null) in flexible versions, else fixed with -1 for null.
    fn length(
        &mut self,
        flexible: bool,
        fixed: fn(&mut Self) -> Result<i64, DecodeError>,
    ) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            fixed(self)?
        };
        if length == -1 {
            return Ok(None);
        }
        usize::try_from(length)
            .map(Some)
            .map_err(|_| DecodeError::Length(length))
    }

    fn shared(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let start = self.at;
        self.take(len)?;
        Ok(self.frame.slice(start..self.at))
    }

    /// Text, or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<KString>, DecodeError> {
        let Some(len) = self.length(flexible, |reader| reader.i16().map(i64::from))? else {
            return Ok(None);
        };
        let bytes = self.shared(len)?;
        KString::from_utf8(bytes).map(Some).map_err(|_| DecodeError::Utf8)
    }

    /// Text.
    pub fn string(&mut self, flexible: bool) -> Result<KString, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::Null)
    }

    /// Bytes, or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let Some(len) = self.length(flexible, |reader| reader.i32().map(i64::from))? else {
            return Ok(None);
        };
        self.shared(len).map(Some)
    }

    /// Bytes.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Null)
    }

    /// Record batches, or null.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map(Records::from))
    }

    /// Record batches.
    pub fn records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        self.bytes(flexible).map(Records::from)
    }

    /// An array, or null. `len_min` is the fewest bytes an element can have; it bounds what a lying count can make us allocate.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        len_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible, |reader| reader.i32().map(i64::from))? else {
            return Ok(None);
        };
        let left = self.remaining();
        if count > left / len_min {
            return Err(DecodeError::Count {
                count: count as i64,
                left,
            });
        }
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// An array. See [`Reader::nullable_array`].
    pub fn array<T>(
        &mut self,
        flexible: bool,
        len_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, len_min, element)?
            .ok_or(DecodeError::Null)
    }

    /// A struct that may be null: one byte before it says so.
    pub fn nullable_struct<T>(
        &mut self,
        decode: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 {
            Ok(None)
        } else {
            decode(self).map(Some)
        }
    }

    /// The tagged fields at the end of a flexible struct. `known` reads a field and returns true, or returns false to have it skipped.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let left = self.remaining();
            if size > left {
                return Err(DecodeError::Truncated { needed: size, left });
            }
            let start = self.at;
            let mut field = Reader {
                frame: self.frame,
                at: start,
                end: start + size,
            };
            if known(&mut field, tag)? && field.remaining() > 0 {
                return Err(DecodeError::Tagged {
                    tag,
                    size,
                    used: field.at - start,
                });
            }
            self.at = start + size;
        }
        Ok(())
    }

    /// The tagged fields of a struct that knows none.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }
}
