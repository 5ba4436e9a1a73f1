//! What stays of a batch.
//!
//! | record or batch | goes when |
//! |---|---|
//! | a record | a later one of its key is in the map, its transaction was aborted, or it has no key |
//! | a tombstone | the same, or its batch's delete horizon has passed |
//! | a transaction's marker | nothing of the transaction is left, and since then its delete horizon has passed |
//! | a batch without records | always, unless it is the last one of a producer that is not forgotten |
//!
//! The delete horizon is set when compaction first sees a tombstone, or a marker that marks nothing any more: readers
//! that began before have `delete.retention.ms` to come by. A producer's last batch keeps its header, because that is
//! where the producer's sequence is read from when the log is opened.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tidemill_protocol::batch::{Batch, BatchBuilder, BatchError, Record};

use super::OffsetMap;
use crate::batch::{BatchHeader, Producer};
use crate::records::{self, UNCOMPRESSED_BYTES_MAX};
use crate::transactions::AbortedTransaction;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// The last thing a producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastWritten {
    pub(crate) epoch: ProducerEpoch,
    /// Where its last batch of data ends; `None` when a marker is all there is of the epoch.
    pub(crate) data: Option<Offset>,
}

/// Which batches belong to aborted transactions.
#[derive(Debug, Default)]
pub(crate) struct AbortedData {
    by_producer: HashMap<ProducerId, Vec<(Offset, Offset)>>,
}

impl AbortedData {
    pub(crate) fn new(aborted: &[AbortedTransaction]) -> Self {
        let mut by_producer: HashMap<_, Vec<_>> = HashMap::new();
        for txn in aborted {
            let range = (txn.first_offset, txn.last_offset);
            by_producer.entry(txn.producer_id).or_default().push(range);
        }
        Self { by_producer }
    }

    /// Whether this batch of data is one of an aborted transaction.
    pub(crate) fn contains(&self, header: &BatchHeader) -> bool {
        let Some(producer) = header.producer.filter(|_| header.attributes.is_transactional()) else {
            return false;
        };
        let ranges = self.by_producer.get(&producer.id).map(Vec::as_slice);
        ranges
            .unwrap_or_default()
            .iter()
            .any(|(first, marker)| (*first..=*marker).contains(&header.base_offset))
    }
}

/// What stays of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All of it, as it is.
    Whole,
    /// This.
    Rewritten(Bytes),
    Nothing,
}

/// Decides what stays, batch by batch from the log's start on.
pub(crate) struct Filter<'a> {
    pub(crate) map: &'a OffsetMap,
    /// Batches from here on are not in the map, and stay as they are.
    pub(crate) up_to: Offset,
    pub(crate) now: Timestamp,
    pub(crate) delete_retention_ms: i64,
    pub(crate) aborted: &'a AbortedData,
    pub(crate) last_written: HashMap<ProducerId, LastWritten>,
    /// Producers in the middle of a transaction of which a batch stays, if only its header.
    pub(crate) with_data: HashSet<ProducerId>,
    /// The offsets of markers that went.
    pub(crate) markers_gone: Vec<Offset>,
}

impl Filter<'_> {
    /// What stays of `batch`, whose header is `header`.
    pub(crate) fn apply(&mut self, header: &BatchHeader, batch: &Batch<'_>) -> Result<Kept, BatchError> {
        if header.base_offset >= self.up_to {
            return Ok(Kept::Whole);
        }
        match header.attributes.is_control() {
            true => self.control(header, batch),
            false => self.data(header, batch),
        }
    }

    fn control(&mut self, header: &BatchHeader, batch: &Batch<'_>) -> Result<Kept, BatchError> {
        let (Some(producer), Some(_)) = (header.producer, records::marker(batch.bytes())) else {
            return Ok(Kept::Whole);
        };
        if self.with_data.remove(&producer.id) || self.is_last(producer, header) {
            return Ok(Kept::Whole);
        }
        match self.horizon(batch) {
            Some(horizon) if horizon <= self.now.0 => {
                self.markers_gone.push(header.last_offset());
                Ok(Kept::Nothing)
            }
            Some(_) => Ok(Kept::Whole),
            None => rewrite(batch, Some(self.new_horizon()), || true),
        }
    }

    fn data(&mut self, header: &BatchHeader, batch: &Batch<'_>) -> Result<Kept, BatchError> {
        let aborted = self.aborted.contains(header);
        let horizon = self.horizon(batch);
        let past_horizon = horizon.is_some_and(|horizon| horizon <= self.now.0);
        let payload = batch.payload(UNCOMPRESSED_BYTES_MAX)?;
        // All keys first: see `OffsetMap::hash`.
        let mut keys = Vec::new();
        for record in batch.records(&payload) {
            let record = record?;
            let key = record.key.map(|key| self.map.hash(key));
            keys.push((key, record.offset, record.value.is_none()));
        }
        let (mut kept, mut tombstones) = (0u32, 0u32);
        let stays = keys.iter().map(|(key, offset, is_tombstone)| {
            let newest = key.is_some_and(|key| self.map.newest(key).is_none_or(|newest| *offset >= newest.0));
            let stays = newest && !aborted && !(past_horizon && *is_tombstone);
            kept += u32::from(stays);
            tombstones += u32::from(stays && *is_tombstone);
            stays
        });
        let stays: Vec<bool> = stays.collect();
        let new_horizon = (tombstones > 0 && horizon.is_none()).then(|| self.new_horizon());
        if kept == 0
            && !header
                .producer
                .is_some_and(|producer| self.is_last(producer, header))
        {
            return Ok(Kept::Nothing);
        }
        // An empty batch needs its marker too: without one it would begin a transaction when the log is opened.
        if let Some(producer) = header.producer.filter(|_| header.attributes.is_transactional()) {
            self.with_data.insert(producer.id);
        }
        if kept as usize == stays.len() && new_horizon.is_none() {
            return Ok(Kept::Whole);
        }
        let mut stays = stays.into_iter();
        rewrite(batch, new_horizon.or(horizon), || stays.next() == Some(true))
    }

    /// Whether this is the batch that the producer's sequence, or its epoch, is read from.
    fn is_last(&self, producer: Producer, header: &BatchHeader) -> bool {
        let Some(last) = self.last_written.get(&producer.id) else {
            return false;
        };
        match last.data {
            Some(offset) => !header.attributes.is_control() && offset == header.last_offset(),
            None => header.attributes.is_control() && last.epoch == producer.epoch,
        }
    }

    fn horizon(&self, batch: &Batch<'_>) -> Option<i64> {
        let header = batch.header();
        header
            .attributes
            .has_delete_horizon()
            .then_some(header.base_timestamp)
    }

    fn new_horizon(&self) -> i64 {
        self.now.0.saturating_add(self.delete_retention_ms)
    }
}

/// The batch with only the records that stay, each asked about in their order.
fn rewrite(
    batch: &Batch<'_>,
    horizon: Option<i64>,
    mut stays: impl FnMut() -> bool,
) -> Result<Kept, BatchError> {
    let mut builder = BatchBuilder::rewriting(batch.header(), horizon)?;
    let payload = batch.payload(UNCOMPRESSED_BYTES_MAX)?;
    for record in batch.records(&payload) {
        let record = record?;
        if stays() {
            let Record {
                offset,
                timestamp,
                key,
                value,
                headers,
            } = record;
            builder.push_at(offset, timestamp, key, value, headers);
        }
    }
    Ok(Kept::Rewritten(builder.build()))
}
