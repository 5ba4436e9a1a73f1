//! The input queues of a task, and which of them is next: that with the earliest record.

use std::collections::VecDeque;

use tidemill_data::Timestamp;

use crate::{RawRecord, TopicIndex, heap::Heap};

/// Records waiting, one queue a topic. The order among queues is Kafka Streams': by the timestamp of the first record,
/// and among equal ones as its heap has them.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    queues: Vec<VecDeque<RawRecord>>,
    // Invariant: the queues that are not empty, each once.
    heap: Heap<usize>,
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
            self.heap.push(at, head(&self.queues));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(TopicIndex, RawRecord)> {
        let at = self.heap.pop(head(&self.queues))?;
        let queue = self.queues.get_mut(at)?;
        let record = queue.pop_front()?;
        if !queue.is_empty() {
            self.heap.push(at, head(&self.queues));
        }
        self.bytes -= record.byte_len();
        self.records -= 1;
        Some((TopicIndex(u32::try_from(at).ok()?), record))
    }
}

/// The order of queues: the timestamps of their first records.
fn head(queues: &[VecDeque<RawRecord>]) -> impl Fn(&usize) -> Option<Timestamp> {
    |at| queues.get(*at)?.front().map(|record| record.timestamp)
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
