//! The last small batches of a log, as the bytes that arrived: consumers that keep up are served without touching a file.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::types::{Offset, Timestamp};

/// How long a batch stays: a consumer further behind than this reads files anyway, and an idle partition must not
/// hold what busy ones could use.
const AGE_MAX_MS: i64 = 10_000;

/// What a batch takes besides its bytes: its entry in the queue, and what the allocator and the shared bytes keep.
const OVERHEAD: usize = size_of::<CachedBatch>() + 64;

/// Smaller parts that follow each other are sent as one: a part costs the sender more than copying this much.
const JOIN_BELOW: usize = 2048;

/// What all logs' tails may hold together.
#[derive(Debug)]
pub struct TailBudget {
    bytes_max: usize,
    used: AtomicUsize,
}

impl TailBudget {
    /// A budget of `bytes_max` bytes; 0 keeps nothing.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            used: AtomicUsize::new(0),
        }
    }

    fn is_exceeded_by(&self, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(bytes) > self.bytes_max
    }
}

/// One batch of the tail.
#[derive(Debug, Clone)]
pub(crate) struct CachedBatch {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) bytes: Bytes,
    pub(crate) arrived: Timestamp,
}

impl CachedBatch {
    fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// The tail of one log.
#[derive(Debug)]
pub(crate) struct TailCache {
    budget: Arc<TailBudget>,
    // Guards a queue without holes: each batch starts where the one before it ended. Held for pushes, and for
    // collecting handles; never across I/O.
    batches: Mutex<VecDeque<CachedBatch>>,
}

/// What a read found in the tail.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) next_offset: Offset,
}

impl TailCache {
    pub(crate) fn new(budget: Arc<TailBudget>) -> Self {
        Self {
            budget,
            batches: Mutex::default(),
        }
    }

    /// Adds a batch, and lets go of this log's oldest ones while all logs together hold too much. One that finds no
    /// room is not kept, nor is then anything before it.
    pub(crate) fn push(&self, batch: CachedBatch) {
        let cost = batch.cost();
        let mut batches = self.lock();
        while self.budget.is_exceeded_by(cost) {
            match batches.pop_front() {
                Some(oldest) => self.give_back(oldest.cost()),
                None => return,
            }
        }
        self.budget.used.fetch_add(cost, Ordering::Relaxed);
        batches.push_back(batch);
    }

    /// Lets go of batches that have been here too long.
    pub(crate) fn age(&self, now: Timestamp) {
        let mut batches = self.lock();
        while batches
            .front()
            .is_some_and(|oldest| now.since(oldest.arrived) > AGE_MAX_MS)
        {
            let Some(oldest) = batches.pop_front() else { return };
            self.give_back(oldest.cost());
        }
        if batches.is_empty() {
            batches.shrink_to_fit();
        }
    }

    /// Lets go of batches that end before `end`.
    pub(crate) fn forget_before(&self, end: Offset) {
        let mut batches = self.lock();
        while batches.front().is_some_and(|oldest| oldest.last_offset < end) {
            let Some(oldest) = batches.pop_front() else { return };
            self.give_back(oldest.cost());
        }
    }

    /// Lets go of everything.
    pub(crate) fn clear(&self) {
        let mut batches = self.lock();
        self.give_back(batches.iter().map(CachedBatch::cost).sum());
        batches.clear();
    }

    /// The batches from the one that contains `from` up to `end`, as many as fit `bytes_max`, the first one also when
    /// it alone is larger if `first_always`. `None` when `from` is not in the tail.
    pub(crate) fn read(
        &self,
        from: Offset,
        end: Offset,
        bytes_max: usize,
        first_always: bool,
    ) -> Option<Found> {
        let batches = self.lock();
        let first = batches.partition_point(|batch| batch.last_offset < from);
        if batches.get(first)?.base_offset > from {
            return None;
        }
        let mut found = Found {
            parts: Vec::new(),
            next_offset: from,
        };
        let mut left = bytes_max;
        for batch in batches.range(first..).take_while(|batch| batch.last_offset < end) {
            let granted = first_always && found.parts.is_empty();
            if batch.bytes.len() > left && !granted {
                break;
            }
            left = left.saturating_sub(batch.bytes.len());
            found.parts.push(batch.bytes.clone());
            found.next_offset = batch.last_offset.plus(1);
        }
        drop(batches);
        found.parts = joined(found.parts);
        Some(found)
    }

    fn give_back(&self, bytes: usize) {
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<CachedBatch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same bytes with runs of small parts joined.
fn joined(parts: Vec<Bytes>) -> Vec<Bytes> {
    let is_small = |part: &Bytes| part.len() < JOIN_BELOW;
    if !parts.windows(2).any(|pair| pair.iter().all(is_small)) {
        return parts;
    }
    let runs = parts.chunk_by(|one, next| is_small(one) && is_small(next));
    runs.flat_map(|run| match run {
        [alone] => Some(alone.clone()),
        [] => None,
        run => Some(Bytes::from(run.concat())),
    })
    .collect()
}

impl Drop for TailCache {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: i64, records: i64, len: usize, arrived: i64) -> CachedBatch {
        CachedBatch {
            base_offset: Offset(base),
            last_offset: Offset(base + records - 1),
            bytes: Bytes::from(vec![0; len]),
            arrived: Timestamp(arrived),
        }
    }

    fn next(cache: &TailCache, from: i64, end: i64, max: usize, first: bool) -> Option<i64> {
        cache
            .read(Offset(from), Offset(end), max, first)
            .map(|found| found.next_offset.0)
    }

    #[test]
    fn whole_batches_from_the_one_that_contains_the_offset() {
        let cache = TailCache::new(Arc::new(TailBudget::new(10_000)));
        cache.push(batch(10, 5, 100, 0));
        cache.push(batch(15, 5, 100, 0));
        cache.push(batch(20, 5, 100, 0));
        assert_eq!(next(&cache, 9, 25, 1000, true), None);
        assert_eq!(next(&cache, 12, 25, 1000, true), Some(25));
        assert_eq!(next(&cache, 12, 25, 250, true), Some(20));
        assert_eq!(next(&cache, 12, 18, 1000, true), Some(15));
        assert_eq!(next(&cache, 12, 25, 50, true), Some(15));
        assert_eq!(next(&cache, 12, 25, 50, false), Some(12));
        assert_eq!(next(&cache, 25, 25, 1000, true), None);
    }

    #[test]
    fn small_parts_are_joined_and_large_ones_left_alone() {
        let part = |byte: u8, len: usize| Bytes::from(vec![byte; len]);
        let large = part(9, JOIN_BELOW);
        let parts = vec![
            part(1, 10),
            part(2, 20),
            large.clone(),
            part(3, 30),
            large.clone(),
            part(4, 5),
            part(5, 6),
        ];
        let joined = joined(parts.clone());
        let lens: Vec<usize> = joined.iter().map(Bytes::len).collect();
        assert_eq!(lens, [30, JOIN_BELOW, 30, JOIN_BELOW, 11]);
        assert_eq!(joined.concat(), parts.concat());
        assert_eq!(joined[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn the_oldest_batches_go_when_the_budget_is_spent_or_they_are_old() {
        let budget = Arc::new(TailBudget::new(2 * (100 + OVERHEAD) + 50));
        let (one, other) = (
            TailCache::new(Arc::clone(&budget)),
            TailCache::new(Arc::clone(&budget)),
        );
        one.push(batch(0, 1, 100, 0));
        one.push(batch(1, 1, 100, 5_000));
        other.push(batch(0, 1, 100, 5_000));
        assert_eq!(
            next(&other, 0, 9, 1000, true),
            None,
            "another log's bytes are not taken"
        );
        one.push(batch(2, 1, 100, 6_000));
        assert_eq!(next(&one, 0, 9, 1000, true), None);
        assert_eq!(next(&one, 1, 9, 1000, true), Some(3));
        one.age(Timestamp(15_001));
        assert_eq!(next(&one, 1, 9, 1000, true), None);
        assert_eq!(next(&one, 2, 9, 1000, true), Some(3));
        drop(one);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
