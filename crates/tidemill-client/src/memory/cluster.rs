//! The cluster itself, and what a test may do to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::group::{Group, MemberId};
use super::log::Logs;
use super::member::{MemoryMember, MemoryReader};
use super::transactions::{MemoryTransactionalWriter, Transactions};
use super::writer::MemoryWriter;
use crate::{
    Isolation, Member, Reader, Record, Subscription, TopicDescription, TopicPartition, TopicSpec,
    TransactionError, TransactionSettings, TransactionalWriter, Transport, TransportError, Writer,
};

/// A cluster in memory. Clones are the same cluster, so several instances of a program can join it.
#[derive(Clone, Default)]
pub struct MemoryCluster {
    pub(super) shared: Arc<Shared>,
}

#[derive(Default)]
pub(super) struct Shared {
    // Guards everything; sections are short and never wait except on `changed`.
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) logs: Logs,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) transactions: Transactions,
    pub(super) failing_commits: usize,
    pub(super) lost_replies: usize,
    pub(super) failing_sends: BTreeMap<String, usize>,
    members: MemberId,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no section that holds this lock panics")
    }
}

impl State {
    pub(super) fn new_member(&mut self) -> MemberId {
        self.members += 1;
        self.members
    }
}

impl MemoryCluster {
    /// An empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a topic, unless it is there.
    pub fn topic(&self, name: &str, partitions: i32) {
        self.shared.lock().logs.create(name, partitions, BTreeMap::new());
    }

    /// Deletes a topic with its records, and what groups have committed of it.
    pub fn delete_topic(&self, name: &str) {
        let mut state = self.shared.lock();
        state.logs.delete(name);
        state.groups.values_mut().for_each(|group| group.forget(name));
    }

    /// The names of all topics, in order.
    pub fn topics(&self) -> Vec<String> {
        self.shared.lock().logs.names()
    }

    /// The settings a topic was created with.
    pub fn topic_config(&self, name: &str) -> Option<BTreeMap<String, String>> {
        self.shared
            .lock()
            .logs
            .topic(name)
            .map(|topic| topic.config.clone())
    }

    /// Appends a record, as some other producer would. Its offset is the next one, whatever the record says.
    pub fn append(&self, to: &TopicPartition, record: Record) -> Result<(), TransportError> {
        self.shared.lock().logs.append(to, record, None)?;
        self.shared.changed.notify_all();
        Ok(())
    }

    /// All records of a partition that a reader of committed records sees.
    pub fn records(&self, of: &TopicPartition) -> Result<Vec<Record>, TransportError> {
        let state = self.shared.lock();
        let partition = state.logs.partition(of)?;
        let read = partition.read(
            partition.start(),
            usize::MAX,
            usize::MAX,
            Isolation::ReadCommitted,
        );
        Ok(read.map(|read| read.records).unwrap_or_default())
    }

    /// What happens to a transaction that is open for too long: it is aborted, and its producer fenced.
    pub fn expire_transaction(&self, transactional_id: &str) {
        self.shared.lock().take_over(transactional_id);
        self.shared.changed.notify_all();
    }

    /// Forgets the records before `offset`, as retention does.
    pub fn trim(&self, partition: &TopicPartition, offset: i64) {
        self.shared.lock().logs.trim(partition, offset);
    }

    /// A group's committed offset.
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<i64> {
        let committed = self.shared.lock().groups.get(group)?.committed(partition)?;
        Some(committed.next)
    }

    /// What happens to members that are silent for too long: they are out of the group, and others get their
    /// partitions. If such a member still lives, it hears of the loss at its next poll, and joins again.
    pub fn expire(&self, group: &str, client: &str) {
        let mut state = self.shared.lock();
        let State { groups, logs, .. } = &mut *state;
        if let Some(group) = groups.get_mut(group) {
            for id in group.members_of(client) {
                group.remove(id, logs);
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Lets the next `times` commits fail, of offsets or of transactions.
    pub fn fail_commits(&self, times: usize) {
        self.shared.lock().failing_commits += times;
    }

    /// Lets the answers to the next `times` commits of transactions be lost: they are made, and the program cannot know.
    pub fn lose_commit_replies(&self, times: usize) {
        self.shared.lock().lost_replies += times;
    }

    /// Lets the next `times` sends to a topic fail; their records are lost.
    pub fn fail_sends(&self, topic: &str, times: usize) {
        *self
            .shared
            .lock()
            .failing_sends
            .entry(topic.to_owned())
            .or_default() += times;
    }
}

impl Transport for MemoryCluster {
    fn join(&self, subscription: &Subscription) -> Result<Box<dyn Member>, TransportError> {
        Ok(Box::new(MemoryMember::join(self.clone(), subscription.clone())))
    }

    fn reader(&self, _name: &str) -> Result<Box<dyn Reader>, TransportError> {
        Ok(Box::new(MemoryReader::new(self.clone())))
    }

    fn writer(&self, _name: &str) -> Result<Box<dyn Writer>, TransportError> {
        Ok(Box::new(MemoryWriter::new(self.clone())))
    }

    fn transactional_writer(
        &self,
        _name: &str,
        settings: &TransactionSettings,
    ) -> Result<Box<dyn TransactionalWriter>, TransactionError> {
        Ok(Box::new(MemoryTransactionalWriter::new(
            self.clone(),
            &settings.id,
        )))
    }

    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicDescription>>, TransportError> {
        let state = self.shared.lock();
        let describe = |name: &&str| {
            let topic = state.logs.topic(name)?;
            Some(TopicDescription {
                partitions: topic.partitions.len() as i32,
                id: Some(u128::from(topic.id).to_be_bytes()),
            })
        };
        Ok(topics.iter().map(describe).collect())
    }

    fn topics(&self) -> Result<Vec<String>, TransportError> {
        Ok(Self::topics(self))
    }

    fn create(&self, topics: &[TopicSpec]) -> Result<(), TransportError> {
        let mut state = self.shared.lock();
        for topic in topics {
            state
                .logs
                .create(&topic.name, topic.partitions.unwrap_or(1), topic.config.clone());
        }
        Ok(())
    }

    fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        let state = self.shared.lock();
        partitions
            .iter()
            .map(|p| Ok(state.logs.partition(p)?.last_stable()))
            .collect()
    }

    fn start_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        let state = self.shared.lock();
        partitions
            .iter()
            .map(|p| Ok(state.logs.partition(p)?.start()))
            .collect()
    }

    fn high_watermarks(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        let state = self.shared.lock();
        partitions
            .iter()
            .map(|p| Ok(state.logs.partition(p)?.high_watermark()))
            .collect()
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<(), TransportError> {
        let mut state = self.shared.lock();
        for (partition, offset) in before {
            state.logs.partition(partition)?;
            state.logs.trim(partition, *offset);
        }
        Ok(())
    }
}
