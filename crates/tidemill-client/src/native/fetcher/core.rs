//! What is read, how far, and what waits here to be handed out. Pure.
//!
//! ```text
//! assign ──▶ Unresolved ──ListOffsets──▶ At(offset) ──Fetch──▶ chunks ──poll──▶ records, CaughtUp
//! ```
//! A partition is fetched while less than half of its share of the budget waits here, whether it is paused or not.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tidemill_protocol::messages::fetch::{FetchRequest, FetchResponse, PartitionData};
use tidemill_protocol::{ErrorCode, KString, Uuid};

use super::aborted::Aborted;
use super::chunk::{Chunk, end_of};
use super::session::{Asked, Key, Session};
use crate::native::cluster::{Leader, Node, View};
use crate::native::connection::Backoff;
use crate::native::settings::{FetchSettings, OffsetReset};
use crate::{Batch, Event, Isolation, Record, Start, TopicPartition, TransportError};

/// How long a Fetch waits for records while another partition may want to join it at any moment.
const SHORT_WAIT: Duration = Duration::from_millis(10);
/// The least a partition may fetch at once, however many there are.
const PARTITION_BYTES_MIN: usize = 16 << 10;
/// How long a topic may be missing before its reader hears of it.
const TOPIC_MISSING_MAX: Duration = Duration::from_secs(5);
/// The highest version of Fetch that names topics; later ones have only ids.
pub(super) const NAMED_VERSION_MAX: i16 = 12;

/// Where reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Unresolved(Start),
    Resolving(Start),
    At(i64),
}

struct Partition {
    at: TopicPartition,
    wire_name: KString,
    place: Place,
    chunks: VecDeque<Chunk>,
    // The next offset to hand out.
    delivered: i64,
    // The end as last heard of.
    end: Option<i64>,
    // The end last reported by `CaughtUp`.
    reported: Option<i64>,
    paused: bool,
    in_request: bool,
    // Asked for at least once.
    asked_for: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Partition {
    fn queued_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }

    fn fail(&mut self, now: Instant) {
        self.not_before = Some(now + self.backoff.next_wait());
    }
}

/// Offsets to be looked up at one broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookup {
    pub(super) node: Node,
    pub(super) partitions: Vec<(TopicPartition, Start, i32)>,
}

/// A Fetch to one broker.
pub(super) struct Departure {
    pub(super) node: Node,
    pub(super) request: FetchRequest,
    pub(super) version_max: i16,
    pub(super) topic_ids: Vec<(Uuid, KString)>,
    pub(super) asked: Vec<(Key, i32)>,
}

/// What is to be done now.
#[derive(Default)]
pub(super) struct Step {
    pub(super) fetches: Vec<Departure>,
    pub(super) lookups: Vec<Lookup>,
    pub(super) leaderless: Vec<String>,
    pub(super) wake_at: Option<Instant>,
}

impl Step {
    fn wake_by(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }
}

/// What becomes of a Fetch.
pub(super) struct Returned {
    pub(super) node: Node,
    pub(super) topic_ids: Vec<(Uuid, KString)>,
    pub(super) asked: Vec<(Key, i32)>,
    pub(super) answer: Result<FetchResponse, String>,
}

/// The state of a reader.
pub(super) struct Core {
    settings: FetchSettings,
    partitions: Vec<Partition>,
    sessions: BTreeMap<Node, Session>,
    busy: Vec<Node>,
    // Answers to questions of an earlier assignment are not ours.
    pub(super) generation: u64,
    failure: Option<TransportError>,
    // The partition asked first in the next poll, so that none starves.
    turn: usize,
}

impl Core {
    pub(super) fn new(settings: FetchSettings) -> Self {
        Self {
            settings,
            partitions: Vec::new(),
            sessions: BTreeMap::new(),
            busy: Vec::new(),
            generation: 0,
            failure: None,
            turn: 0,
        }
    }

    pub(super) fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.partitions.iter().map(|p| p.at.topic.to_string()).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Replaces what is read.
    pub(super) fn assign(&mut self, from: &[(TopicPartition, Start)], paused: bool, backoff: &Backoff) {
        self.generation += 1;
        self.sessions.clear();
        self.busy.clear();
        self.failure = None;
        let partition = |(at, start): &(TopicPartition, Start)| {
            let (place, delivered) = match *start {
                Start::At(offset) => (Place::At(offset), offset),
                other => (Place::Unresolved(other), 0),
            };
            Partition {
                at: at.clone(),
                wire_name: (&*at.topic).into(),
                place,
                chunks: VecDeque::new(),
                delivered,
                end: None,
                reported: None,
                paused,
                in_request: false,
                asked_for: false,
                not_before: None,
                backoff: backoff.clone(),
            }
        };
        self.partitions = from.iter().map(partition).collect();
    }

    pub(super) fn set_paused(&mut self, which: &[TopicPartition], paused: bool) {
        for partition in self.partitions.iter_mut().filter(|p| which.contains(&p.at)) {
            partition.paused = paused;
        }
    }

    fn share(&self) -> usize {
        (self.settings.queued_bytes_max / self.partitions.len().max(1)).max(2 * PARTITION_BYTES_MIN)
    }

    /// What to ask of whom.
    pub(super) fn step(&mut self, view: &View, now: Instant) -> Step {
        let mut step = Step::default();
        let mut wanted: BTreeMap<Node, BTreeMap<Key, Asked>> = BTreeMap::new();
        let mut short_of: Vec<Node> = Vec::new();
        let share = self.share();
        let bytes_max = i32::try_from(share / 2)
            .unwrap_or(i32::MAX)
            .min(self.settings.partition_bytes_max);
        for partition in &mut self.partitions {
            if let Some(until) = partition.not_before.filter(|until| *until > now) {
                step.wake_by(until);
                continue;
            }
            if let Some(error) = unreadable(partition, view, now) {
                self.failure.get_or_insert(error);
                continue;
            }
            let Some(leader) = view.leader(&partition.at.topic, partition.at.partition) else {
                if !step.leaderless.iter().any(|topic| **topic == *partition.at.topic) {
                    step.leaderless.push(partition.at.topic.to_string());
                }
                continue;
            };
            match partition.place {
                Place::Resolving(_) => {}
                Place::Unresolved(start) => {
                    partition.place = Place::Resolving(start);
                    look_up(&mut step.lookups, leader, &partition.at, start);
                }
                Place::At(_) if partition.in_request => {}
                Place::At(_) if partition.queued_bytes() > share / 2 => {
                    if !partition.paused {
                        short_of.push(leader.node);
                    }
                }
                Place::At(offset) => {
                    let topic_id = view
                        .topic(&partition.at.topic)
                        .map_or(Uuid::nil(), |topic| topic.id);
                    let asked = Asked {
                        topic_id,
                        offset,
                        leader_epoch: leader.epoch,
                        bytes_max,
                    };
                    let key = (partition.wire_name.clone(), partition.at.partition);
                    wanted.entry(leader.node).or_default().insert(key, asked);
                }
            }
        }
        for (node, wanted) in wanted {
            if !self.busy.contains(&node) {
                let is_short = short_of.contains(&node);
                step.fetches.push(self.depart(node, wanted, is_short));
            }
        }
        step
    }

    fn depart(&mut self, node: Node, wanted: BTreeMap<Key, Asked>, is_short: bool) -> Departure {
        self.busy.push(node);
        let (mut topic_ids, mut asked) = (Vec::new(), Vec::new());
        let mut version_max = i16::MAX;
        // The first answer is wanted at once, also without records: a reader that starts at the end hears that it is
        // there.
        let mut is_first = false;
        for (key, what) in &wanted {
            asked.push((key.clone(), what.leader_epoch));
            if what.topic_id.is_nil() {
                version_max = NAMED_VERSION_MAX;
            }
            if topic_ids.last().is_none_or(|(id, _)| *id != what.topic_id) {
                topic_ids.push((what.topic_id, key.0.clone()));
            }
            let named = self
                .partitions
                .iter_mut()
                .find(|p| p.at.partition == key.1 && p.wire_name == key.0);
            if let Some(partition) = named {
                partition.in_request = true;
                is_first |= !std::mem::replace(&mut partition.asked_for, true);
            }
        }
        let plan = self.sessions.entry(node).or_default().plan(wanted);
        let wait = if is_first {
            Duration::ZERO
        } else if is_short {
            self.settings.wait_max.min(SHORT_WAIT)
        } else {
            self.settings.wait_max
        };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.settings.bytes_min,
            max_bytes: self.settings.bytes_max,
            isolation_level: i8::from(self.settings.isolation == Isolation::ReadCommitted),
            session_id: plan.session_id,
            session_epoch: plan.session_epoch,
            topics: plan.topics,
            forgotten_topics_data: plan.forgotten,
            ..FetchRequest::default()
        };
        Departure {
            node,
            request,
            version_max,
            topic_ids,
            asked,
        }
    }

    fn find(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.partitions
            .iter_mut()
            .find(|p| p.at.partition == partition && *p.at.topic == *topic)
    }

    /// Takes an answer in. Answers of an earlier assignment must not come here.
    pub(super) fn returned(&mut self, returned: Returned, view: &mut View, now: Instant) {
        self.busy.retain(|node| *node != returned.node);
        for (key, _) in &returned.asked {
            if let Some(partition) = self.find(&key.0, key.1) {
                partition.in_request = false;
            }
        }
        let session = self.sessions.entry(returned.node).or_default();
        let response = match returned.answer {
            Ok(response) if response.error_code == ErrorCode::None => response,
            refused => {
                session.reset();
                let (reason, is_quick) = match refused {
                    Ok(response) => (
                        response.error_code.to_string(),
                        is_of_session(response.error_code),
                    ),
                    Err(reason) => (reason, false),
                };
                tracing::debug!("fetch from broker {}: {reason}", returned.node);
                self.all_failed(&returned.asked, is_quick, view, now);
                return;
            }
        };
        session.answered(response.session_id);
        for topic in response.responses {
            let by_id = || {
                returned
                    .topic_ids
                    .iter()
                    .find(|(id, _)| *id == topic.topic_id && !id.is_nil())
            };
            let name = match topic.topic.is_empty() {
                true => by_id().map(|(_, name)| name.clone()),
                false => Some(topic.topic.clone()),
            };
            let Some(name) = name else { continue };
            for data in topic.partitions {
                let asked = returned
                    .asked
                    .iter()
                    .find(|((t, p), _)| *t == name && *p == data.partition_index);
                if let Some((_, epoch)) = asked {
                    self.part(&name, *epoch, data, view, now);
                }
            }
        }
    }

    /// Nothing came: the leaders may be others by now.
    fn all_failed(&mut self, asked: &[(Key, i32)], is_quick: bool, view: &mut View, now: Instant) {
        for ((topic, index), epoch) in asked {
            if is_quick {
                continue;
            }
            view.forget_leader(topic, *index, *epoch);
            if let Some(partition) = self.find(topic, *index) {
                partition.fail(now);
            }
        }
    }

    fn part(&mut self, topic: &KString, epoch: i32, data: PartitionData, view: &mut View, now: Instant) {
        let isolation = self.settings.isolation;
        let reset = self.settings.reset;
        let Some(partition) = self.find(topic, data.partition_index) else {
            return;
        };
        let Place::At(offset) = partition.place else {
            return;
        };
        match data.error_code {
            ErrorCode::None => {
                let end = match isolation {
                    Isolation::ReadCommitted => data.last_stable_offset,
                    Isolation::ReadUncommitted => data.high_watermark,
                };
                if let Err(error) = partition.store(offset, end, data) {
                    partition.fail(now);
                    let failure = unreadable_bytes(&partition.at, offset, &error);
                    self.failure.get_or_insert(failure);
                }
            }
            ErrorCode::OffsetOutOfRange => match reset {
                OffsetReset::Refuse => {
                    let failure = TransportError::OutOfRange {
                        partition: partition.at.clone(),
                        offset,
                    };
                    partition.fail(now);
                    self.failure.get_or_insert(failure);
                }
                reset => {
                    tracing::warn!(
                        "{}: offset {offset} is out of range; going to {reset:?}",
                        partition.at
                    );
                    let start = if reset == OffsetReset::Earliest {
                        Start::Earliest
                    } else {
                        Start::Latest
                    };
                    partition.place = Place::Unresolved(start);
                }
            },
            code if code.is_retriable() => {
                tracing::debug!("{}: {code}", partition.at);
                partition.fail(now);
                let leader = Leader {
                    node: data.current_leader.leader_id,
                    epoch: data.current_leader.leader_epoch,
                };
                if leader.node < 0 || !view.note_leader(topic, data.partition_index, leader, None) {
                    view.forget_leader(topic, data.partition_index, epoch);
                }
            }
            code => {
                partition.fail(now);
                let failure = TransportError::Cluster {
                    operation: "fetch",
                    reason: format!("{}: {code}", partition.at),
                };
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// The answer to a look-up; `None`: it did not work, to be asked again.
    pub(super) fn resolved(&mut self, at: &TopicPartition, offset: Option<i64>, now: Instant) {
        let Some(partition) = self.find(&at.topic, at.partition) else {
            return;
        };
        let Place::Resolving(start) = partition.place else {
            return;
        };
        match offset {
            Some(offset) => {
                partition.place = Place::At(offset);
                partition.delivered = offset;
                partition.backoff.reset();
            }
            None => {
                partition.place = Place::Unresolved(start);
                partition.fail(now);
            }
        }
    }

    /// An error that no retry mends.
    pub(super) fn fail(&mut self, error: TransportError) {
        self.failure.get_or_insert(error);
    }

    /// Takes a failure, so that it is told once.
    pub(super) fn take_failure(&mut self) -> Result<(), TransportError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Partitions to hand records out from, each with its first chunk, in this poll's order.
    pub(super) fn lend(&mut self) -> Vec<(usize, Chunk)> {
        self.turn = self.turn.wrapping_add(1);
        let (count, first) = (self.partitions.len(), self.turn);
        let mut lent = Vec::new();
        for at in (0..count).map(|i| (first + i) % count.max(1)) {
            let partition = self.partitions.get_mut(at).filter(|p| !p.paused);
            if let Some(chunk) = partition.and_then(|p| p.chunks.pop_front()) {
                lent.push((at, chunk));
            }
        }
        lent
    }

    /// Takes a chunk back, and the records that were cut from it as an event.
    pub(super) fn give_back(
        &mut self,
        at: usize,
        chunk: Chunk,
        records: Vec<Record>,
        events: &mut Vec<Event>,
    ) {
        let Some(partition) = self.partitions.get_mut(at) else {
            return;
        };
        partition.delivered = partition.delivered.max(chunk.next_offset());
        if !chunk.is_empty() {
            partition.chunks.push_front(chunk);
        }
        if !records.is_empty() {
            let partition = partition.at.clone();
            events.push(Event::Records(Batch { partition, records }));
        }
    }

    pub(super) fn name(&self, at: usize) -> Option<&TopicPartition> {
        self.partitions.get(at).map(|partition| &partition.at)
    }

    /// Reports each partition that has been read to its end.
    pub(super) fn report_ends(&mut self, events: &mut Vec<Event>) {
        for partition in self.partitions.iter_mut().filter(|p| !p.paused) {
            let is_there =
                partition.chunks.is_empty() && partition.end.is_some_and(|end| partition.delivered >= end);
            if is_there && partition.reported != Some(partition.delivered) {
                partition.reported = Some(partition.delivered);
                events.push(Event::CaughtUp {
                    partition: partition.at.clone(),
                    end: partition.delivered,
                });
            }
        }
    }
}

impl Partition {
    fn store(&mut self, offset: i64, end: i64, data: PartitionData) -> Result<(), String> {
        let bytes = data
            .records
            .map(tidemill_protocol::Records::into_bytes)
            .unwrap_or_default();
        self.end = Some(end);
        self.not_before = None;
        if bytes.is_empty() {
            self.backoff.reset();
            return Ok(());
        }
        let next = end_of(&bytes).map_err(|e| e.to_string())?.unwrap_or(offset);
        if next <= offset {
            return Err(format!("the broker sent records up to offset {next}"));
        }
        self.backoff.reset();
        self.place = Place::At(next);
        self.chunks
            .push_back(Chunk::new(bytes, Aborted::new(data.aborted_transactions), offset));
        Ok(())
    }
}

fn is_of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch
    )
}

fn look_up(lookups: &mut Vec<Lookup>, leader: Leader, at: &TopicPartition, start: Start) {
    let part = (at.clone(), start, leader.epoch);
    match lookups.iter_mut().find(|lookup| lookup.node == leader.node) {
        Some(lookup) => lookup.partitions.push(part),
        None => lookups.push(Lookup {
            node: leader.node,
            partitions: vec![part],
        }),
    }
}

fn unreadable(partition: &Partition, view: &View, now: Instant) -> Option<TransportError> {
    let TopicPartition {
        topic,
        partition: index,
    } = &partition.at;
    if let Some(code) = view.refusal(topic) {
        let reason = format!("{topic}: {code}");
        return Some(TransportError::Cluster {
            operation: "fetch",
            reason,
        });
    }
    let long_missing = view
        .missing_since(topic)
        .is_some_and(|since| since + TOPIC_MISSING_MAX <= now);
    let no_such = view
        .topic(topic)
        .is_some_and(|topic| *index < 0 || *index >= topic.partition_count());
    (long_missing || no_such).then(|| TransportError::UnknownPartition(partition.at.clone()))
}

pub(super) fn unreadable_bytes(at: &TopicPartition, offset: i64, error: &str) -> TransportError {
    TransportError::Cluster {
        operation: "read records",
        reason: format!("{at} at offset {offset}: {error}"),
    }
}

#[cfg(test)]
mod tests;
