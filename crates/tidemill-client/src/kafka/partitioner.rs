//! Which partition a record of a [`Producer`](super::Producer) goes to, when it does not say so itself.

use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use tidemill_data::partition_for_key;

/// Chooses partitions. Implement it for a rule of your own.
pub trait Partitioner: Send + Sync + 'static {
    /// A partition below `partitions`, which is at least 1.
    fn partition(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, partitions: i32) -> i32;
}

/// Kafka's default: murmur2 of the key; without a key as [`Sticky`].
#[derive(Debug, Default)]
pub struct HashKey {
    keyless: Sticky,
}

impl Partitioner for HashKey {
    fn partition(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, partitions: i32) -> i32 {
        match key {
            Some(key) => partition_for_key(key, partitions),
            None => self.keyless.partition(topic, None, value, partitions),
        }
    }
}

/// Stays with one partition for a while, so that batches are large, then takes the next. Keys are ignored.
#[derive(Debug, Default)]
pub struct Sticky {
    current: AtomicI32,
    left_bytes: AtomicUsize,
}

impl Sticky {
    const STAY_BYTES: usize = 64 << 10;
}

impl Partitioner for Sticky {
    fn partition(&self, _topic: &str, _key: Option<&[u8]>, value: Option<&[u8]>, partitions: i32) -> i32 {
        let bytes = value.map_or(0, <[u8]>::len) + 1;
        // Two threads may both take the next partition; that costs a smaller batch, nothing else.
        if self.left_bytes.load(Ordering::Relaxed) < bytes {
            self.left_bytes
                .store(Self::STAY_BYTES.max(bytes), Ordering::Relaxed);
            self.current.fetch_add(1, Ordering::Relaxed);
        }
        self.left_bytes.fetch_sub(
            bytes.min(self.left_bytes.load(Ordering::Relaxed)),
            Ordering::Relaxed,
        );
        self.current.load(Ordering::Relaxed).rem_euclid(partitions)
    }
}

/// Any partition, with equal chances. Keys are ignored.
#[derive(Debug)]
pub struct Random {
    state: AtomicU64,
}

impl Random {
    /// A sequence of its own for each seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }
}

impl Partitioner for Random {
    fn partition(&self, _topic: &str, _key: Option<&[u8]>, _value: Option<&[u8]>, partitions: i32) -> i32 {
        // SplitMix64: a counter through a mixer, so threads never see the same number.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % partitions.unsigned_abs().max(1) as u64) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partitioner_stays_in_range_and_uses_all_partitions() {
        let all: [&dyn Partitioner; 3] = [&HashKey::default(), &Sticky::default(), &Random::seeded(7)];
        for partitioner in all {
            let mut seen = [false; 5];
            for i in 0..10_000_u32 {
                let key = i.to_be_bytes();
                let value = [0_u8; 100];
                seen[partitioner.partition("t", Some(&key), Some(&value), 5) as usize] = true;
            }
            assert_eq!(seen, [true; 5]);
        }
    }

    #[test]
    fn a_key_keeps_its_partition_and_keyless_records_stay_together() {
        let hash = HashKey::default();
        assert_eq!(
            hash.partition("t", Some(b"k"), None, 7),
            hash.partition("t", Some(b"k"), None, 7)
        );
        let first = hash.partition("t", None, Some(b"a"), 7);
        assert_eq!(hash.partition("t", None, Some(b"b"), 7), first);
    }
}
