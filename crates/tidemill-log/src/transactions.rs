//! Which offsets readers of committed records must wait for, and which transactions they must drop.
//!
//! ```text
//! .txnindex  34 bytes an entry: version i16 = 0 | producer id i64 | first offset i64 | last offset i64
//!            | last stable offset when it was written i64
//! ```

use std::collections::BTreeMap;

use crate::types::{Offset, ProducerId};

pub(crate) const ENTRY_LEN: usize = 34;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who began it.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    pub(crate) fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let numbers = [
            self.producer_id.0,
            self.first_offset.0,
            self.last_offset.0,
            self.last_stable_offset.0,
        ];
        let (_version, rest) = bytes.split_at_mut(2);
        for (place, number) in rest.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (_version, rest) = bytes.split_first_chunk::<2>()?;
        let mut numbers = rest
            .chunks_exact(8)
            .filter_map(|n| n.try_into().ok())
            .map(i64::from_be_bytes);
        Some(Self {
            producer_id: ProducerId(numbers.next()?),
            first_offset: Offset(numbers.next()?),
            last_offset: Offset(numbers.next()?),
            last_stable_offset: Offset(numbers.next()?),
        })
    }
}

/// The transactions of one log that readers must know of.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    // Open ones by first offset.
    open: BTreeMap<Offset, ProducerId>,
    // Ended ones by first offset, with their marker: unstable until the high watermark has passed the marker.
    ending: BTreeMap<Offset, Offset>,
    // Invariant: in the order of their markers.
    aborted: Vec<AbortedTransaction>,
}

impl Transactions {
    pub(crate) fn begin(&mut self, producer: ProducerId, first_offset: Offset) {
        self.open.insert(first_offset, producer);
    }

    /// Ends the transaction that began at `first_offset` with a marker at `marker`.
    pub(crate) fn end(&mut self, first_offset: Offset, marker: Offset) {
        self.open.remove(&first_offset);
        self.ending.insert(first_offset, marker);
    }

    pub(crate) fn push_aborted(&mut self, aborted: AbortedTransaction) {
        self.aborted.push(aborted);
    }

    /// Forgets ended transactions whose markers lie below `high_watermark`.
    pub(crate) fn advance(&mut self, high_watermark: Offset) {
        self.ending.retain(|_, marker| *marker >= high_watermark);
    }

    /// The first offset of any transaction that is open, or whose end readers cannot see yet.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.first_key_value().map(|(offset, _)| *offset);
        let ending = self.ending.first_key_value().map(|(offset, _)| *offset);
        open.into_iter().chain(ending).min()
    }

    /// The first offset of an open transaction other than the one that began at `but`.
    pub(crate) fn first_open_except(&self, but: Offset) -> Option<Offset> {
        self.open.keys().find(|first| **first != but).copied()
    }

    /// The aborted transactions that touch `from..next`.
    pub(crate) fn aborted_in(&self, from: Offset, next: Offset) -> Vec<AbortedTransaction> {
        let touches = |txn: &&AbortedTransaction| txn.last_offset >= from && txn.first_offset < next;
        self.aborted.iter().filter(touches).copied().collect()
    }

    /// All aborted transactions that are known.
    pub(crate) fn aborted(&self) -> Vec<AbortedTransaction> {
        self.aborted.clone()
    }

    /// Forgets aborted transactions whose markers are gone.
    pub(crate) fn forget_markers(&mut self, markers: &[Offset]) {
        self.aborted.retain(|txn| !markers.contains(&txn.last_offset));
    }

    /// Forgets what ended before `start`.
    pub(crate) fn forget_before(&mut self, start: Offset) {
        self.aborted.retain(|txn| txn.last_offset >= start);
    }
}
