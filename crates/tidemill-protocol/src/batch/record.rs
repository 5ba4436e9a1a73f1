//! The records inside a batch, borrowed from its payload.

use std::borrow::Cow;

use super::header::{BatchError, BatchHeader, TimestampType};
use crate::varint;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the epoch, by the producer's or the broker's clock.
    pub timestamp: i64,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers, in order, duplicates kept.
    pub headers: Headers<'a>,
}

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key's bytes: UTF-8 by Kafka's rules, but checked by nobody.
    pub key: &'a [u8],
    /// The value, or null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// A header with a value.
    pub fn new(key: &'a str, value: &'a [u8]) -> Self {
        Header {
            key: key.as_bytes(),
            value: Some(value),
        }
    }

    /// The key as text, with a replacement character where it is not.
    pub fn key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

/// A record's headers, read one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    // Invariant: `rest` holds `left` whole headers and nothing else; the record was checked.
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut cursor = Cursor(self.rest);
        let header = cursor
            .header()
            .expect("the headers were checked with their record");
        self.rest = cursor.0;
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The records of a payload. Everything is checked: an error is the last item.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    cursor: Cursor<'a>,
    base_offset: i64,
    base_timestamp: i64,
    // The broker's time, which replaces that of every record.
    log_append_time: Option<i64>,
    count: usize,
    index: usize,
}

impl<'a> RecordIter<'a> {
    pub(super) fn new(header: &BatchHeader, payload: &'a [u8]) -> Self {
        let log_append_time = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        RecordIter {
            cursor: Cursor(payload),
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time,
            count: usize::try_from(header.record_count).unwrap_or(0),
            index: 0,
        }
    }

    fn record(&mut self) -> Result<Record<'a>, &'static str> {
        let mut cursor = Cursor(self.cursor.record()?);
        cursor.take(1)?;
        let timestamp_delta = cursor.i64()?;
        let offset_delta = cursor.i32()?;
        let key = cursor.nullable()?;
        let value = cursor.nullable()?;
        let headers = cursor.headers()?;
        let timestamp = match self.log_append_time {
            Some(time) => time,
            None => self.base_timestamp.wrapping_add(timestamp_delta),
        };
        let offset = self.base_offset.wrapping_add(i64::from(offset_delta));
        Ok(Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index >= self.count {
            let leftover = !std::mem::take(&mut self.cursor.0).is_empty();
            return leftover.then_some(Err(BatchError::Record {
                index,
                what: "more bytes than records",
            }));
        }
        self.index += 1;
        let record = self.record().map_err(|what| BatchError::Record { index, what });
        if record.is_err() {
            (self.cursor, self.count) = (Cursor(&[]), 0);
        }
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The least a record can have is 7 bytes, so a count that lies reserves no more than the payload could hold.
        let left = (self.count - self.index.min(self.count)).min(self.cursor.0.len() / RECORD_LEN_MIN);
        (left, Some(self.count - self.index.min(self.count) + 1))
    }
}

/// Length, attributes, timestamp delta, offset delta, key length, value length and header count, a byte each.
const RECORD_LEN_MIN: usize = 7;

/// Counts uncompressed records by their lengths alone.
///
/// # Errors
/// A length that is broken or does not end with the payload.
pub fn count_records(payload: &[u8]) -> Result<usize, BatchError> {
    let mut cursor = Cursor(payload);
    let mut count = 0;
    while !cursor.0.is_empty() {
        cursor
            .record()
            .map_err(|what| BatchError::Record { index: count, what })?;
        count += 1;
    }
    Ok(count)
}

#[derive(Debug, Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("a length beyond its end")?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn i32(&mut self) -> Result<i32, &'static str> {
        let (value, rest) = varint::read_i32(self.0).ok_or("a broken varint")?;
        self.0 = rest;
        Ok(value)
    }

    #[inline]
    fn i64(&mut self) -> Result<i64, &'static str> {
        let (value, rest) = varint::read_i64(self.0).ok_or("a broken varint")?;
        self.0 = rest;
        Ok(value)
    }

    #[inline]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        match self.i32()? {
            -1 => Ok(None),
            len => self
                .take(usize::try_from(len).map_err(|_| "a negative length")?)
                .map(Some),
        }
    }

    /// The bytes of the next record, without its length.
    #[inline]
    fn record(&mut self) -> Result<&'a [u8], &'static str> {
        let len = usize::try_from(self.i32()?).map_err(|_| "a negative length")?;
        if len < RECORD_LEN_MIN - 1 {
            return Err("too short for a record");
        }
        self.take(len)
    }

    /// The headers, which must fill the rest of the record.
    #[inline]
    fn headers(&mut self) -> Result<Headers<'a>, &'static str> {
        let count = usize::try_from(self.i32()?).map_err(|_| "a negative header count")?;
        let headers = Headers {
            left: count,
            rest: self.0,
        };
        for _ in 0..count {
            self.header()?;
        }
        if self.0.is_empty() {
            Ok(headers)
        } else {
            Err("longer than its content")
        }
    }

    fn header(&mut self) -> Result<Header<'a>, &'static str> {
        let key = self.nullable()?.ok_or("a header without a key")?;
        let value = self.nullable()?;
        Ok(Header { key, value })
    }
}
