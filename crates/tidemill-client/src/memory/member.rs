//! Readers of the cluster in memory, in a group and by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::MemoryCluster;
use super::cluster::State;
use super::group::MemberId;
use super::log::Logs;
use crate::{
    Batch, CommitError, Committed, Event, GroupMetadata, Isolation, Member, Reader, Record, Start,
    Subscription, TopicPartition, TransportError, Wake,
};

/// The partitions being read and how far they are.
#[derive(Default)]
struct Positions {
    next: BTreeMap<TopicPartition, Position>,
    paused: BTreeSet<TopicPartition>,
    isolation: Isolation,
    // The most bytes that one poll brings.
    bytes_max: usize,
}

struct Position {
    offset: i64,
    // The end last reported by `CaughtUp`.
    reported: Option<i64>,
}

impl Positions {
    fn of(isolation: Isolation, bytes_max: usize) -> Self {
        Self {
            isolation,
            bytes_max,
            ..Self::default()
        }
    }

    fn clear(&mut self) {
        *self = Self::of(self.isolation, self.bytes_max);
    }

    fn assign(&mut self, from: &[(TopicPartition, Start)], logs: &Logs) -> Result<(), TransportError> {
        self.next.clear();
        self.paused.clear();
        for (partition, start) in from {
            let log = logs.partition(partition)?;
            let offset = match *start {
                Start::Earliest => log.start(),
                Start::Latest => log.end(self.isolation),
                Start::At(offset) => offset,
                Start::Since(time) => log.since(time).unwrap_or_else(|| log.end(self.isolation)),
            };
            self.next.insert(
                partition.clone(),
                Position {
                    offset,
                    reported: None,
                },
            );
        }
        Ok(())
    }

    fn read(
        &mut self,
        records_max: usize,
        logs: &Logs,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        let mut left = records_max;
        let mut bytes_left = self.bytes_max;
        for (partition, position) in &mut self.next {
            if left == 0 || bytes_left == 0 || self.paused.contains(partition) {
                continue;
            }
            let log = logs.partition(partition)?;
            let read = log
                .read(position.offset, left, bytes_left, self.isolation)
                .ok_or_else(|| TransportError::OutOfRange {
                    partition: partition.clone(),
                    offset: position.offset,
                })?;
            let bytes: usize = read.records.iter().map(Record::byte_len).sum();
            bytes_left = bytes_left.saturating_sub(bytes);
            position.offset = read.next;
            if !read.records.is_empty() {
                left -= read.records.len();
                events.push(Event::Records(Batch {
                    partition: partition.clone(),
                    records: read.records,
                }));
            }
            let end = log.end(self.isolation);
            if position.offset == end && position.reported != Some(end) {
                position.reported = Some(end);
                events.push(Event::CaughtUp {
                    partition: partition.clone(),
                    end,
                });
            }
        }
        Ok(())
    }
}

pub(super) struct MemoryMember {
    cluster: MemoryCluster,
    subscription: Subscription,
    id: MemberId,
    owned: Vec<TopicPartition>,
    positions: Positions,
    // Of the assignment it heard of last.
    generation: i32,
    // Told of its loss, not yet released; it joins again then.
    lost: bool,
    // Set by `wake`, cleared by the poll that it ended.
    woken: Arc<AtomicBool>,
}

impl MemoryMember {
    pub(super) fn join(cluster: MemoryCluster, subscription: Subscription) -> Self {
        let mut member = Self {
            cluster,
            positions: Positions::of(subscription.isolation, subscription.queued_bytes_max),
            subscription,
            id: 0,
            owned: Vec::new(),
            generation: 0,
            lost: false,
            woken: Arc::default(),
        };
        member.rejoin();
        member
    }

    fn rejoin(&mut self) {
        let mut state = self.cluster.shared.lock();
        self.id = state.new_member();
        let State { groups, logs, .. } = &mut *state;
        let group = groups.entry(self.subscription.group.clone()).or_default();
        group.join(
            self.id,
            &self.subscription.client,
            &self.subscription.topics,
            logs,
        );
        drop(state);
        self.cluster.shared.changed.notify_all();
    }

    fn gather(
        &mut self,
        state: &mut State,
        records_max: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        let State { groups, logs, .. } = state;
        let group = groups.entry(self.subscription.group.clone()).or_default();
        if !group.contains(self.id) {
            if !self.lost {
                self.lost = true;
                self.positions.clear();
                events.push(Event::Lost(std::mem::take(&mut self.owned)));
            }
            return Ok(());
        }
        if let Some(news) = group.next_news(self.id) {
            match &news {
                Event::Assigned(partitions) => {
                    self.owned = partitions.clone();
                    self.generation = group.generation();
                }
                Event::Revoking(_) => self.positions.clear(),
                _ => {}
            }
            events.push(news);
            return Ok(());
        }
        self.positions.read(records_max, logs, events)
    }
}

impl Member for MemoryMember {
    fn wake(&self) -> Wake {
        let (cluster, woken) = (self.cluster.clone(), self.woken.clone());
        Arc::new(move || {
            // Under the lock, so that it cannot fall between a poll's look and its wait.
            let state = cluster.shared.lock();
            woken.store(true, Ordering::SeqCst);
            drop(state);
            cluster.shared.changed.notify_all();
        })
    }

    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        let cluster = self.cluster.clone();
        let mut state = cluster.shared.lock();
        let had = events.len();
        self.gather(&mut state, records_max, events)?;
        if events.len() == had && !wait.is_zero() && !self.woken.swap(false, Ordering::SeqCst) {
            let (mut state, _timeout) = cluster
                .shared
                .changed
                .wait_timeout(state, wait)
                .expect("no section that holds this lock panics");
            self.gather(&mut state, records_max, events)?;
        }
        Ok(())
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>, TransportError> {
        let state = self.cluster.shared.lock();
        let name = &self.subscription.group;
        let unstable = |p: &TopicPartition| state.transactions.is_unstable(name, p);
        if self.subscription.isolation == Isolation::ReadCommitted && partitions.iter().any(unstable) {
            return Err(TransportError::Unstable);
        }
        let group = state.groups.get(name);
        Ok(partitions.iter().map(|p| group?.committed(p)).collect())
    }

    fn accept(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError> {
        let state = self.cluster.shared.lock();
        self.positions.assign(from, &state.logs)?;
        self.positions.paused = from.iter().map(|(partition, _)| partition.clone()).collect();
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.positions.paused.extend(partitions.iter().cloned());
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.positions.paused.remove(partition);
        }
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), CommitError> {
        let mut state = self.cluster.shared.lock();
        if state.failing_commits > 0 {
            state.failing_commits -= 1;
            let reason = "injected failure".to_owned();
            return Err(TransportError::Cluster {
                operation: "commit",
                reason,
            }
            .into());
        }
        let State { groups, logs, .. } = &mut *state;
        let group = groups.entry(self.subscription.group.clone()).or_default();
        group.commit(self.id, offsets, logs)
    }

    fn known_end(&self, partition: &TopicPartition) -> Option<i64> {
        let state = self.cluster.shared.lock();
        let log = state.logs.partition(partition).ok()?;
        Some(log.end(self.subscription.isolation))
    }

    fn group_metadata(&self) -> GroupMetadata {
        GroupMetadata {
            group: self.subscription.group.clone(),
            // As this member knows it: of the assignment it heard of last.
            generation: self.generation,
            member: self.id.to_string(),
            instance: self.subscription.instance.clone(),
        }
    }

    fn release(&mut self) -> Result<(), TransportError> {
        self.owned.clear();
        self.positions.clear();
        if std::mem::take(&mut self.lost) {
            self.rejoin();
            return Ok(());
        }
        let mut state = self.cluster.shared.lock();
        let State { groups, logs, .. } = &mut *state;
        groups
            .entry(self.subscription.group.clone())
            .or_default()
            .release(self.id, logs);
        drop(state);
        self.cluster.shared.changed.notify_all();
        Ok(())
    }

    fn leave(self: Box<Self>) -> Result<(), TransportError> {
        let mut state = self.cluster.shared.lock();
        let State { groups, logs, .. } = &mut *state;
        groups
            .entry(self.subscription.group.clone())
            .or_default()
            .remove(self.id, logs);
        drop(state);
        self.cluster.shared.changed.notify_all();
        Ok(())
    }
}

pub(super) struct MemoryReader {
    cluster: MemoryCluster,
    positions: Positions,
}

impl MemoryReader {
    pub(super) fn new(cluster: MemoryCluster) -> Self {
        Self {
            cluster,
            positions: Positions::of(Isolation::ReadCommitted, usize::MAX),
        }
    }
}

impl Reader for MemoryReader {
    fn assign(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError> {
        let state = self.cluster.shared.lock();
        self.positions.assign(from, &state.logs)
    }

    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        let state = self.cluster.shared.lock();
        let had = events.len();
        self.positions.read(records_max, &state.logs, events)?;
        if events.len() == had && !wait.is_zero() {
            let (state, _timeout) = self
                .cluster
                .shared
                .changed
                .wait_timeout(state, wait)
                .expect("no section that holds this lock panics");
            self.positions.read(records_max, &state.logs, events)?;
        }
        Ok(())
    }
}
