//! The records of `__transaction_state`, byte for byte Kafka's. Integers are big-endian.
//!
//! ```text
//! key     version i16 = 0 | transactional id: i16 length, UTF-8
//! value 0 version i16 | producer id i64 | epoch i16 | timeout ms i32 | status i8
//!         | count i32 (-1: none), each: topic text | count i32 | partitions i32 | updated at i64 | started at i64 (-1)
//! value 1 the same with varint lengths plus one, and tagged fields: 0 previous producer id i64, 1 next producer id i64,
//!         2 client's transaction version i16, 3 next epoch i16 (two-phase commit, not read)
//! ```
//! We write version 1, as Kafka does from `transaction.version=1` on, and read both.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::event::{ClientProtocol, TransactionPartition};
use crate::error::RecordError;
use crate::id::{Producer, ProducerId, Timestamp, TopicName, TransactionalId};
use crate::record::{Reader, put_text, put_unsigned_varint};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;
const TAG_PREVIOUS_PRODUCER: u32 = 0;
const TAG_NEXT_PRODUCER: u32 = 1;
const TAG_CLIENT_VERSION: u32 = 2;
/// What Kafka calls `transaction.version=2`.
const EPOCH_PER_TRANSACTION: i16 = 2;

/// Where a transactional id is between two transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionPhase {
    /// A producer instance began; no transaction yet.
    Empty,
    /// A transaction has partitions.
    Ongoing,
    /// It is committed; markers are being written.
    PrepareCommit,
    /// It is aborted; markers are being written.
    PrepareAbort,
    /// All markers of the commit are written.
    CompleteCommit,
    /// All markers of the abort are written.
    CompleteAbort,
}

impl TransactionPhase {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Kafka's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    fn status(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    fn of_status(status: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.status() == status)
    }
}

/// What the log keeps of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionMetadata {
    /// Who may write. The epoch is -1 before the first instance began.
    pub producer: Producer,
    /// The id before this one, where epochs ran out.
    pub previous_id: Option<ProducerId>,
    /// The id to go on with once the markers are written, where epochs ran out.
    pub next_id: Option<ProducerId>,
    /// The epoch before this one, for a client that did not see the answer. Not written: only a living client asks.
    pub last_epoch: Option<i16>,
    /// How long a transaction may take.
    pub timeout_ms: i32,
    /// Where it is.
    pub phase: TransactionPhase,
    /// What the transaction wrote to.
    pub partitions: BTreeSet<TransactionPartition>,
    /// When any of this changed.
    pub updated_at: Timestamp,
    /// When the transaction began.
    pub started_at: Option<Timestamp>,
    /// How the client of the last transaction speaks.
    pub protocol: ClientProtocol,
}

pub(crate) fn encode_key(id: &TransactionalId) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(KEY_VERSION);
    put_text(&mut out, id.as_str());
    out.freeze()
}

pub(crate) fn decode_key(bytes: &[u8]) -> Result<TransactionalId, RecordError> {
    let mut reader = Reader::new(bytes);
    match reader.i16() {
        Some(KEY_VERSION) => reader
            .text()
            .map(TransactionalId::from)
            .ok_or(RecordError::Malformed(KEY_VERSION)),
        Some(unknown) => Err(RecordError::UnknownKey(unknown)),
        None => Err(RecordError::NoKey),
    }
}

impl TransactionMetadata {
    /// Reads the value of a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        match reader.i16() {
            Some(version @ 0..=1) => {
                metadata(&mut reader, version == 1).ok_or(RecordError::Malformed(KEY_VERSION))
            }
            Some(version) => Err(RecordError::UnknownValue {
                key: KEY_VERSION,
                version,
            }),
            None => Err(RecordError::Malformed(KEY_VERSION)),
        }
    }

    /// The value's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(VALUE_VERSION);
        out.put_i64(self.producer.id.0);
        out.put_i16(self.producer.epoch);
        out.put_i32(self.timeout_ms);
        out.put_i8(self.phase.status());
        self.encode_partitions(&mut out);
        out.put_i64(self.updated_at.0);
        out.put_i64(self.started_at.map_or(-1, |at| at.0));
        self.encode_tags(&mut out);
        out.freeze()
    }

    fn encode_partitions(&self, out: &mut BytesMut) {
        let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &self.partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        // Kafka writes null, not an empty list, where there is no transaction.
        if self.phase == TransactionPhase::Empty {
            return put_unsigned_varint(out, 0);
        }
        put_count(out, topics.len());
        for (topic, partitions) in topics {
            put_count(out, topic.as_str().len());
            out.put_slice(topic.as_str().as_bytes());
            put_count(out, partitions.len());
            partitions.iter().for_each(|partition| out.put_i32(*partition));
            put_unsigned_varint(out, 0);
        }
    }

    fn encode_tags(&self, out: &mut BytesMut) {
        let ids = [
            (TAG_PREVIOUS_PRODUCER, self.previous_id),
            (TAG_NEXT_PRODUCER, self.next_id),
        ];
        let ids: Vec<_> = ids.iter().filter_map(|(tag, id)| Some((*tag, (*id)?))).collect();
        let versioned = self.protocol == ClientProtocol::EpochPerTransaction;
        let count = ids.len() + usize::from(versioned);
        put_unsigned_varint(out, u32::try_from(count).expect("three at most"));
        for (tag, id) in ids {
            put_unsigned_varint(out, tag);
            put_unsigned_varint(out, 8);
            out.put_i64(id.0);
        }
        if versioned {
            put_unsigned_varint(out, TAG_CLIENT_VERSION);
            put_unsigned_varint(out, 2);
            out.put_i16(EPOCH_PER_TRANSACTION);
        }
    }
}

/// A compact length: one more than the count, since zero is null.
fn put_count(out: &mut BytesMut, count: usize) {
    put_unsigned_varint(
        out,
        u32::try_from(count).expect("a request is shorter than 2 GiB") + 1,
    );
}

fn metadata(reader: &mut Reader<'_>, flexible: bool) -> Option<TransactionMetadata> {
    let id = ProducerId(reader.i64()?);
    let epoch = reader.i16()?;
    let timeout_ms = reader.i32()?;
    let phase = TransactionPhase::of_status(reader.i8()?)?;
    let partitions = partitions(reader, flexible)?;
    let updated_at = Timestamp(reader.i64()?);
    let started_at = Some(reader.i64()?).filter(|at| *at >= 0).map(Timestamp);
    let mut metadata = TransactionMetadata {
        producer: Producer { id, epoch },
        previous_id: None,
        next_id: None,
        last_epoch: None,
        timeout_ms,
        phase,
        partitions,
        updated_at,
        started_at,
        protocol: ClientProtocol::Classic,
    };
    if flexible {
        tags(reader, &mut metadata)?;
    }
    Some(metadata)
}

fn partitions(reader: &mut Reader<'_>, flexible: bool) -> Option<BTreeSet<TransactionPartition>> {
    // The set grows as partitions are read: the counts alone could ask for anything.
    let mut found = BTreeSet::new();
    for _ in 0..count(reader, flexible)? {
        let topic = TopicName::from(if flexible {
            reader.compact_text()?
        } else {
            reader.text()?
        });
        for _ in 0..count(reader, flexible)? {
            found.insert((topic.clone(), reader.i32()?));
        }
        if flexible {
            reader.skip_tags()?;
        }
    }
    Some(found)
}

fn count(reader: &mut Reader<'_>, flexible: bool) -> Option<i64> {
    if flexible {
        Some(i64::from(reader.unsigned_varint()?).saturating_sub(1))
    } else {
        Some(i64::from(reader.i32()?))
    }
}

fn tags(reader: &mut Reader<'_>, metadata: &mut TransactionMetadata) -> Option<()> {
    for _ in 0..reader.unsigned_varint()? {
        let tag = reader.unsigned_varint()?;
        let length = usize::try_from(reader.unsigned_varint()?).ok()?;
        let mut field = Reader::new(reader.take(length)?);

        match tag {
            TAG_PREVIOUS_PRODUCER => metadata.previous_id = producer_id(&mut field)?,
            TAG_NEXT_PRODUCER => metadata.next_id = producer_id(&mut field)?,
            TAG_CLIENT_VERSION if field.i16()? >= EPOCH_PER_TRANSACTION => {
                metadata.protocol = ClientProtocol::EpochPerTransaction;
            }
            _ => {}
        }
    }
    Some(())
}

/// A producer id; -1 is none.
fn producer_id(field: &mut Reader<'_>) -> Option<Option<ProducerId>> {
    Some(Some(ProducerId(field.i64()?)).filter(|id| id.0 >= 0))
}

#[cfg(test)]
mod tests;
