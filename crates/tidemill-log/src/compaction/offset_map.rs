//! The newest offset of each key, in a table that never grows.
//!
//! A key is kept as 128 bits of two keyed hashes: nobody outside knows the hashes' keys, so nobody can choose record keys
//! that meet, and by chance they do not.

use std::hash::{BuildHasher, RandomState};

use crate::types::Offset;

/// What one key takes.
const SLOT_BYTES: usize = size_of::<Slot>();
/// The least number of keys that fit, however small the limit.
const KEYS_MIN: usize = 16;

/// What the table knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash([u64; 2]);

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: KeyHash,
    // NONE: nothing is here.
    offset: i64,
}

const NONE: i64 = -1;

/// The newest offset of each key.
#[derive(Debug)]
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    keys: usize,
    keys_max: usize,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// A map with room for `keys`, or for as many as fit `bytes_max`.
    pub(crate) fn new(keys: u64, bytes_max: usize) -> Self {
        let slots_max = (bytes_max / SLOT_BYTES).max(KEYS_MIN * 4 / 3);
        let wanted = usize::try_from(keys.max(KEYS_MIN as u64).saturating_mul(4) / 3).unwrap_or(usize::MAX);
        let slots = wanted.min(slots_max);
        let empty = Slot {
            hash: KeyHash([0; 2]),
            offset: NONE,
        };
        Self {
            slots: vec![empty; slots],
            keys: 0,
            // Beyond three quarters a look for a key that is not there becomes long.
            keys_max: slots * 3 / 4,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// How many more keys fit.
    pub(crate) fn room(&self) -> usize {
        self.keys_max - self.keys
    }

    /// What stands for a key in [`note`](Self::note) and [`newest`](Self::newest). Whoever has many keys hashes all of them
    /// first: the table is larger than the processor's caches, and looks that follow each other closely wait for
    /// memory together.
    pub(crate) fn hash(&self, key: &[u8]) -> KeyHash {
        let [one, other] = &self.hashers;
        KeyHash([one.hash_one(key), other.hash_one(key)])
    }

    /// Notes a record; later ones of the same key replace it. There must be room.
    pub(crate) fn note(&mut self, key: KeyHash, offset: Offset) {
        let at = self.find(key);
        let slot = self.slots.get_mut(at).expect("a place in the table");
        if slot.offset == NONE {
            assert!(self.keys < self.keys_max, "the caller looks for room first");
            slot.hash = key;
            self.keys += 1;
        }
        slot.offset = slot.offset.max(offset.0);
    }

    /// The newest offset of a key.
    pub(crate) fn newest(&self, key: KeyHash) -> Option<Offset> {
        let slot = self.slots.get(self.find(key))?;
        (slot.offset != NONE).then_some(Offset(slot.offset))
    }

    /// The place of `hash`, or the free one where it belongs: a quarter of the table is always free.
    fn find(&self, hash: KeyHash) -> usize {
        let KeyHash([first, _]) = hash;
        // The hash's share of the table's length: a division would cost as much as the hash.
        let mut at = ((u128::from(first) * self.slots.len() as u128) >> 64) as usize;
        loop {
            match self.slots.get(at) {
                Some(slot) if slot.offset == NONE || slot.hash == hash => return at,
                Some(_) => at += 1,
                None => at = 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_of_each_key_is_kept_and_the_table_never_grows() {
        let mut map = OffsetMap::new(1_000_000, 100 * SLOT_BYTES);
        let room = map.room();
        assert_eq!(room, 75);
        for key in 0..room as u64 {
            map.note(map.hash(&key.to_be_bytes()), Offset(key as i64));
        }
        assert_eq!(map.room(), 0);
        let [three, four] = [3u64, 4].map(|key| map.hash(&key.to_be_bytes()));
        map.note(three, Offset(1000));
        map.note(three, Offset(7));
        assert_eq!(map.newest(three), Some(Offset(1000)));
        assert_eq!(map.newest(four), Some(Offset(4)));
        assert_eq!(map.newest(map.hash(b"other")), None);
    }

    #[test]
    fn a_small_log_takes_little_and_a_small_limit_still_holds_some_keys() {
        assert!(OffsetMap::new(10, 128 << 20).slots.len() < 100);
        assert!(OffsetMap::new(1_000, 0).room() >= KEYS_MIN / 2);
    }
}
