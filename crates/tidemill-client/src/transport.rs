//! The seam below the runtime. Calls block; the runtime makes them on its own threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_data::Timestamp;

use crate::{Batch, Outgoing, TopicPartition, TransactionError, TransactionalWriter, WriterTopic};

/// Client settings by Kafka's names (`bootstrap.servers`, `ssl.*`, `sasl.*`, `fetch.min.bytes`, …).
pub type Settings = BTreeMap<String, String>;

/// A connection to a cluster.
pub trait Transport: Send + Sync + 'static {
    /// Joins a consumer group. Partitions arrive by [`Event::Assigned`].
    fn join(&self, subscription: &Subscription) -> Result<Box<dyn Member>, TransportError>;

    /// A reader of partitions assigned by hand, outside any group. It sees only committed records.
    fn reader(&self, name: &str) -> Result<Box<dyn Reader>, TransportError>;

    /// A producer.
    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, TransportError>;

    /// A producer of transactions. It takes its id over from whoever had it: their open transaction is aborted, and what
    /// they try from now on is refused.
    fn transactional_writer(
        &self,
        name: &str,
        settings: &TransactionSettings,
    ) -> Result<Box<dyn TransactionalWriter>, TransactionError>;

    /// The named topics; `None` for one that does not exist. Nothing is created by asking.
    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicDescription>>, TransportError>;

    /// The names of all topics, those of the cluster's own use excepted.
    fn topics(&self) -> Result<Vec<String>, TransportError>;

    /// Creates topics; one that exists already is left as it is.
    fn create(&self, topics: &[TopicSpec]) -> Result<(), TransportError>;

    /// The offset after the last committed record of each partition.
    fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError>;

    /// The offset of the first record still there, of each partition.
    fn start_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError>;

    /// The offset at which a record written now would land, of each partition: the high watermark. It is beyond
    /// [`end_offsets`](Self::end_offsets) where a transaction is open.
    fn high_watermarks(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError>;

    /// Deletes the records before these offsets. What is gone already is no error.
    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<(), TransportError>;
}

/// Who writes transactions, and how long one may stay open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transactional.id`.
    pub id: String,
    /// `transaction.timeout.ms`: the broker aborts what has been open for longer.
    pub timeout: Duration,
}

/// What a member wants of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The group's id (`application.id` of a streams program).
    pub group: String,
    /// The member's `client.id`, seen in logs and group descriptions.
    pub client: String,
    /// Topics by name.
    pub topics: Vec<String>,
    /// The most bytes of records that may wait inside the client, over all partitions, and so about the most that one
    /// poll brings; a record that is larger comes alone.
    pub queued_bytes_max: usize,
    /// Which records are delivered.
    pub isolation: Isolation,
    /// `group.instance.id`: a member that comes back under it within its session's timeout gets its partitions back
    /// without a rebalance.
    pub instance: Option<String>,
}

impl Subscription {
    /// Subscribes to topics with no more than defaults: all records, a dynamic member, 16 MiB queued.
    pub fn new(group: impl Into<String>, client: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            group: group.into(),
            client: client.into(),
            topics,
            queued_bytes_max: 16 << 20,
            isolation: Isolation::ReadUncommitted,
            instance: None,
        }
    }
}

/// Which records a member sees, by Kafka's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All, those of transactions that are open or aborted included.
    #[default]
    ReadUncommitted,
    /// Up to the first open transaction, without those of aborted ones.
    ReadCommitted,
}

/// A committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to read.
    pub next: i64,
    /// Whatever the member that committed wanted to be told again: tasks keep their stream times in it.
    pub metadata: Arc<str>,
}

impl From<i64> for Committed {
    fn from(next: i64) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }
}

/// What a member is to its group at the moment. A transaction that commits offsets carries it, so that a member whose
/// partitions are another's by now commits nothing (KIP-447).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group's id.
    pub group: String,
    /// The group's generation, or the member's epoch.
    pub generation: i32,
    /// The member's id.
    pub member: String,
    /// `group.instance.id`, for a static member.
    pub instance: Option<String>,
}

/// What happens to a member or reader, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Records arrived.
    Records(Batch),
    /// These partitions are ours, all of them at once (eager). Nothing is read before [`Member::accept`].
    Assigned(Vec<TopicPartition>),
    /// These partitions go. They stay ours until [`Member::release`]: commit first.
    Revoking(Vec<TopicPartition>),
    /// These partitions are already someone else's: throw work away, commit nothing, then [`Member::release`].
    Lost(Vec<TopicPartition>),
    /// Everything up to `end` was delivered. Comes again after new records.
    CaughtUp {
        /// The partition.
        partition: TopicPartition,
        /// The offset after the last record seen.
        end: i64,
    },
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record still there.
    Earliest,
    /// After the last record.
    Latest,
    /// At an offset.
    At(i64),
    /// At the first record of this time or later; after the last record if there is none yet.
    Since(Timestamp),
}

/// Ends a wait of a member's [`Member::poll`] early, from any thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A member of a consumer group.
pub trait Member: Send {
    /// Something with which other threads end a wait of [`poll`](Self::poll).
    fn wake(&self) -> Wake;

    /// Adds what happened to `events`: at most about `records_max` records; waits up to `wait` when there is nothing.
    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError>;

    /// The group's committed offsets. A reader of committed records gets stable ones: offsets that a transaction may
    /// still change are [`TransportError::Unstable`], and the question is to be asked again.
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>, TransportError>;

    /// Answers [`Event::Assigned`]: all of the partitions, each with the place to read from. They begin paused. Called
    /// again later, it moves to other places.
    fn accept(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError>;

    /// Delivers no records of these partitions until they are resumed. Costs nothing: what is prefetched stays.
    fn pause(&mut self, partitions: &[TopicPartition]);

    /// Takes a pause back.
    fn resume(&mut self, partitions: &[TopicPartition]);

    /// Commits the offsets of the next records to read.
    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), CommitError>;

    /// The offset after the last record of a partition, as this member last heard, without asking. `None`: it has not
    /// heard.
    fn known_end(&self, _partition: &TopicPartition) -> Option<i64> {
        None
    }

    /// What this member is to its group, for [`TransactionalWriter::send_offsets`].
    fn group_metadata(&self) -> GroupMetadata;

    /// Answers [`Event::Revoking`] and [`Event::Lost`]: from now on the partitions are not ours.
    fn release(&mut self) -> Result<(), TransportError>;

    /// Leaves the group at once, so that others need not wait for the session to time out.
    fn leave(self: Box<Self>) -> Result<(), TransportError>;
}

/// Reads partitions assigned by hand.
pub trait Reader: Send {
    /// Replaces what is read.
    fn assign(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError>;

    /// As [`Member::poll`]; only `Records` and `CaughtUp` appear.
    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError>;
}

/// A producer.
pub trait Writer: Send {
    /// Makes a topic known, so that records can name it cheaply. The same name gives the same answer.
    fn topic(&mut self, name: &str) -> Result<WriterTopic, TransportError>;

    /// Queues records; those of one partition stay in order. Blocks while the queue is full.
    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), TransportError>;

    /// Sends what is due and takes notice of outcomes, without waiting. An error means that records were lost.
    fn poll(&mut self) -> Result<(), TransportError>;

    /// Waits until everything queued is acknowledged. An error means that records were lost.
    fn flush(&mut self) -> Result<(), TransportError>;
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// The number of partitions; `None` leaves it to the broker.
    pub partitions: Option<i32>,
    /// The number of replicas; `None` leaves it to the broker.
    pub replication: Option<i16>,
    /// Settings by Kafka's names (`cleanup.policy`, `retention.ms`, …).
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A topic with the broker's settings.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions: Some(partitions),
            replication: None,
            config: BTreeMap::new(),
        }
    }

    /// Sets the number of replicas.
    pub fn replication(mut self, replicas: i16) -> Self {
        self.replication = Some(replicas);
        self
    }

    /// Sets one setting.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(name.into(), value.into());
        self
    }
}

/// A topic as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The number of partitions.
    pub partitions: i32,
    /// The topic's id, where the cluster tells: another id under the same name is another topic.
    pub id: Option<[u8; 16]>,
}

/// Why a transport did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The program was built without a client for this.
    #[error("no client is built in: enable the feature `kafka`")]
    NotBuilt,
    /// The settings do not hold together.
    #[error("client settings: {0}")]
    Settings(String),
    /// A topic or partition is not there.
    #[error("{0} does not exist")]
    UnknownPartition(TopicPartition),
    /// The position to read from is gone.
    #[error("offset {offset} of {partition} is out of range")]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        offset: i64,
    },
    /// A transaction that is open may still change the answer. Ask again.
    #[error("committed offsets wait for a transaction to end")]
    Unstable,
    /// Records were not written.
    #[error("writing to {partition} failed: {reason}")]
    Delivery {
        /// Where to.
        partition: TopicPartition,
        /// What the client or broker said.
        reason: String,
    },
    /// A request was refused or failed for good.
    #[error("{operation}: {reason}")]
    Cluster {
        /// What was asked.
        operation: &'static str,
        /// What the client or broker said.
        reason: String,
    },
}

/// Why offsets were not committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The group has moved on without this member: the partitions may be another's.
    #[error("the group has moved on: {0}")]
    Fenced(String),
    /// A rebalance is under way; the partitions are still ours and the commit may be tried again.
    #[error("the group is rebalancing")]
    Rebalancing,
    /// Anything else.
    #[error(transparent)]
    Transport(#[from] TransportError),
}
