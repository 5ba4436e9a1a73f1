//! Consumers under the runtime: a member of a group, and a reader by hand. Both read partition by partition.
#![allow(
    unsafe_code,
    reason = "calls librdkafka's C interface; each block says why it is sound"
)]

use std::ffi::c_int;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::client::{Client, REQUEST_TIMEOUT, Rebalance, Role, check, describe};
use super::group;
use super::list::{NO_OFFSET, PartitionList};
use super::messages::{Messages, Remark};
use super::queue::Queue;
use crate::{
    Batch, CommitError, Committed, Event, GroupMetadata, Isolation, Member, Reader, Settings, Start,
    Subscription, TopicPartition, TransportError, Wake,
};

/// Events taken from the main queue at once; it carries errors and rebalances only.
const MAIN_QUEUE_EVENTS_MAX: usize = 64;

/// How long the question for stable offsets is repeated before the caller gets to look at other things.
const STABLE_TIMEOUT: Duration = Duration::from_secs(2);

struct Assigned {
    partition: TopicPartition,
    queue: Queue,
    paused: bool,
}

/// What members and readers share.
struct Consumer {
    // Dropped in this order: messages and queues belong to the client.
    messages: Messages,
    assigned: Vec<Assigned>,
    main: Queue,
    client: Arc<Client>,
    // The partition asked first in the next poll, so that none starves.
    turn: usize,
}

impl Consumer {
    fn new(settings: &Settings) -> Result<Self, TransportError> {
        let client = Arc::new(Client::new(Role::Consumer, settings)?);
        let main = Queue::main(&client)?;
        Ok(Self {
            messages: Messages::default(),
            assigned: Vec::new(),
            main,
            client,
            turn: 0,
        })
    }

    fn assign(&mut self, from: &[(TopicPartition, Start)], paused: bool) -> Result<(), TransportError> {
        self.assigned.clear();
        for (partition, _) in from {
            let queue = Queue::partition(&self.client, partition)?;
            self.assigned.push(Assigned {
                partition: partition.clone(),
                queue,
                paused,
            });
        }
        let offsets = raw_offsets(&self.client, from)?;
        let list = PartitionList::new(from.iter().map(|(partition, _)| partition).zip(offsets))?;
        // SAFETY: the client is a live consumer, the list valid for the call.
        check("assign partitions", unsafe {
            rd::rd_kafka_assign(self.client.ptr(), list.ptr())
        })
    }

    fn unassign(&mut self) -> Result<(), TransportError> {
        self.assigned.clear();
        // SAFETY: the client is a live consumer.
        check("release partitions", unsafe {
            rd::rd_kafka_assign(self.client.ptr(), std::ptr::null())
        })
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for assigned in self
            .assigned
            .iter_mut()
            .filter(|a| partitions.contains(&a.partition))
        {
            assigned.paused = paused;
        }
    }

    fn poll(&mut self, max: usize, wait: Duration, events: &mut Vec<Event>) -> Result<(), TransportError> {
        let had = events.len();
        self.gather(max, events)?;
        if events.len() == had && !wait.is_zero() {
            self.client.waker().wait(wait);
            self.gather(max, events)?;
        }
        Ok(())
    }

    fn gather(&mut self, max: usize, events: &mut Vec<Event>) -> Result<(), TransportError> {
        let mut remarks = Vec::new();
        self.main.take(MAIN_QUEUE_EVENTS_MAX, &mut self.messages);
        self.messages.drain(&mut remarks);
        for remark in remarks.drain(..) {
            note(remark, None, events)?;
        }
        let rebalances = self.client.take_rebalances();
        if !rebalances.is_empty() {
            events.extend(rebalances.into_iter().map(event));
            return Ok(());
        }
        self.gather_records(max, &mut remarks, events)
    }

    fn gather_records(
        &mut self,
        max: usize,
        remarks: &mut Vec<Remark>,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        let active = self.assigned.iter().filter(|a| !a.paused).count();
        let share = max.div_ceil(active.max(1)).max(1);
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % self.assigned.len().max(1);
        let (after, before) = self.assigned.split_at(first);
        for assigned in before.iter().chain(after).filter(|a| !a.paused) {
            assigned.queue.take(share, &mut self.messages);
            let records = self.messages.drain(remarks);
            if !records.is_empty() {
                events.push(Event::Records(Batch {
                    partition: assigned.partition.clone(),
                    records,
                }));
            }
            for remark in remarks.drain(..) {
                note(remark, Some(&assigned.partition), events)?;
            }
        }
        Ok(())
    }
}

/// The offsets to read from, as librdkafka takes them.
fn raw_offsets(client: &Client, from: &[(TopicPartition, Start)]) -> Result<Vec<i64>, TransportError> {
    const BEGINNING: i64 = -2;
    const END: i64 = -1;
    let raw = |(partition, start): &(TopicPartition, Start)| match *start {
        Start::Earliest => Ok(BEGINNING),
        Start::Latest => Ok(END),
        Start::At(offset) => Ok(offset),
        Start::Since(time) => {
            // The end comes first: where no record is late enough, those written from now on are read, none left out.
            let (_, end) = client.watermarks(partition)?;
            Ok(client.first_since(partition, time)?.unwrap_or(end))
        }
    };
    from.iter().map(raw).collect()
}

fn event(rebalance: Rebalance) -> Event {
    match rebalance {
        Rebalance::Assigned(partitions) => Event::Assigned(partitions),
        Rebalance::Revoking(partitions) => Event::Revoking(partitions),
        Rebalance::Lost(partitions) => Event::Lost(partitions),
    }
}

fn note(remark: Remark, of: Option<&TopicPartition>, events: &mut Vec<Event>) -> Result<(), TransportError> {
    match (remark, of) {
        (Remark::CaughtUp { end }, Some(of)) => events.push(Event::CaughtUp {
            partition: of.clone(),
            end,
        }),
        (Remark::CaughtUp { .. }, None) => {}
        (Remark::OutOfRange { offset }, Some(of)) => {
            return Err(TransportError::OutOfRange {
                partition: of.clone(),
                offset,
            });
        }
        (Remark::OutOfRange { offset }, None) => {
            let reason = format!("offset {offset} is out of range");
            return Err(TransportError::Cluster {
                operation: "poll",
                reason,
            });
        }
        (
            Remark::Gone {
                partition: Some(partition),
                reason,
            },
            _,
        ) => {
            tracing::error!(%partition, "{reason}");
            return Err(TransportError::UnknownPartition(partition));
        }
        (
            Remark::Gone {
                partition: None,
                reason,
            },
            _,
        ) => {
            return Err(TransportError::Cluster {
                operation: "poll",
                reason,
            });
        }
        // librdkafka tries again by itself.
        (Remark::Passing { reason }, _) => tracing::warn!("{reason}"),
    }
    Ok(())
}

pub(super) struct KafkaMember {
    consumer: Consumer,
    isolation: Isolation,
}

impl KafkaMember {
    pub(super) fn join(settings: &Settings, subscription: &Subscription) -> Result<Self, TransportError> {
        let consumer = Consumer::new(settings)?;
        let topics: Vec<_> = subscription
            .topics
            .iter()
            .map(|t| TopicPartition::new(t.as_str(), -1))
            .collect();
        let list = PartitionList::new(topics.iter().map(|t| (t, NO_OFFSET)))?;
        // SAFETY: the client is a live consumer, the list valid for the call.
        check("subscribe", unsafe {
            rd::rd_kafka_subscribe(consumer.client.ptr(), list.ptr())
        })?;
        Ok(Self {
            consumer,
            isolation: subscription.isolation,
        })
    }
}

impl Member for KafkaMember {
    fn wake(&self) -> Wake {
        let client = Arc::downgrade(&self.consumer.client);
        Arc::new(move || {
            if let Some(client) = client.upgrade() {
                client.waker().wake();
            }
        })
    }

    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        self.consumer.poll(records_max, wait, events)
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>, TransportError> {
        let list = PartitionList::new(partitions.iter().map(|p| (p, NO_OFFSET)))?;
        let timeout = match self.isolation {
            Isolation::ReadUncommitted => REQUEST_TIMEOUT,
            Isolation::ReadCommitted => STABLE_TIMEOUT,
        };
        // SAFETY: the client is a live consumer, the list valid for the call, which fills in offsets.
        let code = unsafe {
            let timeout = timeout.as_millis() as c_int;
            rd::rd_kafka_committed(self.consumer.client.ptr(), list.ptr(), timeout)
        };
        let waits = |code| {
            code == Code::RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT
                || (code == Code::RD_KAFKA_RESP_ERR__TIMED_OUT && self.isolation == Isolation::ReadCommitted)
        };
        if waits(code) || list.results().iter().any(|(_, code)| waits(*code)) {
            return Err(TransportError::Unstable);
        }
        check("committed offsets", code)?;
        let offset = |(committed, code): (Committed, Code)| {
            check("committed offsets", code).map(|()| (committed.next >= 0).then_some(committed))
        };
        list.results().into_iter().map(offset).collect()
    }

    fn accept(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError> {
        self.consumer.assign(from, true)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.consumer.set_paused(partitions, true);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.consumer.set_paused(partitions, false);
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), CommitError> {
        let list = PartitionList::committed(offsets)?;
        // SAFETY: the client is a live consumer, the list valid for the call.
        let code = unsafe { rd::rd_kafka_commit(self.consumer.client.ptr(), list.ptr(), 0) };
        match code {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS => Err(CommitError::Rebalancing),
            Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
            | Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
            | Code::RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH
            | Code::RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH
            | Code::RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST => Err(CommitError::Fenced(describe(code))),
            code => Ok(check("commit offsets", code)?),
        }
    }

    fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.consumer.client.known_end(partition)
    }

    fn group_metadata(&self) -> GroupMetadata {
        group::metadata(&self.consumer.client)
    }

    fn release(&mut self) -> Result<(), TransportError> {
        self.consumer.unassign()
    }

    fn leave(mut self: Box<Self>) -> Result<(), TransportError> {
        self.consumer.assigned.clear();
        self.consumer.client.close()
    }
}

pub(super) struct KafkaReader {
    consumer: Consumer,
}

impl KafkaReader {
    pub(super) fn new(settings: &Settings) -> Result<Self, TransportError> {
        Ok(Self {
            consumer: Consumer::new(settings)?,
        })
    }
}

impl Reader for KafkaReader {
    fn assign(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError> {
        self.consumer.assign(from, false)
    }

    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        self.consumer.poll(records_max, wait, events)
    }
}
