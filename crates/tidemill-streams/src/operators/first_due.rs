//! Entries of a store in the order in which they come due, as many of the first as a number of bytes allows.
//!
//! However many there are, this takes no more than its share of the task's memory: it then knows only the first to come
//! due, and its owner looks through the store again when those are out.

use std::collections::{BTreeMap, BTreeSet};

/// When an entry comes in order: for windows of a fixed size their start, for sessions end and start, for a row that is
/// held back the time by which it goes on.
pub(super) type Place = (i64, i64);

/// An entry that came due: its place and key.
pub(super) type Entry = (Place, Box<[u8]>);

/// About what an entry takes beside its key.
const ENTRY_BYTES: usize = 64;

/// About what the first entry of a place takes more.
const PLACE_BYTES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct FirstDue {
    keys: BTreeMap<Place, BTreeSet<Box<[u8]>>>,
    // Invariant: those of `keys`, and at most `bytes_max` between calls unless there is one entry only.
    bytes: usize,
    bytes_max: usize,
    // Entries from here on are only in the store. Invariant: all of `keys` come before.
    beyond: Option<Entry>,
}

fn entry_bytes(key: &[u8]) -> usize {
    ENTRY_BYTES + key.len()
}

impl FirstDue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            ..Self::default()
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in an entry, if it is among the first.
    pub(super) fn add(&mut self, place: Place, key: &[u8]) {
        let is_beyond = |beyond: &Entry| (place, key) >= (beyond.0, &*beyond.1);
        if self.beyond.as_ref().is_some_and(is_beyond) {
            return;
        }
        let keys = self.keys.entry(place).or_default();
        if keys.contains(key) {
            return;
        }
        self.bytes += if keys.is_empty() { PLACE_BYTES } else { 0 };
        self.bytes += entry_bytes(key);
        keys.insert(key.into());
        // One is always known, or nothing would ever come due.
        while self.bytes > self.bytes_max && !self.is_one() {
            let Some(last) = self.pop_last() else { break };
            self.beyond = Some(last);
        }
    }

    fn is_one(&self) -> bool {
        let mut places = self.keys.values();
        places.next().is_none_or(|keys| keys.len() == 1) && places.next().is_none()
    }

    fn pop_last(&mut self) -> Option<Entry> {
        let place = *self.keys.last_key_value()?.0;
        let key = self.keys.get(&place)?.last()?.clone();
        self.remove(place, &key);
        Some((place, key))
    }

    pub(super) fn remove(&mut self, place: Place, key: &[u8]) {
        let Some(keys) = self.keys.get_mut(&place) else {
            return;
        };
        if keys.remove(key) {
            self.bytes -= entry_bytes(key);
        }
        if keys.is_empty() {
            self.keys.remove(&place);
            self.bytes -= PLACE_BYTES;
        }
    }

    /// Whether entries up to a time may be in the store of which this knows nothing.
    pub(super) fn lacks(&self, last_ms: i64) -> bool {
        let beyond = self.beyond.as_ref();
        self.keys.is_empty() && beyond.is_some_and(|(place, _)| place.0 <= last_ms)
    }

    /// The first of those that are known.
    pub(super) fn first(&self) -> Option<(Place, &[u8])> {
        let (place, keys) = self.keys.first_key_value()?;
        Some((*place, keys.first()?))
    }

    /// Takes out those up to a time, in order.
    pub(super) fn take(&mut self, last_ms: i64) -> Vec<Entry> {
        let later = match last_ms.checked_add(1) {
            Some(next_ms) => self.keys.split_off(&(next_ms, i64::MIN)),
            None => BTreeMap::new(),
        };
        let due = std::mem::replace(&mut self.keys, later);
        self.bytes -= due.len() * PLACE_BYTES;
        let due = due.into_iter();
        let due: Vec<Entry> = due
            .flat_map(|(place, keys)| keys.into_iter().map(move |key| (place, key)))
            .collect();
        self.bytes -= due.iter().map(|(_, key)| entry_bytes(key)).sum::<usize>();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(first: &mut FirstDue) -> Vec<Entry> {
        let mut out = Vec::new();
        while let Some((place, key)) = first.first().map(|(place, key)| (place, key.to_vec())) {
            first.remove(place, &key);
            out.push((place, key.into_boxed_slice()));
        }
        out
    }

    #[test]
    fn the_first_are_known_and_of_the_others_that_there_are_some() {
        let mut first = FirstDue::new(3 * (PLACE_BYTES + entry_bytes(b"k")));
        for time in [5, 3, 9, 1, 7, 3] {
            first.add((time, 0), b"k");
        }
        assert!(!first.lacks(100), "some are known");
        let known = drained(&mut first);
        let times: Vec<i64> = known.iter().map(|((time, _), _)| *time).collect();
        assert_eq!(times, [1, 3, 5]);
        assert_eq!(first.bytes(), 0);
        assert!(first.lacks(7) && !first.lacks(6));
    }

    #[test]
    fn one_is_known_however_large_it_is() {
        let mut first = FirstDue::new(10);
        first.add((2, 0), &[b'x'; 100]);
        assert_eq!(first.first(), Some(((2, 0), &[b'x'; 100][..])));
        first.add((1, 0), &[b'y'; 200]);
        assert_eq!(first.first(), Some(((1, 0), &[b'y'; 200][..])));
        assert_eq!(first.bytes(), PLACE_BYTES + ENTRY_BYTES + 200);
        assert_eq!(drained(&mut first).len(), 1);
        assert!(first.lacks(2));
    }

    #[test]
    fn those_up_to_a_time_are_taken_in_order_of_place_and_key() {
        let mut first = FirstDue::new(usize::MAX);
        for (place, key) in [((2, 1), b"a"), ((1, 9), b"b"), ((1, 9), b"a"), ((3, 0), b"a")] {
            first.add(place, key);
        }
        let taken = first.take(2);
        let taken: Vec<(Place, &[u8])> = taken.iter().map(|(place, key)| (*place, &**key)).collect();
        assert_eq!(taken, [((1, 9), &b"a"[..]), ((1, 9), b"b"), ((2, 1), b"a")]);
        assert_eq!(first.bytes(), PLACE_BYTES + entry_bytes(b"a"));
        assert_eq!(first.take(i64::MAX).len(), 1);
        assert_eq!(first.bytes(), 0);
    }
}
