//! Which batches go now, where, and in one request with which others.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tidemill_protocol::KString;
use tidemill_protocol::batch::ProducerStamp;

use super::queue::Queue;
use super::{Accumulator, Doom, Identity, RECORD_OVERHEAD};
use crate::native::cluster::{Node, View};
use crate::native::producer::batch::{Body, sequence_after};

/// A batch on its way.
pub(in crate::native::producer) struct Flight {
    pub(in crate::native::producer) partition: usize,
    pub(in crate::native::producer) number: u64,
    pub(in crate::native::producer) topic: KString,
    pub(in crate::native::producer) index: i32,
    pub(in crate::native::producer) leader_epoch: i32,
    pub(in crate::native::producer) body: Body,
    pub(in crate::native::producer) stamp: Option<ProducerStamp>,
    pub(in crate::native::producer) is_restamped: bool,
}

/// Batches that go to one broker in one request.
pub(in crate::native::producer) struct Departure {
    pub(in crate::native::producer) node: Node,
    pub(in crate::native::producer) flights: Vec<Flight>,
}

/// What is to be done now.
#[derive(Default)]
pub(in crate::native::producer) struct Step {
    pub(in crate::native::producer) departures: Vec<Departure>,
    /// Ask for a producer id.
    pub(in crate::native::producer) wants_identity: bool,
    /// Partitions of which the transaction's coordinator has to hear first.
    pub(in crate::native::producer) to_enrol: Vec<(usize, KString, i32)>,
    /// Topics with records that nobody is known to lead.
    pub(in crate::native::producer) leaderless: Vec<String>,
    /// When to look again, if nothing happens before.
    pub(in crate::native::producer) wake_at: Option<Instant>,
}

impl Step {
    fn wake_by(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }
}

impl Accumulator {
    /// What to do now: which batches go where.
    pub(in crate::native::producer) fn step(&mut self, view: &View, now: Instant) -> Step {
        let mut step = Step::default();
        self.lose_expired(view, now);
        if let Some(doom) = self
            .transaction
            .as_ref()
            .and_then(|transaction| transaction.doom.clone())
        {
            let (Doom::Fenced(reason) | Doom::Abortable(reason)) = doom;
            self.lose_all(&reason);
            return step;
        }
        match &self.identity {
            Identity::Unneeded | Identity::Known(_) => {}
            Identity::Renewing if self.flying == 0 => self.begin_anew(),
            Identity::Asking | Identity::Renewing => return step,
            Identity::Wanted => {}
            Identity::Refused(reason) => {
                let reason = reason.clone();
                self.lose_all(&reason);
                return step;
            }
        }
        if self.identity == Identity::Wanted {
            if self.bytes > 0 {
                self.identity = Identity::Asking;
                step.wants_identity = true;
            }
            return step;
        }
        while self.depart(view, now, &mut step) {}
        if let Some(transaction) = self.transaction.as_mut().filter(|_| !step.to_enrol.is_empty()) {
            transaction.enrolling = true;
        }
        self.turn = self.turn.wrapping_add(1);
        step
    }

    /// One request for every broker that has something due. False: there was nothing.
    fn depart(&mut self, view: &View, now: Instant, step: &mut Step) -> bool {
        let mut departures: BTreeMap<Node, (usize, Vec<Flight>)> = BTreeMap::new();
        let (count, first) = (self.partitions.len(), self.turn);
        for at in (0..count).map(|i| (first + i) % count.max(1)) {
            let Some(queue) = self.partitions.get(at) else {
                continue;
            };
            if !self.may_depart(queue, now, step) {
                continue;
            }
            if !self.is_enrolled(at, queue, now, step) {
                continue;
            }
            let Some(leader) = view.leader(&queue.at.topic, queue.at.partition) else {
                if !step.leaderless.iter().any(|topic| **topic == *queue.at.topic) {
                    step.leaderless.push(queue.at.topic.to_string());
                }
                continue;
            };
            if self
                .requests
                .get(&leader.node)
                .is_some_and(|n| *n >= self.settings.in_flight_max)
            {
                continue;
            }
            let (bytes, flights) = departures.entry(leader.node).or_default();
            let size = queue.waiting.front().map_or(0, |pending| pending.bytes);
            if *bytes > 0 && *bytes + size > self.settings.request_bytes_max {
                continue;
            }
            *bytes += size;
            if let Some(flight) = self.take_off(at, leader.epoch) {
                flights.push(flight);
            }
        }
        let departed = !departures.is_empty();
        for (node, (_, flights)) in departures {
            *self.requests.entry(node).or_default() += 1;
            step.departures.push(Departure { node, flights });
        }
        departed
    }

    fn may_depart(&self, queue: &Queue, now: Instant, step: &mut Step) -> bool {
        let Some(front) = queue.waiting.front() else {
            return false;
        };
        if queue.flying.len() >= self.settings.in_flight_max
            || (front.attempts > 0 && !queue.flying.is_empty())
        {
            return false;
        }
        if let Some(until) = queue.not_before.filter(|until| *until > now) {
            step.wake_by(until);
            return false;
        }
        let is_full = queue.waiting.len() > 1
            || front.attempts > 0
            || front.bytes + RECORD_OVERHEAD >= self.settings.batch_bytes;
        let due = front.born + self.settings.linger;
        if is_full || self.flushing || self.blocked || due <= now {
            return true;
        }
        step.wake_by(due);
        false
    }

    /// Whether batches may go there: within a transaction the coordinator may have to know first.
    fn is_enrolled(&self, at: usize, queue: &Queue, now: Instant, step: &mut Step) -> bool {
        let Some(transaction) = &self.transaction else {
            return true;
        };
        if transaction.is_implicit || transaction.enrolled.contains(&at) {
            return true;
        }
        let is_named = step.to_enrol.iter().any(|(place, ..)| *place == at);
        match transaction.enrol_not_before.filter(|until| *until > now) {
            _ if transaction.enrolling || is_named => {}
            Some(until) => step.wake_by(until),
            None => step
                .to_enrol
                .push((at, queue.wire_name.clone(), queue.at.partition)),
        }
        false
    }

    fn take_off(&mut self, at: usize, leader_epoch: i32) -> Option<Flight> {
        let queue = self.partitions.get_mut(at)?;
        let mut pending = queue.waiting.pop_front()?;
        if let (Identity::Known(producer), None) = (&self.identity, pending.stamp) {
            pending.stamp = Some(ProducerStamp {
                id: producer.id,
                epoch: producer.epoch,
                base_sequence: queue.next_sequence,
            });
            queue.next_sequence = sequence_after(queue.next_sequence, pending.record_count);
            pending.is_restamped = true;
        }
        let flight = Flight {
            partition: at,
            number: pending.number,
            topic: queue.wire_name.clone(),
            index: queue.at.partition,
            leader_epoch,
            body: std::mem::replace(&mut pending.body, Body::Built(Bytes::new())),
            stamp: pending.stamp,
            is_restamped: std::mem::take(&mut pending.is_restamped),
        };
        queue.flying.push(pending);
        self.flying += 1;
        if let Some(transaction) = &mut self.transaction {
            transaction.enrolled.insert(at);
        }
        Some(flight)
    }
}
