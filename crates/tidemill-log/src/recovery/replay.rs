//! What is derived from the batches: producers, transactions, leader epochs. Read from the newest snapshot, and from
//! the batches after it.

use std::io::IoSlice;
use std::sync::Arc;

use super::{Context, Files};
use crate::disk::{self, DiskError};
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::{ProducerState, TransactionChange};
use crate::records;
use crate::segment::{self, Located, Segment};
use crate::transactions::{AbortedTransaction, ENTRY_LEN, Transactions};
use crate::types::Offset;

/// Rebuilds the state before `log_end`.
pub(super) fn rebuild(
    context: &Context<'_>,
    files: &Files,
    segments: &[Arc<Segment>],
    log_end: Offset,
    epochs: &mut LeaderEpochs,
) -> Result<(ProducerState, Transactions), DiskError> {
    let (from, producers) = newest_snapshot(context, files, log_end)?;
    let mut replay = Replay {
        producers,
        transactions: Transactions::default(),
        aborted: Vec::new(),
    };
    for aborted in stored_aborted(context, files, from)? {
        replay.transactions.push_aborted(aborted);
    }
    for (producer, first_offset) in replay.producers.open_transactions() {
        replay.transactions.begin(producer, first_offset);
    }
    let first = segments
        .partition_point(|s| s.base_offset() <= from)
        .saturating_sub(1);
    for segment in segments.get(first..).unwrap_or_default() {
        replay.aborted.clear();
        let mut position = segment.position_before(from.max(segment.base_offset()))?;
        loop {
            for batch in segment.scan(position) {
                let batch = batch?;
                if batch.header.base_offset >= from {
                    replay.take(segment, &batch)?;
                    epochs.assign(batch.header.leader_epoch, batch.header.base_offset)?;
                }
            }
            match segment.damage_from(position) {
                Some(damage) if damage.end > position => position = damage.end,
                _ => break,
            }
        }
        store_aborted(context, segment, from, &replay.aborted)?;
    }
    replay.transactions.advance(log_end);
    Ok((replay.producers, replay.transactions))
}

struct Replay {
    producers: ProducerState,
    transactions: Transactions,
    // What the batches of the segment at hand told.
    aborted: Vec<AbortedTransaction>,
}

impl Replay {
    fn take(&mut self, segment: &Segment, batch: &Located) -> Result<(), DiskError> {
        let header = &batch.header;
        let Some(producer) = header.producer else {
            return Ok(());
        };
        let marker = match header.attributes.is_control() {
            true => records::marker(&segment.read_batch(batch)?),
            false => None,
        };
        match self.producers.record(producer, header, marker) {
            Some(TransactionChange::Begun {
                producer,
                first_offset,
            }) => {
                self.transactions.begin(producer, first_offset);
            }
            Some(TransactionChange::Ended {
                producer,
                first_offset,
                committed,
            }) => {
                let last_offset = header.last_offset();
                if !committed {
                    let stable = self.transactions.first_open_except(first_offset);
                    let last_stable_offset = stable.unwrap_or(last_offset.plus(1));
                    let aborted = AbortedTransaction {
                        producer_id: producer,
                        first_offset,
                        last_offset,
                        last_stable_offset,
                    };
                    self.transactions.push_aborted(aborted);
                    self.aborted.push(aborted);
                }
                self.transactions.end(first_offset, last_offset);
            }
            None => {}
        }
        Ok(())
    }
}

/// The newest readable snapshot that is not ahead of the log, and its offset. Those ahead, or torn, are removed, and
/// those of earlier closings.
fn newest_snapshot(
    context: &Context<'_>,
    files: &Files,
    log_end: Offset,
) -> Result<(Offset, ProducerState), DiskError> {
    let mut newest = None;
    for (base, suffixes) in files.iter().rev() {
        if !suffixes.contains_key(segment::SNAPSHOT)
            || (newest.is_some() && suffixes.contains_key(segment::LOG))
        {
            continue;
        }
        let path = segment::file_path(context.dir, *base, segment::SNAPSHOT);
        if newest.is_none() && *base <= log_end {
            let bytes = disk::read_if_exists(&**context.disk, &path)?.unwrap_or_default();
            newest = ProducerState::from_snapshot(&bytes).map(|state| (*base, state));
            if newest.is_some() {
                continue;
            }
        }
        disk::remove_if_exists(&**context.disk, &path)?;
    }
    Ok(newest.unwrap_or_default())
}

/// The aborted transactions in the indexes that ended before `before`, where the replay begins.
fn stored_aborted(
    context: &Context<'_>,
    files: &Files,
    before: Offset,
) -> Result<Vec<AbortedTransaction>, DiskError> {
    let mut all = Vec::new();
    for (base, suffixes) in files {
        if *base < before && suffixes.contains_key(segment::TXN_INDEX) {
            let path = segment::file_path(context.dir, *base, segment::TXN_INDEX);
            let bytes = disk::read_if_exists(&**context.disk, &path)?.unwrap_or_default();
            let stored = bytes
                .chunks_exact(ENTRY_LEN)
                .filter_map(AbortedTransaction::decode);
            all.extend(stored.filter(|aborted| aborted.last_offset < before));
        }
    }
    Ok(all)
}

/// Writes the transaction index of a segment that was replayed from `from` on: what it had before that, and `aborted`.
fn store_aborted(
    context: &Context<'_>,
    segment: &Segment,
    from: Offset,
    aborted: &[AbortedTransaction],
) -> Result<(), DiskError> {
    let path = segment.path(segment::TXN_INDEX);
    let before = disk::read_if_exists(&**context.disk, &path)?;
    if before.is_none() && aborted.is_empty() {
        return Ok(());
    }
    let before = before.unwrap_or_default();
    let kept = before
        .chunks_exact(ENTRY_LEN)
        .filter_map(AbortedTransaction::decode);
    let kept = kept.filter(|entry| entry.last_offset < from);
    let bytes: Vec<u8> = kept
        .chain(aborted.iter().copied())
        .flat_map(|entry| entry.encode())
        .collect();
    if bytes == before {
        return Ok(());
    }
    let file = disk::create_empty(&**context.disk, &path)?;
    file.write_at(0, &mut [IoSlice::new(&bytes)])
}
