//! Records that wait to be sent, in batches by partition, and what becomes of the batches. Pure.
//!
//! ```text
//! push ──▶ queue of a partition: [retry] [retry] [full] [full] [open]
//!               │ depart: in order, when full, lingering or asked to flush      ▲ refused for a while: back to its place
//!               ▼                                                               │
//!          under way (5 at most, each with its sequence number) ──── land ──────┴──▶ written, or lost
//! ```
//! A batch that was refused goes alone: nothing overtakes it, so retries keep the order.

mod transactions;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidemill_protocol::batch::{Header, ProducerStamp};
use tidemill_protocol::{ErrorCode, KString};

use super::batch::{Body, Pending, sequence_after};
use super::identity::{Identity, ProducerId};
use super::transaction::{Doom, Transaction};
use crate::native::cluster::{Node, View};
use crate::native::connection::Backoff;
use crate::native::settings::ProducerSettings;
use crate::{Outgoing, TopicPartition};

/// How long a topic may be missing before records for it are lost: it may have been created only now.
const TOPIC_MISSING_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// A record's bytes besides its key, value and headers, at most.
const RECORD_OVERHEAD: usize = 32;

/// Records that were not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) partition: TopicPartition,
    pub(super) records: usize,
    pub(super) reason: String,
}

/// More partitions than any topic has. A number beyond, such as one from a dead letter that lies, reserves no memory.
const PARTITIONS_MAX: usize = 1 << 20;

/// What became of a record that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits with others.
    Queued,
    /// It waits, and there is something to send now or soon that there was not before.
    Wake,
    /// The buffer is full: try again when there is room.
    Full,
    /// It is larger than a request may be.
    TooLarge(usize),
    /// No topic has so many partitions.
    NoSuchPartition,
}

/// A batch on its way.
pub(super) struct Flight {
    pub(super) partition: usize,
    pub(super) number: u64,
    pub(super) topic: KString,
    pub(super) index: i32,
    pub(super) leader_epoch: i32,
    pub(super) body: Body,
    pub(super) stamp: Option<ProducerStamp>,
    pub(super) is_restamped: bool,
}

/// Batches that go to one broker in one request.
pub(super) struct Departure {
    pub(super) node: Node,
    pub(super) flights: Vec<Flight>,
}

/// How a flight ended.
pub(super) enum Outcome {
    Written,
    Refused(ErrorCode, Option<String>),
    /// Nobody knows whether it was written.
    NoAnswer(String),
}

/// A flight that ended, with the bytes that were sent.
pub(super) struct Landing {
    pub(super) partition: usize,
    pub(super) number: u64,
    pub(super) bytes: Bytes,
    pub(super) outcome: Outcome,
}

/// What is to be done now.
#[derive(Default)]
pub(super) struct Step {
    pub(super) departures: Vec<Departure>,
    /// Ask for a producer id.
    pub(super) wants_identity: bool,
    /// Partitions of which the transaction's coordinator has to hear first.
    pub(super) to_enrol: Vec<(usize, KString, i32)>,
    /// Topics with records that nobody is known to lead.
    pub(super) leaderless: Vec<String>,
    /// When to look again, if nothing happens before.
    pub(super) wake_at: Option<Instant>,
}

impl Step {
    fn wake_by(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }
}

struct TopicSlot {
    name: Arc<str>,
    wire_name: KString,
    // By partition number: the place in `Accumulator::partitions`.
    partitions: Vec<Option<usize>>,
}

struct Queue {
    at: TopicPartition,
    wire_name: KString,
    // Invariant: ascending by number; only the last may be open.
    waiting: VecDeque<Pending>,
    flying: Vec<Pending>,
    next_sequence: i32,
    not_before: Option<Instant>,
    backoff: Backoff,
}

/// The producer's buffer.
pub(super) struct Accumulator {
    settings: ProducerSettings,
    topics: Vec<TopicSlot>,
    partitions: Vec<Queue>,
    identity: Identity,
    transaction: Option<Transaction>,
    bytes: usize,
    batches: u64,
    flying: usize,
    requests: BTreeMap<Node, usize>,
    losses: Vec<Loss>,
    /// Someone waits for everything to be sent.
    pub(super) flushing: bool,
    /// Someone waits for room.
    pub(super) blocked: bool,
    // The partition looked at first in the next step, so that none starves.
    turn: usize,
}

impl Accumulator {
    pub(super) fn new(settings: ProducerSettings) -> Self {
        let identity = if settings.idempotent {
            Identity::Wanted
        } else {
            Identity::Unneeded
        };
        Self {
            settings,
            topics: Vec::new(),
            partitions: Vec::new(),
            identity,
            transaction: None,
            bytes: 0,
            batches: 0,
            flying: 0,
            requests: BTreeMap::new(),
            losses: Vec::new(),
            flushing: false,
            blocked: false,
            turn: 0,
        }
    }

    /// The buffer of a producer of transactions.
    pub(super) fn transactional(settings: ProducerSettings, producer: ProducerId, is_implicit: bool) -> Self {
        let transaction = Some(Transaction::new(is_implicit));
        let identity = Identity::Known(producer);
        Self {
            transaction,
            identity,
            ..Self::new(settings)
        }
    }

    /// A topic's place; the same name has the same place.
    pub(super) fn topic(&mut self, name: &str) -> usize {
        if let Some(at) = self.topics.iter().position(|topic| &*topic.name == name) {
            return at;
        }
        self.topics.push(TopicSlot {
            name: name.into(),
            wire_name: name.into(),
            partitions: Vec::new(),
        });
        self.topics.len() - 1
    }

    pub(super) fn topic_name(&self, topic: usize) -> Option<Arc<str>> {
        self.topics.get(topic).map(|slot| slot.name.clone())
    }

    /// The names of all topics written to.
    pub(super) fn topic_names(&self) -> Vec<String> {
        self.topics.iter().map(|slot| slot.name.to_string()).collect()
    }

    fn partition(&mut self, topic: usize, partition: i32) -> Option<usize> {
        let place = usize::try_from(partition)
            .ok()
            .filter(|place| *place < PARTITIONS_MAX)?;
        let slot = self.topics.get_mut(topic)?;
        if let Some(Some(at)) = slot.partitions.get(place) {
            return Some(*at);
        }
        if slot.partitions.len() <= place {
            slot.partitions.resize(place + 1, None);
        }
        let at = self.partitions.len();
        *slot.partitions.get_mut(place)? = Some(at);
        let (first, max) = self.settings.retry_backoff;
        self.partitions.push(Queue {
            at: TopicPartition {
                topic: slot.name.clone(),
                partition,
            },
            wire_name: slot.wire_name.clone(),
            waiting: VecDeque::new(),
            flying: Vec::new(),
            next_sequence: 0,
            not_before: None,
            backoff: Backoff::new(first, max, at as u64),
        });
        Some(at)
    }

    /// Takes a record in, copying it into its batch.
    #[inline]
    pub(super) fn push(&mut self, record: &Outgoing<'_>, now: Instant) -> Pushed {
        let bytes = RECORD_OVERHEAD
            + record.key.map_or(0, <[u8]>::len)
            + record.value.map_or(0, <[u8]>::len)
            + if record.headers.is_empty() {
                0
            } else {
                record.headers.byte_len() + 10 * record.headers.len()
            };
        // An empty buffer takes any record that fits into a request, or it would wait for ever.
        if self.bytes + bytes > self.settings.buffer_bytes && self.bytes > 0 {
            return Pushed::Full;
        }
        if bytes > self.settings.request_bytes_max {
            return Pushed::TooLarge(self.settings.request_bytes_max);
        }
        let Some(at) = self.partition(record.topic.0, record.partition) else {
            return Pushed::NoSuchPartition;
        };
        let Self {
            settings,
            partitions,
            batches,
            transaction,
            ..
        } = self;
        let queue = partitions.get_mut(at).expect("the place was looked up");
        let fits = |pending: &Pending| match &pending.body {
            Body::Open(builder) => {
                pending.attempts == 0 && builder.uncompressed_len() + bytes <= settings.batch_bytes
            }
            Body::Built(_) => false,
        };
        let is_new = !queue.waiting.back().is_some_and(fits);
        if is_new {
            *batches += 1;
            let room = settings
                .batch_bytes
                .min(if queue.waiting.is_empty() && queue.flying.is_empty() {
                    4096
                } else {
                    settings.batch_bytes
                });
            let pending = Pending::new(*batches, settings.compression, room, now, transaction.is_some());
            queue.waiting.push_back(pending);
        }
        let pending = queue.waiting.back_mut().expect("one that fits was added");
        if let Body::Open(builder) = &mut pending.body {
            let (key, value, time) = (record.key, record.value, record.timestamp.millis());
            if record.headers.is_empty() {
                builder.push(time, key, value, []);
            } else {
                let headers = record.headers.iter().map(|header| Header {
                    key: header.name.as_bytes(),
                    value: header.value.as_deref(),
                });
                builder.push(time, key, value, headers);
            }
        }
        pending.record_count += 1;
        pending.bytes += bytes;
        self.bytes += bytes;
        if is_new { Pushed::Wake } else { Pushed::Queued }
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Records lost since the last look.
    pub(super) fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    /// What to do now: which batches go where.
    pub(super) fn step(&mut self, view: &View, now: Instant) -> Step {
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

    /// A request to this broker was answered, or never will be.
    pub(super) fn request_ended(&mut self, node: Node) {
        if let Some(count) = self.requests.get_mut(&node) {
            *count = count.saturating_sub(1);
        }
    }

    /// Takes notice of how a batch fared.
    pub(super) fn land(&mut self, landing: Landing, now: Instant) {
        let Some(queue) = self.partitions.get_mut(landing.partition) else {
            return;
        };
        let Some(place) = queue.flying.iter().position(|p| p.number == landing.number) else {
            return;
        };
        let mut pending = queue.flying.remove(place);
        pending.body = Body::Built(landing.bytes);
        self.flying -= 1;
        match landing.outcome {
            Outcome::Written | Outcome::Refused(ErrorCode::None | ErrorCode::DuplicateSequenceNumber, _) => {
                queue.backoff.reset();
                queue.not_before = None;
                self.bytes -= pending.bytes;
            }
            Outcome::NoAnswer(_) => queue.retry(pending, now),
            Outcome::Refused(code, message) => self.refused(landing.partition, pending, code, message, now),
        }
    }

    fn refused(
        &mut self,
        at: usize,
        pending: Pending,
        code: ErrorCode,
        message: Option<String>,
        now: Instant,
    ) {
        let idempotent = self.settings.idempotent;
        let Some(queue) = self.partitions.get_mut(at) else {
            return;
        };
        match code {
            ErrorCode::OutOfOrderSequenceNumber if idempotent && queue.waits_for_earlier(&pending) => {
                queue.retry(pending, now);
            }
            ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidProducerEpoch
                if idempotent && self.transaction.is_none() =>
            {
                tracing::warn!("{}: {code}; the producer goes on under another id", queue.at);
                queue.retry(pending, now);
                self.renew();
            }
            ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch if self.transaction.is_some() => {
                self.doom(Doom::Fenced(code.to_string()));
                self.lose(at, pending, &code.to_string());
            }
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => match pending.split() {
                Some([front, mut back]) => {
                    let (number, now) = (front.number, now);
                    back.attempts += 1;
                    queue.retry(back, now);
                    queue.retry(front, now);
                    queue.not_before = None;
                    tracing::debug!(
                        "{}: batch {number} was too large for the broker and is split",
                        queue.at
                    );
                }
                None => self.lose(at, pending, &code.to_string()),
            },
            code if code.is_retriable() => queue.retry(pending, now),
            code => {
                let reason = message.map_or_else(|| code.to_string(), |message| format!("{code}: {message}"));
                self.lose(at, pending, &reason);
            }
        }
    }

    fn lose(&mut self, at: usize, pending: Pending, reason: &str) {
        let Some(queue) = self.partitions.get(at) else {
            return;
        };
        self.bytes -= pending.bytes;
        self.losses.push(Loss {
            partition: queue.at.clone(),
            records: pending.record_count,
            reason: reason.to_owned(),
        });
        if let Some(transaction) = &mut self.transaction {
            transaction.has_gap |= pending.stamp.is_some();
            transaction.doom(Doom::Abortable(format!("{}: {reason}", queue.at)));
        } else if pending.stamp.is_some() {
            // What follows it has later sequence numbers, which the broker would refuse for ever.
            self.renew();
        }
    }

    fn renew(&mut self) {
        if matches!(self.identity, Identity::Known(_)) {
            self.identity = Identity::Renewing;
        }
    }

    fn begin_anew(&mut self) {
        self.identity = Identity::Wanted;
        for queue in &mut self.partitions {
            queue.next_sequence = 0;
            for pending in &mut queue.waiting {
                pending.stamp = None;
            }
        }
    }

    fn lose_expired(&mut self, view: &View, now: Instant) {
        let mut gone: HashMap<Arc<str>, String> = HashMap::new();
        for slot in &self.topics {
            let long_missing = view
                .missing_since(&slot.name)
                .is_some_and(|since| since + TOPIC_MISSING_MAX <= now);
            if let Some(code) = view.refusal(&slot.name) {
                gone.insert(slot.name.clone(), code.to_string());
            } else if long_missing {
                gone.insert(slot.name.clone(), "the topic does not exist".into());
            }
        }
        for at in 0..self.partitions.len() {
            while let Some(queue) = self.partitions.get_mut(at) {
                let expired = queue
                    .waiting
                    .front()
                    .is_some_and(|p| p.born + self.settings.delivery_timeout <= now);
                let reason = match gone.get(&queue.at.topic) {
                    Some(reason) => reason.clone(),
                    None if expired => format!(
                        "not written in {:?} (`delivery.timeout.ms`)",
                        self.settings.delivery_timeout
                    ),
                    None => break,
                };
                let Some(pending) = queue.waiting.pop_front() else {
                    break;
                };
                self.lose(at, pending, &reason);
            }
        }
    }

    fn lose_all(&mut self, reason: &str) {
        for at in 0..self.partitions.len() {
            while let Some(pending) = self
                .partitions
                .get_mut(at)
                .and_then(|queue| queue.waiting.pop_front())
            {
                self.lose(at, pending, reason);
            }
        }
    }

    /// The broker's answer to the question for a producer id.
    pub(super) fn identified(&mut self, producer: ProducerId) {
        self.identity = Identity::Known(producer);
    }

    /// There was no answer: to be asked again.
    pub(super) fn not_identified(&mut self) {
        if self.identity == Identity::Asking {
            self.identity = Identity::Wanted;
        }
    }

    /// There will be no producer id.
    pub(super) fn identity_refused(&mut self, reason: String) {
        self.identity = Identity::Refused(reason);
    }
}

impl Queue {
    /// Back to its place, to go after a while.
    fn retry(&mut self, mut pending: Pending, now: Instant) {
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

    fn waits_for_earlier(&self, pending: &Pending) -> bool {
        let earlier = |other: &Pending| other.number < pending.number && other.stamp.is_some();
        self.waiting.iter().any(earlier) || self.flying.iter().any(earlier)
    }
}

#[cfg(test)]
mod tests;
