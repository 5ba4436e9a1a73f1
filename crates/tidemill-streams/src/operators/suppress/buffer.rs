//! The order of a suppression's buffer, beside the store that has its rows.

use std::collections::{BTreeMap, HashMap};

/// Keys in the order in which they leave, and the bytes they count for.
#[derive(Debug, Default)]
pub(super) struct Order {
    queue: BTreeMap<(i64, Vec<u8>), u64>,
    times: HashMap<Vec<u8>, i64>,
    bytes: u64,
}

impl Order {
    pub(super) fn records(&self) -> u64 {
        u64::try_from(self.queue.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The time by which a key is in order, if it is there.
    pub(super) fn time_ms(&self, key: &[u8]) -> Option<i64> {
        self.times.get(key).copied()
    }

    /// Adds a key, or changes what it counts for; its place stays.
    pub(super) fn put(&mut self, key: &[u8], time_ms: i64, bytes: u64) {
        let time_ms = *self.times.entry(key.to_vec()).or_insert(time_ms);
        let before = self.queue.insert((time_ms, key.to_vec()), bytes).unwrap_or(0);
        self.bytes = self.bytes - before + bytes;
    }

    /// The first to leave.
    pub(super) fn first(&self) -> Option<(i64, &[u8])> {
        let ((time_ms, key), _) = self.queue.first_key_value()?;
        Some((*time_ms, key))
    }

    pub(super) fn pop(&mut self) {
        if let Some(((_, key), bytes)) = self.queue.pop_first() {
            self.times.remove(&key);
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_its_place_and_changes_the_bytes() {
        let mut order = Order::default();
        order.put(b"b", 5, 10);
        order.put(b"a", 7, 10);
        order.put(b"c", 5, 1);
        order.put(b"b", 9, 4);
        assert_eq!((order.records(), order.bytes()), (3, 15));
        assert_eq!(order.time_ms(b"b"), Some(5));
        let mut left = Vec::new();
        while let Some((_, key)) = order.first() {
            left.push(key.to_vec());
            order.pop();
        }
        assert_eq!(left, [b"b", b"c", b"a"]);
        assert_eq!((order.bytes(), order.time_ms(b"b")), (0, None));
    }
}
