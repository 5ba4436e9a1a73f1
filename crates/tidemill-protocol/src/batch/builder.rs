//! Builds a batch record by record.

use bytes::Bytes;

use super::header::{
    Attributes, BatchError, BatchHeader, CRC_FROM, HEADER_LEN, TimestampType, UNCOUNTED_LEN,
};
use super::record::Header;
use crate::compression::Compression;
use crate::varint;

/// Whose batch it is: what idempotence and transactions need in a batch's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence number of the batch's first record.
    pub base_sequence: i32,
}

impl ProducerStamp {
    const NONE: ProducerStamp = ProducerStamp {
        id: -1,
        epoch: -1,
        base_sequence: -1,
    };
}

/// A batch under construction. Offsets count up from 0, as a producer sends them; a log starts from its own, perhaps with gaps.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    // Invariant: a header's room, then the records so far, uncompressed.
    bytes: Vec<u8>,
    compression: Compression,
    flags: i16,
    producer: ProducerStamp,
    base_offset: i64,
    leader_epoch: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    last_offset_delta: i32,
    record_count: i32,
    rewritten: Option<Rewritten>,
}

/// What a batch that stands for another one takes from it, whichever records it has.
#[derive(Debug, Clone, Copy)]
struct Rewritten {
    last_offset_delta: i32,
    max_timestamp: i64,
    // Whether the max timestamp is that of every record, or of a batch that once had some.
    keeps_max_timestamp: bool,
    has_delete_horizon: bool,
}

impl BatchBuilder {
    /// An empty batch whose records will be compressed together with that codec.
    pub fn new(compression: Compression) -> Self {
        Self::with_capacity(compression, 0)
    }

    /// An empty batch with room for that many bytes of uncompressed records.
    pub fn with_capacity(compression: Compression, bytes: usize) -> Self {
        let mut room = Vec::with_capacity(HEADER_LEN + bytes);
        room.resize(HEADER_LEN, 0);
        BatchBuilder {
            bytes: room,
            compression,
            flags: 0,
            producer: ProducerStamp::NONE,
            base_offset: 0,
            leader_epoch: -1,
            base_timestamp: 0,
            max_timestamp: -1,
            last_offset_delta: 0,
            record_count: 0,
            rewritten: None,
        }
    }

    /// A batch for some of the records of the batch with this header, as compaction leaves it: offsets, producer, codec
    /// and flags stay. With a delete horizon its base timestamp is that horizon.
    ///
    /// # Errors
    /// An unknown codec.
    pub fn rewriting(header: &BatchHeader, delete_horizon: Option<i64>) -> Result<Self, BatchError> {
        let kept = Attributes::LOG_APPEND_TIME | Attributes::TRANSACTIONAL | Attributes::CONTROL;
        let horizon = delete_horizon.map_or(0, |_| Attributes::DELETE_HORIZON);
        let producer = ProducerStamp {
            id: header.producer_id,
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        };
        Ok(BatchBuilder {
            flags: header.attributes.0 & kept | horizon,
            producer,
            base_offset: header.base_offset,
            leader_epoch: header.leader_epoch,
            base_timestamp: delete_horizon.unwrap_or(header.base_timestamp),
            rewritten: Some(Rewritten {
                last_offset_delta: header.last_offset_delta,
                max_timestamp: header.max_timestamp,
                keeps_max_timestamp: header.attributes.timestamp_type() == TimestampType::LogAppendTime,
                has_delete_horizon: delete_horizon.is_some(),
            }),
            ..Self::with_capacity(header.attributes.compression()?, header.len - HEADER_LEN)
        })
    }

    /// Says which producer it is from.
    pub fn producer(mut self, producer: ProducerStamp) -> Self {
        self.producer = producer;
        self
    }

    /// Makes it part of a transaction.
    pub fn transactional(mut self) -> Self {
        self.flags |= Attributes::TRANSACTIONAL;
        self
    }

    /// Makes it a control batch.
    pub fn control(mut self) -> Self {
        self.flags |= Attributes::CONTROL;
        self
    }

    /// Sets what a leader assigns: for who writes to a log himself. Before the first record.
    pub fn assigned(mut self, base_offset: i64, leader_epoch: i32) -> Self {
        assert_eq!(
            self.record_count, 0,
            "records already count from another base offset"
        );
        (self.base_offset, self.leader_epoch) = (base_offset, leader_epoch);
        self
    }

    /// Adds a record at the next offset.
    pub fn push<'h, H>(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: H)
    where
        H: IntoIterator<Item = Header<'h>, IntoIter: Clone + ExactSizeIterator>,
    {
        let next = match self.record_count {
            0 => self.base_offset,
            _ => self.base_offset + i64::from(self.last_offset_delta) + 1,
        };
        self.push_at(next, timestamp, key, value, headers);
    }

    /// Adds a record at an offset of its own, as compaction leaves them.
    ///
    /// # Panics
    /// If the offset is not above the last one, or 2^31 above the batch's first.
    pub fn push_at<'h, H>(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) where
        H: IntoIterator<Item = Header<'h>, IntoIter: Clone + ExactSizeIterator>,
    {
        let delta = i32::try_from(offset - self.base_offset).expect("a batch spans less than 2^31 offsets");
        assert!(
            delta >= 0,
            "offset {offset} before the batch's base {}",
            self.base_offset
        );
        assert!(
            self.record_count == 0 || delta > self.last_offset_delta,
            "offset {offset} is not the next"
        );
        if self.record_count == 0 && !self.rewritten.is_some_and(|r| r.has_delete_horizon) {
            self.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        self.write_record(timestamp_delta, delta, key, value, headers.into_iter());
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = delta;
        self.record_count += 1;
    }

    fn write_record<'h>(
        &mut self,
        timestamp_delta: i64,
        offset_delta: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
    ) {
        let count = headers.len() as i64;
        let in_headers: usize = headers
            .clone()
            .map(|header| len_of(Some(header.key)) + len_of(header.value))
            .sum();
        let len = 1
            + varint::len_u64(varint::zigzag(timestamp_delta))
            + varint::len_u64(varint::zigzag(i64::from(offset_delta)))
            + len_of(key)
            + len_of(value)
            + varint::len_u64(varint::zigzag(count))
            + in_headers;
        let bytes = &mut self.bytes;
        bytes.reserve(len + varint::VARINT_LEN_MAX);
        write_varint(bytes, len as i64);
        bytes.push(0);
        write_varint(bytes, timestamp_delta);
        write_varint(bytes, i64::from(offset_delta));
        write_nullable(bytes, key);
        write_nullable(bytes, value);
        write_varint(bytes, count);
        for header in headers {
            write_nullable(bytes, Some(header.key));
            write_nullable(bytes, header.value);
        }
    }

    /// How many records there are.
    pub fn record_count(&self) -> usize {
        self.record_count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The batch's size if its records were not compressed.
    pub fn uncompressed_len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished batch.
    pub fn build(mut self) -> Bytes {
        if let Some(rewritten) = self.rewritten {
            self.last_offset_delta = rewritten.last_offset_delta;
            if rewritten.keeps_max_timestamp || self.record_count == 0 {
                self.max_timestamp = rewritten.max_timestamp;
            }
            if self.record_count == 0 {
                // Nothing is not compressed: a codec would make something of it.
                self.compression = Compression::None;
            }
        }
        let mut bytes = match self.compression {
            Compression::None => self.bytes,
            codec => {
                let (header, records) = self
                    .bytes
                    .split_at_checked(HEADER_LEN)
                    .expect("the header's room");
                let mut bytes = Vec::with_capacity(HEADER_LEN + records.len() / 2);
                bytes.extend_from_slice(header);
                codec.compress(records, &mut bytes);
                bytes
            }
        };
        let len = bytes.len() - UNCOUNTED_LEN;
        let attributes = self.flags | self.compression.id();
        let header: &mut [u8; HEADER_LEN] = bytes.first_chunk_mut().expect("the header's room");
        let mut at = 0;
        let mut put = |field: &[u8]| {
            header
                .get_mut(at..at + field.len())
                .expect("the fields are a header long")
                .copy_from_slice(field);
            at += field.len();
        };
        put(&self.base_offset.to_be_bytes());
        put(&i32::try_from(len)
            .expect("a batch is at most 2 GiB")
            .to_be_bytes());
        put(&self.leader_epoch.to_be_bytes());
        put(&[2]);
        put(&[0; 4]);
        put(&attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer.id.to_be_bytes());
        put(&self.producer.epoch.to_be_bytes());
        put(&self.producer.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        let (head, covered) = bytes.split_at_mut_checked(CRC_FROM).expect("the header's room");
        *head.last_chunk_mut().expect("the CRC is the head's end") = crc32c::crc32c(covered).to_be_bytes();
        Bytes::from(bytes)
    }
}

fn len_of(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varint::len_u64(varint::zigzag(bytes.len() as i64)) + bytes.len(),
    }
}

fn write_varint(out: &mut Vec<u8>, value: i64) {
    varint::write_u64(varint::zigzag(value), |byte| out.push(byte));
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    write_varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}
