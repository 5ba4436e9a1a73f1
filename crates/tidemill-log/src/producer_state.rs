//! What a partition knows of its idempotent and transactional producers, so that a batch sent twice is written once.
//!
//! ```text
//! .snapshot   version i16 = 1 | CRC32C u32 of all that follows | count i32 | entries of 46 bytes:
//!             producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
//!             | coordinator epoch i32 | first offset of the open transaction i64 (-1: none)
//! ```
//! `<offset>.snapshot` is the state before `<offset>`. It is written when a segment begins and when the log is closed;
//! opening reads the newest one and replays the batches after it.

use std::collections::{HashMap, VecDeque};

use crate::batch::{BatchHeader, Producer};
use crate::compaction::LastWritten;
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// The batches a producer may have in flight, so the ones that may come again.
const REMEMBERED_BATCHES: usize = 5;
/// The producers that one partition remembers: ids cost a client nothing, and each takes some 200 bytes here.
const PRODUCERS_MAX: usize = 100_000;
const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEADER_LEN: usize = 6;
const SNAPSHOT_ENTRY_LEN: usize = 46;
const NO_SEQUENCE: i32 = -1;

/// Why a producer's batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerError {
    /// A batch is missing before this one, or it was sent twice too late to tell.
    #[error("sequence {} from producer {producer}, expected {}", got.0, expected.0)]
    OutOfOrder {
        /// Who sent it.
        producer: ProducerId,
        /// The sequence that would follow.
        expected: Sequence,
        /// The sequence of the batch.
        got: Sequence,
    },
    /// A newer instance of the producer took over.
    #[error("epoch {} of producer {producer} is fenced by epoch {}", got.0, current.0)]
    Fenced {
        /// Who sent it.
        producer: ProducerId,
        /// The epoch that is in force.
        current: ProducerEpoch,
        /// The epoch of the batch.
        got: ProducerEpoch,
    },
    /// The transaction was ended between the question whether it is open and its first batch here.
    #[error("the transaction of producer {producer} has ended meanwhile")]
    TransactionEnded {
        /// Who sent it.
        producer: ProducerId,
    },
    /// An idempotent producer's batch without a sequence.
    #[error("a batch of producer {producer} has no sequence")]
    NoSequence {
        /// Who sent it.
        producer: ProducerId,
    },
}

/// Where a producer's transaction stood when its coordinator was asked: a marker that comes between the answer and the
/// append makes the append fail. Without that a late batch would open a transaction that nobody ends (KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionGuard {
    producer: ProducerId,
    open: Option<ProducerEpoch>,
    last_marker: Option<Offset>,
}

impl TransactionGuard {
    /// Whether a transaction of this epoch has batches in the log already, so that nobody need be asked.
    pub fn is_open(&self, epoch: ProducerEpoch) -> bool {
        self.open == Some(epoch)
    }
}

/// What a partition knows of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Its id.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record, if it has written in this epoch.
    pub last_sequence: Option<Sequence>,
    /// The time of its last batch or marker.
    pub last_timestamp: Timestamp,
    /// The epoch of the coordinator that wrote its last marker.
    pub coordinator_epoch: Option<i32>,
    /// The first record of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// What to do with a producer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It was written before, with these offsets.
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: Timestamp,
    },
}

/// A batch as remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remembered {
    last_sequence: Sequence,
    last_offset: Offset,
    offset_delta: i32,
    timestamp: Timestamp,
}

impl Remembered {
    fn first_sequence(&self) -> Sequence {
        // Going back by n is going on by 2^31 - n.
        let back = i64::from(self.last_sequence.0) - i64::from(self.offset_delta);
        let wrapped = back.rem_euclid(i64::from(i32::MAX) + 1);
        Sequence(i32::try_from(wrapped).expect("a remainder of 2^31 fits"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    epoch: ProducerEpoch,
    // Invariant: oldest first, at most REMEMBERED_BATCHES, all of `epoch`.
    batches: VecDeque<Remembered>,
    last_timestamp: Timestamp,
    coordinator_epoch: i32,
    open_transaction: Option<Offset>,
    // Of this life of the log only: all who compare it do so within one.
    last_marker: Option<Offset>,
}

impl Entry {
    fn new(epoch: ProducerEpoch, now: Timestamp) -> Self {
        let batches = VecDeque::new();
        Self {
            epoch,
            batches,
            last_timestamp: now,
            coordinator_epoch: -1,
            open_transaction: None,
            last_marker: None,
        }
    }

    fn remember(&mut self, batch: Remembered) {
        if self.batches.len() == REMEMBERED_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }
}

/// A change that readers of committed records must learn of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionChange {
    Begun {
        producer: ProducerId,
        first_offset: Offset,
    },
    Ended {
        producer: ProducerId,
        first_offset: Offset,
        committed: bool,
    },
}

/// What a control batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) committed: bool,
    pub(crate) coordinator_epoch: i32,
}

/// All producers of a partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerState {
    producers: HashMap<ProducerId, Entry>,
}

impl ProducerState {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Judges a client's batch against what is known; changes nothing.
    pub(crate) fn check(&self, producer: Producer, header: &BatchHeader) -> Result<Verdict, ProducerError> {
        let Producer {
            id,
            epoch,
            base_sequence,
        } = producer;
        let got = base_sequence.ok_or(ProducerError::NoSequence { producer: id })?;
        // What a partition never saw, or has forgotten with its records, may begin anywhere.
        let Some(entry) = self.producers.get(&id) else {
            return Ok(Verdict::Append);
        };
        if epoch < entry.epoch {
            return Err(ProducerError::Fenced {
                producer: id,
                current: entry.epoch,
                got: epoch,
            });
        }
        let expected = if epoch > entry.epoch {
            Sequence(0)
        } else {
            if let Some(known) = find(&entry.batches, got, header.last_offset_delta) {
                let base_offset = known.last_offset.plus(-i64::from(known.offset_delta));
                let (last_offset, timestamp) = (known.last_offset, known.timestamp);
                return Ok(Verdict::Duplicate {
                    base_offset,
                    last_offset,
                    timestamp,
                });
            }
            match entry.batches.back() {
                Some(last) => last.last_sequence.plus(1),
                // Only a marker raised the epoch: its producer starts over.
                None => Sequence(0),
            }
        };
        if got == expected {
            Ok(Verdict::Append)
        } else {
            Err(ProducerError::OutOfOrder {
                producer: id,
                expected,
                got,
            })
        }
    }

    /// Judges a coordinator's batch or marker: only its epoch counts.
    pub(crate) fn check_epoch(&self, producer: Producer) -> Result<(), ProducerError> {
        let Producer { id, epoch: got, .. } = producer;
        match self.producers.get(&id) {
            Some(entry) if got < entry.epoch => Err(ProducerError::Fenced {
                producer: id,
                current: entry.epoch,
                got,
            }),
            _ => Ok(()),
        }
    }

    /// Where a producer's transaction stands.
    pub(crate) fn guard(&self, id: ProducerId) -> TransactionGuard {
        let entry = self.producers.get(&id);
        TransactionGuard {
            producer: id,
            open: entry
                .filter(|entry| entry.open_transaction.is_some())
                .map(|entry| entry.epoch),
            last_marker: entry.and_then(|entry| entry.last_marker),
        }
    }

    /// Judges a batch of a transaction that `guard` vouches for.
    pub(crate) fn check_guard(&self, guard: &TransactionGuard) -> Result<(), ProducerError> {
        let producer = guard.producer;
        if self.guard(producer).last_marker == guard.last_marker {
            Ok(())
        } else {
            Err(ProducerError::TransactionEnded { producer })
        }
    }

    /// All producers, by id.
    pub(crate) fn described(&self) -> Vec<ProducerDescription> {
        let described = self.producers.iter().map(|(id, entry)| ProducerDescription {
            producer: *id,
            epoch: entry.epoch,
            last_sequence: entry.batches.back().map(|batch| batch.last_sequence),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: Some(entry.coordinator_epoch).filter(|epoch| *epoch >= 0),
            transaction_start: entry.open_transaction,
        });
        let mut all: Vec<_> = described.collect();
        all.sort_by_key(|description| description.producer);
        all
    }

    /// Takes in a batch that was written; `header` has its final offsets. A marker comes with what it says.
    pub(crate) fn record(
        &mut self,
        producer: Producer,
        header: &BatchHeader,
        marker: Option<Marker>,
    ) -> Option<TransactionChange> {
        let time = header.max_timestamp;
        if !self.producers.contains_key(&producer.id) {
            self.bound();
        }
        let entry = self
            .producers
            .entry(producer.id)
            .or_insert_with(|| Entry::new(producer.epoch, time));
        if entry.epoch != producer.epoch {
            entry.epoch = producer.epoch;
            entry.batches.clear();
        }
        entry.last_timestamp = time;
        if let Some(Marker {
            committed,
            coordinator_epoch,
        }) = marker
        {
            entry.coordinator_epoch = coordinator_epoch;
            entry.last_marker = Some(header.base_offset);
            let first_offset = entry.open_transaction.take()?;
            return Some(TransactionChange::Ended {
                producer: producer.id,
                first_offset,
                committed,
            });
        }
        if let Some(base) = producer.base_sequence {
            entry.remember(Remembered {
                last_sequence: base.plus(header.last_offset_delta),
                last_offset: header.last_offset(),
                offset_delta: header.last_offset_delta,
                timestamp: time,
            });
        }
        if !header.attributes.is_transactional() || entry.open_transaction.is_some() {
            return None;
        }
        entry.open_transaction = Some(header.base_offset);
        Some(TransactionChange::Begun {
            producer: producer.id,
            first_offset: header.base_offset,
        })
    }

    /// Forgets a tenth of the producers, those that have been idle the longest, once there are too many.
    fn bound(&mut self) {
        if self.producers.len() <= PRODUCERS_MAX {
            return;
        }
        let mut times: Vec<_> = self
            .producers
            .values()
            .map(|entry| entry.last_timestamp)
            .collect();
        times.sort_unstable();
        let Some(oldest) = times.get(PRODUCERS_MAX / 10) else {
            return;
        };
        let oldest = *oldest;
        // Those of one time go together, or a flood within one millisecond would never end.
        let is_kept = |entry: &Entry| entry.open_transaction.is_some() || entry.last_timestamp > oldest;
        self.producers.retain(|_, entry| is_kept(entry));
    }

    /// Forgets producers that have been idle longer than `idle_ms_max`, unless a transaction of theirs is open.
    pub(crate) fn expire(&mut self, now: Timestamp, idle_ms_max: i64) {
        self.producers.retain(|_, entry| {
            entry.open_transaction.is_some() || now.since(entry.last_timestamp) < idle_ms_max
        });
    }

    /// The last thing each producer wrote, as compaction must keep it.
    pub(crate) fn last_written(&self) -> HashMap<ProducerId, LastWritten> {
        let last = self.producers.iter().map(|(id, entry)| {
            let last = LastWritten {
                epoch: entry.epoch,
                data: entry.batches.back().map(|batch| batch.last_offset),
            };
            (*id, last)
        });
        last.collect()
    }

    /// The open transactions, as opening a log needs them.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = (ProducerId, Offset)> {
        self.producers
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.open_transaction?)))
    }

    /// The state as a snapshot file.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut entries: Vec<_> = self.producers.iter().collect();
        entries.sort_by_key(|(id, _)| **id);
        let mut body = Vec::with_capacity(4 + entries.len() * SNAPSHOT_ENTRY_LEN);
        let count = i32::try_from(entries.len()).expect("fewer producers than 2^31");
        body.extend_from_slice(&count.to_be_bytes());
        for (id, entry) in entries {
            let none = Remembered {
                last_sequence: Sequence(NO_SEQUENCE),
                last_offset: Offset(-1),
                offset_delta: 0,
                timestamp: Timestamp::NONE,
            };
            let last = entry.batches.back().copied().unwrap_or(none);
            body.extend_from_slice(&id.0.to_be_bytes());
            body.extend_from_slice(&entry.epoch.0.to_be_bytes());
            body.extend_from_slice(&last.last_sequence.0.to_be_bytes());
            body.extend_from_slice(&last.last_offset.0.to_be_bytes());
            body.extend_from_slice(&last.offset_delta.to_be_bytes());
            body.extend_from_slice(&entry.last_timestamp.0.to_be_bytes());
            body.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
            let open = entry.open_transaction.unwrap_or(Offset(-1));
            body.extend_from_slice(&open.0.to_be_bytes());
        }
        let mut bytes = Vec::with_capacity(SNAPSHOT_HEADER_LEN + body.len());
        bytes.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads a snapshot file; `None` when it is not whole.
    pub(crate) fn from_snapshot(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (crc, body) = rest.split_first_chunk()?;
        if i16::from_be_bytes(*version) != SNAPSHOT_VERSION
            || u32::from_be_bytes(*crc) != crc32c::crc32c(body)
        {
            return None;
        }
        let (count, entries) = body.split_first_chunk()?;
        let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
        if entries.len() != count.checked_mul(SNAPSHOT_ENTRY_LEN)? {
            return None;
        }
        let producers = entries
            .chunks_exact(SNAPSHOT_ENTRY_LEN)
            .map(snapshot_entry)
            .collect::<Option<_>>()?;
        Some(Self { producers })
    }
}

fn snapshot_entry(bytes: &[u8]) -> Option<(ProducerId, Entry)> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    let open = i64::from_be_bytes(*rest.first_chunk()?);
    let timestamp = Timestamp(i64::from_be_bytes(*timestamp));
    let mut entry = Entry::new(ProducerEpoch(i16::from_be_bytes(*epoch)), timestamp);
    entry.coordinator_epoch = i32::from_be_bytes(*coordinator_epoch);
    entry.open_transaction = (open >= 0).then_some(Offset(open));
    let last_sequence = i32::from_be_bytes(*last_sequence);
    let offset_delta = i32::from_be_bytes(*offset_delta);
    if last_sequence >= 0 && offset_delta >= 0 {
        entry.batches.push_back(Remembered {
            last_sequence: Sequence(last_sequence),
            last_offset: Offset(i64::from_be_bytes(*last_offset)),
            offset_delta,
            timestamp,
        });
    }
    Some((ProducerId(i64::from_be_bytes(*id)), entry))
}

fn find(batches: &VecDeque<Remembered>, first: Sequence, offset_delta: i32) -> Option<Remembered> {
    batches
        .iter()
        .find(|b| b.first_sequence() == first && b.offset_delta == offset_delta)
        .copied()
}

#[cfg(test)]
mod tests;
