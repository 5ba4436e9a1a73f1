//! What waits for one partition, in order, and what of it is under way.

use std::collections::VecDeque;
use std::time::Instant;

use tidemill_protocol::KString;

use crate::TopicPartition;
use crate::native::connection::Backoff;
use crate::native::producer::batch::Pending;

pub(super) struct Queue {
    pub(super) at: TopicPartition,
    pub(super) wire_name: KString,
    // Invariant: ascending by number; only the last may be open.
    pub(super) waiting: VecDeque<Pending>,
    pub(super) flying: Vec<Pending>,
    pub(super) next_sequence: i32,
    pub(super) not_before: Option<Instant>,
    pub(super) backoff: Backoff,
}

impl Queue {
    pub(super) fn new(at: TopicPartition, wire_name: KString, backoff: Backoff) -> Self {
        Self {
            at,
            wire_name,
            waiting: VecDeque::new(),
            flying: Vec::new(),
            next_sequence: 0,
            not_before: None,
            backoff,
        }
    }

    /// Back to its place, to go after a while.
    pub(super) fn retry(&mut self, mut pending: Pending, now: Instant) {
        pending.attempts += 1;
        // Several batches under way fail together; that is one failure.
        if self.not_before.is_none_or(|until| until <= now) {
            self.not_before = Some(now + self.backoff.next_wait());
        }
        let place = self
            .waiting
            .iter()
            .position(|other| other.number >= pending.number);
        self.waiting.insert(place.unwrap_or(self.waiting.len()), pending);
    }

    pub(super) fn waits_for_earlier(&self, pending: &Pending) -> bool {
        let earlier = |other: &Pending| other.number < pending.number && other.stamp.is_some();
        self.waiting.iter().any(earlier) || self.flying.iter().any(earlier)
    }
}
