//! Writes primitives into a frame. Large shared bytes are kept as they are, between the bytes written around them.

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::varint;
use crate::{Frame, Piece, Records};

/// From this size on, bytes are shared instead of copied: below it a copy is cheaper than one more piece in the vectored write.
const SHARED_LEN_MIN: usize = 2048;

/// Why a message cannot be put on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A length that its field on the wire cannot hold, as a string over 32,767 bytes in an inflexible version.
    #[error("{len} bytes or elements do not fit the length field, which ends at {max}")]
    TooLong {
        /// The length.
        len: usize,
        /// The largest that fits.
        max: usize,
    },
}

/// Collects a message's bytes. What cannot be encoded is remembered and told by [`Writer::finish`].
#[derive(Debug, Default)]
pub struct Writer {
    copied: BytesMut,
    // Invariant: positions in `copied`, ascending; the bytes stand before what follows that position.
    shared: Vec<(usize, Piece)>,
    error: Option<EncodeError>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer with room for that many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Writer {
            copied: BytesMut::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// What was written, as chunks.
    ///
    /// # Errors
    /// Something was longer than the wire can say.
    pub fn finish(self) -> Result<Frame, EncodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Frame::from_parts(self.copied.freeze(), self.shared)),
        }
    }

    /// What was written, as chunks, behind four bytes that give its length. The first four bytes written must have been kept free.
    ///
    /// # Errors
    /// Something was longer than the wire can say.
    pub(crate) fn finish_framed(mut self) -> Result<Frame, EncodeError> {
        let len = self.len() - 4;
        self.check(len, i32::MAX as usize);
        let prefix = self
            .copied
            .first_chunk_mut::<4>()
            .expect("four bytes were kept free for the length");
        *prefix = (len as u32).to_be_bytes();
        self.finish()
    }

    fn len(&self) -> usize {
        self.copied.len() + self.shared.iter().map(|(_, piece)| piece.len()).sum::<usize>()
    }

    fn check(&mut self, len: usize, max: usize) {
        if len > max && self.error.is_none() {
            self.error = Some(EncodeError::TooLong { len, max });
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    fn share(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_LEN_MIN {
            self.raw(bytes);
        } else {
            self.shared.push((self.copied.len(), Piece::Bytes(bytes.clone())));
        }
    }

    /// One byte.
    pub fn bool(&mut self, value: bool) {
        self.raw(&[u8::from(value)]);
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes, big-endian, as all fixed integers.
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// An IEEE double.
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(value.as_bytes());
    }

    /// An error code.
    pub fn error_code(&mut self, code: crate::ErrorCode) {
        self.i16(code.into());
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, value: u32) {
        let copied = &mut self.copied;
        varint::write_u64(u64::from(value), |byte| copied.extend_from_slice(&[byte]));
    }

    /// A length with 32 bits: compact in flexible versions, else fixed.
    fn length(&mut self, flexible: bool, len: Option<usize>) {
        self.check(len.unwrap_or(0), i32::MAX as usize);
        match (flexible, len) {
            (true, None) => self.uvarint(0),
            (true, Some(len)) => self.uvarint((len as u32).wrapping_add(1)),
            (false, None) => self.i32(-1),
            (false, Some(len)) => self.i32(len as i32),
        }
    }

    /// Text, or null. Inflexible versions give its length in 16 bits.
    pub fn nullable_string(&mut self, flexible: bool, text: Option<&str>) {
        let len = text.map(str::len);
        if flexible {
            self.length(true, len);
        } else {
            self.check(len.unwrap_or(0), i16::MAX as usize);
            self.i16(len.map_or(-1, |len| len as i16));
        }
        self.raw(text.unwrap_or_default().as_bytes());
    }

    /// Text.
    pub fn string(&mut self, flexible: bool, text: &str) {
        self.nullable_string(flexible, Some(text));
    }

    /// Bytes, or null.
    pub fn nullable_bytes(&mut self, flexible: bool, bytes: Option<&Bytes>) {
        self.length(flexible, bytes.map(Bytes::len));
        if let Some(bytes) = bytes {
            self.share(bytes);
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, flexible: bool, bytes: &Bytes) {
        self.nullable_bytes(flexible, Some(bytes));
    }

    /// Record batches, or null.
    pub fn nullable_records(&mut self, flexible: bool, records: Option<&Records>) {
        self.length(flexible, records.map(Records::len));
        records
            .into_iter()
            .flat_map(Records::pieces)
            .for_each(|piece| match piece {
                Piece::Bytes(bytes) => self.share(bytes),
                Piece::Gap(len) => self.shared.push((self.copied.len(), Piece::Gap(*len))),
            });
    }

    /// Record batches.
    pub fn records(&mut self, flexible: bool, records: &Records) {
        self.nullable_records(flexible, Some(records));
    }

    /// An array, or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        elements: Option<&[T]>,
        mut element: impl FnMut(&mut Self, &T),
    ) {
        self.length(flexible, elements.map(<[T]>::len));
        for each in elements.unwrap_or_default() {
            element(self, each);
        }
    }

    /// An array.
    pub fn array<T>(&mut self, flexible: bool, elements: &[T], element: impl FnMut(&mut Self, &T)) {
        self.nullable_array(flexible, Some(elements), element);
    }

    /// A struct that may be null: one byte before it says so.
    pub fn nullable_struct<T>(&mut self, value: Option<&T>, encode: impl FnOnce(&mut Self, &T)) {
        self.i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            encode(self, value);
        }
    }

    /// One tagged field: its tag, its size, and what `content` writes.
    pub fn tagged(&mut self, tag: u32, content: impl FnOnce(&mut Self)) {
        self.uvarint(tag);
        let start = self.copied.len();
        let shared = self.shared.len();
        content(self);
        let inside = self
            .shared
            .iter()
            .skip(shared)
            .map(|(_, piece)| piece.len())
            .sum::<usize>();
        let size = self.copied.len() - start + inside;
        self.check(size, i32::MAX as usize);
        // The size goes before the content, and its own length depends on it: write it behind, then turn it to the front.
        let end = self.copied.len();
        self.uvarint(size as u32);
        let prefix = self.copied.len() - end;
        self.copied
            .get_mut(start..)
            .expect("start was the length before the content")
            .rotate_right(prefix);
        self.shared
            .iter_mut()
            .skip(shared)
            .for_each(|(at, _)| *at += prefix);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn a_tagged_field_is_sized_with_what_it_shares() {
        let large = Bytes::from(vec![7; 5_000]);
        let mut writer = Writer::new();
        writer.i8(1);
        writer.tagged(3, |writer| {
            writer.i8(2);
            writer.bytes(true, &large);
            writer.i8(4);
        });
        writer.i8(5);
        let whole = writer.finish().expect("it fits").into_bytes();
        // Tag 3, size 5,004 = 0x8c 0x27, then 2, the length plus one = 0x89 0x27, the bytes, 4.
        let (front, back) = ([1, 3, 0x8c, 0x27, 2, 0x89, 0x27], [4, 5]);
        assert_eq!(whole, [&front[..], &large, &back].concat());
    }

    #[test]
    fn a_gap_is_counted_in_lengths_and_ends_the_frame_as_a_buffer() {
        let mut records = Records::from(Bytes::from_static(b"ab"));
        records.push_gap(5_000);
        let mut writer = Writer::new();
        writer.i32(0);
        writer.records(false, &records);
        writer.i8(9);
        let mut frame = writer.finish_framed().expect("it fits");
        // 4 + 2 + 5,000 + 1 bytes follow the length, which is 5,007 = 0x138f; the records have 5,002 = 0x138a.
        assert_eq!(
            frame.copy_to_bytes(frame.remaining())[..],
            [0, 0, 0x13, 0x8f, 0, 0, 0x13, 0x8a, b'a', b'b']
        );
        assert_eq!((frame.take_gap(), frame.take_gap()), (Some(5_000), None));
        assert_eq!(frame.into_bytes()[..], [9]);
    }

    #[test]
    fn small_bytes_are_copied_and_large_ones_shared() {
        let mut writer = Writer::new();
        writer.bytes(false, &Bytes::from(vec![1; SHARED_LEN_MIN - 1]));
        assert!(writer.shared.is_empty());
        writer.bytes(false, &Bytes::from(vec![1; SHARED_LEN_MIN]));
        assert_eq!(writer.shared.len(), 1);
    }
}
