//! The input queues of a task, and which of them is next: that with the earliest record.

use std::collections::VecDeque;

use tidemill_data::Timestamp;

use crate::{RawRecord, TopicIndex};

/// Records waiting, one queue a topic. The order among queues is Kafka Streams': a binary min-heap by the timestamp of
/// the first record, in the very moves of Java's `PriorityQueue`, because those decide between equal timestamps.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    queues: Vec<VecDeque<RawRecord>>,
    // Invariant: the queues that are not empty, each once, and no parent's head is later than its child's.
    heap: Vec<usize>,
    bytes: usize,
    records: usize,
}

impl Queues {
    pub(crate) fn new(topics: usize) -> Self {
        Self {
            queues: (0..topics).map(|_| VecDeque::new()).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn records(&self) -> usize {
        self.records
    }

    pub(crate) fn records_of(&self, topic: TopicIndex) -> usize {
        self.queues.get(topic.position()).map_or(0, VecDeque::len)
    }

    pub(crate) fn push(&mut self, topic: TopicIndex, record: RawRecord) {
        let at = topic.position();
        let Some(queue) = self.queues.get_mut(at) else {
            return;
        };
        self.bytes += record.byte_len();
        self.records += 1;
        queue.push_back(record);
        if queue.len() == 1 {
            self.insert(at);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(TopicIndex, RawRecord)> {
        let at = *self.heap.first()?;
        let last = self.heap.pop()?;
        if let Some(root) = self.heap.first_mut() {
            *root = last;
            self.sift_down();
        }
        let queue = self.queues.get_mut(at)?;
        let record = queue.pop_front()?;
        if !queue.is_empty() {
            self.insert(at);
        }
        self.bytes -= record.byte_len();
        self.records -= 1;
        Some((TopicIndex(u32::try_from(at).ok()?), record))
    }

    fn head(&self, place: usize) -> Timestamp {
        let queue = self.heap.get(place).and_then(|at| self.queues.get(*at));
        queue
            .and_then(VecDeque::front)
            .map_or(Timestamp::MAX, |record| record.timestamp)
    }

    fn insert(&mut self, at: usize) {
        self.heap.push(at);
        let mut place = self.heap.len() - 1;
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.head(place) >= self.head(parent) {
                break;
            }
            self.heap.swap(place, parent);
            place = parent;
        }
    }

    fn sift_down(&mut self) {
        let mut place = 0;
        loop {
            let left = 2 * place + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.head(right) < self.head(left) {
                right
            } else {
                left
            };
            if self.head(child) >= self.head(place) {
                return;
            }
            self.heap.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ms: i64) -> RawRecord {
        RawRecord {
            timestamp: Timestamp::from_millis(ms),
            ..RawRecord::default()
        }
    }

    #[test]
    fn the_earliest_head_is_next_and_equal_queues_take_turns() {
        let mut queues = Queues::new(3);
        for (topic, ms) in [(0, 5), (0, 5), (1, 5), (1, 5), (2, 4), (2, 9)] {
            queues.push(TopicIndex(topic), record(ms));
        }
        let order: Vec<_> = std::iter::from_fn(|| queues.pop())
            .map(|(topic, record)| (topic.0, record.timestamp.millis()))
            .collect();
        assert_eq!(order, [(2, 4), (0, 5), (1, 5), (0, 5), (1, 5), (2, 9)]);
        assert_eq!((queues.bytes(), queues.records()), (0, 0));
    }
}
