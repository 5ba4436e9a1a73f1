//! Records that wait to be sent, in batches by partition, and what becomes of the batches. Pure.
//!
//! ```text
//! push ──▶ queue of a partition: [retry] [retry] [full] [full] [open]
//!               │ depart: in order, when full, lingering or asked to flush      ▲ refused for a while: back to its place
//!               ▼                                                               │
//!          under way (5 at most, each with its sequence number) ──── land ──────┴──▶ written, or lost
//! ```
//! A batch that was refused goes alone: nothing overtakes it, so retries keep the order.

mod departing;
mod landing;
mod losing;
mod producer_id;
mod queue;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tidemill_protocol::KString;
use tidemill_protocol::batch::Header;

pub(super) use self::departing::Departure;
pub(super) use self::landing::{Landing, Outcome};
pub(super) use self::losing::Loss;
use self::queue::Queue;
use super::batch::{Body, Pending};
use super::identity::{Identity, ProducerId};
use super::transaction::{Doom, Transaction};
use crate::native::cluster::Node;
use crate::native::connection::Backoff;
use crate::native::settings::ProducerSettings;
use crate::{Outgoing, TopicPartition};

/// A record's bytes besides its key, value and headers, at most.
const RECORD_OVERHEAD: usize = 32;

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

struct TopicSlot {
    name: Arc<str>,
    wire_name: KString,
    // By partition number: the place in `Accumulator::partitions`.
    partitions: Vec<Option<usize>>,
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
        let to = TopicPartition {
            topic: slot.name.clone(),
            partition,
        };
        let backoff = Backoff::new(first, max, at as u64);
        self.partitions
            .push(Queue::new(to, slot.wire_name.clone(), backoff));
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
}

#[cfg(test)]
mod tests;
