//! A batch's header, read without touching its records.

use crate::compression::{Compression, DecompressError};

/// The bytes before a batch's records.
pub const HEADER_LEN: usize = 61;

/// The bytes that the length field does not count: the base offset and itself.
pub(super) const UNCOUNTED_LEN: usize = 12;

/// Where the CRC's coverage starts.
pub(super) const CRC_FROM: usize = 21;

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end inside the batch.
    #[error("a batch of {needed} bytes, {left} there")]
    Truncated {
        /// What the batch needs, as far as it can be known.
        needed: usize,
        /// What is there.
        left: usize,
    },
    /// A length that is shorter than a header.
    #[error("a batch length of {0}")]
    Length(i32),
    /// Another format than the one since Kafka 0.11.
    #[error("magic {0}, not 2")]
    Magic(i8),
    /// The content is not what the sender sent.
    #[error("CRC {stored:08x} in the header, {computed:08x} of the bytes")]
    Crc {
        /// The header's.
        stored: u32,
        /// The content's.
        computed: u32,
    },
    /// A codec number that means nothing.
    #[error("codec {0}")]
    Codec(i16),
    /// The header's counts contradict each other or the records.
    #[error("{expected} records by the header, {found} by the {by}")]
    Count {
        /// What the header's record count says.
        expected: i64,
        /// What was found.
        found: i64,
        /// Where: "offsets" or "records".
        by: &'static str,
    },
    /// A base offset other than 0 in a batch that a producer sent.
    #[error("base offset {0} from a producer")]
    BaseOffset(i64),
    /// A control batch from a client.
    #[error("a control batch from a client")]
    Control,
    /// A record that does not hold together.
    #[error("record {index}: {what}")]
    Record {
        /// Which one, from 0.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The records could not be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
}

/// Whose clock a batch's timestamps are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's, each record its own.
    CreateTime,
    /// The broker's: all records have the batch's max timestamp.
    LogAppendTime,
}

/// A batch's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
    pub(super) const TRANSACTIONAL: i16 = 1 << 4;
    pub(super) const CONTROL: i16 = 1 << 5;
    pub(super) const DELETE_HORIZON: i16 = 1 << 6;
    const CODEC: i16 = 0b111;

    /// The codec, or the number that is none.
    pub fn compression(self) -> Result<Compression, BatchError> {
        let id = self.0 & Self::CODEC;
        Compression::from_id(id).ok_or(BatchError::Codec(id))
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(self) -> TimestampType {
        match self.0 & Self::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether it is a marker of the broker's and not data.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time from which tombstones may go.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// What stands before a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first record's offset.
    pub base_offset: i64,
    /// The whole batch in bytes, this header included.
    pub len: usize,
    /// The epoch of the leader that appended it, -1 before that.
    pub leader_epoch: i32,
    /// The CRC32C as sent.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// From the first record's offset to the last one's; compaction keeps it when records go.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to.
    pub base_timestamp: i64,
    /// The largest timestamp in the batch.
    pub max_timestamp: i64,
    /// The idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The first record's sequence number, or -1.
    pub base_sequence: i32,
    /// How many records the batch says it has.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`, which need not hold the rest of the batch.
    ///
    /// # Errors
    /// Fewer bytes than a header, a length shorter than a header, another magic, negative counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let truncated = BatchError::Truncated {
            needed: HEADER_LEN,
            left: bytes.len(),
        };
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(truncated)?;
        let length = i32::from_be_bytes(field(bytes, 8));
        let magic = i8::from_be_bytes(field(bytes, 16));
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let counted = usize::try_from(length).map_err(|_| BatchError::Length(length))?;
        if counted < HEADER_LEN - UNCOUNTED_LEN {
            return Err(BatchError::Length(length));
        }
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            len: counted + UNCOUNTED_LEN,
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: Attributes(i16::from_be_bytes(field(bytes, 21))),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        };
        if header.record_count < 0 || header.last_offset_delta < 0 {
            return Err(header.counts_differ());
        }
        Ok(header)
    }

    /// The last record's offset.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The last record's sequence number, which wraps to 0 after 2^31 - 1; -1 without idempotence.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence {
            -1 => -1,
            base => base.wrapping_add(self.last_offset_delta) & i32::MAX,
        }
    }

    /// The checks Kafka makes on what a client produces, as far as the header shows: base offset 0, at least one record, as many
    /// offsets as records, a known codec, no control batch.
    ///
    /// # Errors
    /// The first of those that does not hold.
    pub fn check_produced(&self) -> Result<(), BatchError> {
        if self.base_offset != 0 {
            return Err(BatchError::BaseOffset(self.base_offset));
        }
        if self.record_count == 0 || i64::from(self.record_count) != i64::from(self.last_offset_delta) + 1 {
            return Err(self.counts_differ());
        }
        if self.attributes.is_control() {
            return Err(BatchError::Control);
        }
        self.attributes.compression().map(drop)
    }

    fn counts_differ(&self) -> BatchError {
        let found = i64::from(self.last_offset_delta) + 1;
        BatchError::Count {
            expected: i64::from(self.record_count),
            found,
            by: "offsets",
        }
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let field = bytes.get(at..at + N).and_then(|field| field.first_chunk());
    *field.expect("every field ends before the header does")
}
