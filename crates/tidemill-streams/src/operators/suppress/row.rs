//! A row of a suppression's buffer, and so the value of its changelog record, in Kafka Streams' third format, which the
//! record's header `v` = 3 names. All numbers are big-endian; a length of -1 is a null.
//!
//! ```text
//! i64 timestamp | i64 offset | i32 length, topic | i32 partition        of the last record buffered
//! i32 count | { i32 length, name | i32 length, value } …                its headers
//! i32 length, the value before the first record buffered
//! i32 length, the value before the last one, or -2 for the same
//! i32 length, the value
//! i64 time by which the row is in order
//! ```

use bytes::Bytes;
use tidemill_data::{Headers, Timestamp};

const NULL: i32 = -1;
const SAME_AS_PRIOR: i32 = -2;

/// What is buffered of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BufferedRow<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) offset: i64,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) headers: Headers,
    /// What downstream knows of the key.
    pub(super) prior: Option<&'a [u8]>,
    pub(super) old: Option<&'a [u8]>,
    pub(super) new: Option<&'a [u8]>,
    pub(super) time_ms: i64,
}

impl<'a> BufferedRow<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.timestamp.millis().to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        push(&mut out, Some(self.topic.as_bytes()));
        out.extend_from_slice(&self.partition.to_be_bytes());
        push_number(&mut out, self.headers.len());
        for header in &self.headers {
            push(&mut out, Some(header.name.as_bytes()));
            push(&mut out, header.value.as_deref());
        }
        push(&mut out, self.prior);
        if self.old.is_some() && self.old == self.prior {
            out.extend_from_slice(&SAME_AS_PRIOR.to_be_bytes());
        } else {
            push(&mut out, self.old);
        }
        push(&mut out, self.new);
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        out
    }

    /// `None` for bytes that are no such row.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let timestamp = Timestamp::from_millis(rest.i64()?);
        let offset = rest.i64()?;
        let topic = std::str::from_utf8(rest.bytes()??).ok()?;
        let partition = rest.i32()?;
        let mut headers = Headers::new();
        for _ in 0..rest.i32()?.max(0) {
            let name = std::str::from_utf8(rest.bytes()??).ok()?;
            headers.push(name, rest.bytes()?.map(Bytes::copy_from_slice));
        }
        let prior = rest.bytes()?;
        let old = match rest.i32()? {
            SAME_AS_PRIOR => prior,
            length => rest.sized(length)?,
        };
        let new = rest.bytes()?;
        let time_ms = rest.i64()?;
        rest.0.is_empty().then_some(Self {
            timestamp,
            offset,
            topic,
            partition,
            headers,
            prior,
            old,
            new,
            time_ms,
        })
    }

    /// The bytes that Kafka Streams counts for it against the bound.
    pub(super) fn counted_bytes(&self, key: &[u8]) -> u64 {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let old = if self.old == self.prior { None } else { self.old };
        // Time in the buffer, timestamp and offset of 8 bytes each, partition of 4.
        let fixed = 28;
        let sum = fixed
            + key.len()
            + self.topic.len()
            + self.headers.byte_len()
            + length(self.prior)
            + length(old)
            + length(self.new);
        u64::try_from(sum).unwrap_or(u64::MAX)
    }
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    let number = i32::try_from(number).expect("records are smaller than 2 GiB");
    out.extend_from_slice(&number.to_be_bytes());
}

fn push(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            push_number(out, bytes.len());
            out.extend_from_slice(bytes);
        }
        None => out.extend_from_slice(&NULL.to_be_bytes()),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn i32(&mut self) -> Option<i32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*head))
    }

    fn i64(&mut self) -> Option<i64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_be_bytes(*head))
    }

    /// Bytes after their length; the outer `None` for a length that is wrong.
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.i32()?;
        self.sized(length)
    }

    fn sized(&mut self, length: i32) -> Option<Option<&'a [u8]>> {
        if length == NULL {
            return Some(None);
        }
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> BufferedRow<'static> {
        BufferedRow {
            timestamp: Timestamp::from_millis(5),
            offset: 7,
            topic: "in",
            partition: 3,
            headers: Headers::new().with("h", "1"),
            prior: Some(b"p"),
            old: Some(b"o"),
            new: None,
            time_ms: 9,
        }
    }

    #[test]
    fn rows_are_read_as_written() {
        let mut nullable = row();
        nullable.headers.push("null", None);
        for row in [
            row(),
            nullable,
            BufferedRow {
                old: Some(b"p"),
                ..row()
            },
            BufferedRow {
                prior: None,
                old: None,
                ..row()
            },
            BufferedRow::default(),
        ] {
            assert_eq!(BufferedRow::decode(&row.encode()), Some(row));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_and_allocate_nothing() {
        let whole = row().encode();
        for cut in 0..whole.len() {
            assert_eq!(BufferedRow::decode(&whole[..cut]), None, "cut at {cut}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert_eq!(BufferedRow::decode(&longer), None);
        // The length of the topic, then the number of headers, as large as they can be.
        for at in [16, 26] {
            let mut lying = whole.clone();
            lying[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
            assert_eq!(BufferedRow::decode(&lying), None, "lying at {at}");
        }
    }

    #[test]
    fn the_value_before_counts_once_where_it_is_the_same() {
        let different = row().counted_bytes(b"key");
        let same = BufferedRow {
            old: Some(b"p"),
            ..row()
        };
        assert_eq!(different - same.counted_bytes(b"key"), 1);
        assert_eq!(different, 28 + 3 + 2 + 2 + 1 + 1);
    }
}
