//! One partition of `__consumer_offsets` and the coordinator of the groups it keeps: a task that owns both.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tidemill_coordinator::{
    Action, ConsumerDescription, Coordinator, Event, FetchedOffset, GroupDescription, GroupError,
    GroupFilter, GroupId, GroupListing, GroupSettings, Producer, Record, Reply, ReplyTo, Timestamp,
    TopicName, WriteFailure,
};
use tidemill_log::{AppendError, Origin, TransactionGuard};
use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;
use tokio::sync::{mpsc, oneshot};

use super::Reader;
use crate::clock::{self, SteadyClock, sleep_until};
use crate::markers::{Marker, without_sequence};
use crate::partition::Partition;
use crate::read_back::{Found, read_back};

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Command {
    Ask {
        group: GroupId,
        event: Event,
        to: ReplyTo,
        answer: oneshot::Sender<Reply>,
    },
    Describe {
        group: GroupId,
        answer: oneshot::Sender<Option<GroupDescription>>,
    },
    DescribeConsumers {
        group: GroupId,
        answer: oneshot::Sender<Option<ConsumerDescription>>,
    },
    List {
        filter: GroupFilter,
        answer: oneshot::Sender<Vec<GroupListing>>,
    },
    FetchOffsets {
        group: GroupId,
        by: Reader,
        wanted: Option<Vec<(TopicName, i32)>>,
        answer: oneshot::Sender<Result<Vec<FetchedOffset>, GroupError>>,
    },
    /// Offsets of a transaction, if it has not ended since its coordinator was asked: else nobody is answered.
    AskInTransaction {
        guard: TransactionGuard,
        group: GroupId,
        event: Event,
        to: ReplyTo,
        answer: oneshot::Sender<Reply>,
    },
    /// The end of a transaction, to be written here since the offsets it decides on are here.
    Mark {
        marker: Marker,
        answer: oneshot::Sender<Result<(), AppendError>>,
    },
    ForgetTopic {
        topic: TopicName,
    },
}

/// One partition of `__consumer_offsets` and its coordinator.
pub(super) struct Shard {
    partition: Arc<Partition>,
    coordinator: Coordinator,
    clock: SteadyClock,
    waiting: BTreeMap<ReplyTo, oneshot::Sender<Reply>>,
}

impl Shard {
    pub(super) fn new(partition: Arc<Partition>, settings: GroupSettings) -> Shard {
        Shard {
            partition,
            coordinator: Coordinator::new(settings),
            clock: SteadyClock::start(),
            waiting: BTreeMap::new(),
        }
    }

    /// Reads the partition, then serves until the mailbox closes.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        if !self.load().await {
            return;
        }
        loop {
            let due = self.coordinator.next_deadline().map(|at| self.clock.instant(at));
            let mut actions = Vec::new();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command, &mut actions).await,
                    None => return,
                },
                () = sleep_until(due) => self.coordinator.tick(self.clock.now(), &mut actions),
            }
            self.act(actions).await;
        }
    }

    /// Rebuilds the groups from the log. If it cannot be read, this shard ends, and the next request tries again: to
    /// begin with what was read so far would hand out old offsets.
    async fn load(&mut self) -> bool {
        let (partition, now) = (Arc::clone(&self.partition), self.clock.now());
        let mut coordinator = self.coordinator.clone();
        let read = move || {
            let read = read_back(&partition.log, |found| match found {
                Found::Record {
                    transaction,
                    key,
                    value,
                } => coordinator.replay(now, transaction, key, value),
                Found::Marker { producer, outcome } => {
                    coordinator.replay_marker(producer, outcome);
                    Ok(())
                }
            });
            read.map(|()| coordinator)
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(coordinator)) => self.coordinator = coordinator,
            Ok(Err(error)) => {
                tracing::error!(partition = %self.partition.log.topic_partition(), %error, "cannot read groups");
                return false;
            }
            Err(_) => return false,
        }
        let mut actions = Vec::new();
        self.coordinator.loaded(self.clock.now(), &mut actions);
        self.act(actions).await;
        true
    }

    async fn obey(&mut self, command: Command, actions: &mut Vec<Action>) {
        let now = self.clock.now();
        // Whoever asked may have gone away meanwhile: then nobody misses the answer.
        match command {
            Command::Ask {
                group,
                event,
                to,
                answer,
            } => {
                self.waiting.insert(to, answer);
                self.coordinator.handle(now, group, event, actions);
            }
            Command::AskInTransaction {
                guard,
                group,
                event,
                to,
                answer,
            } => {
                if self.partition.log.still_holds(&guard) {
                    self.waiting.insert(to, answer);
                    self.coordinator.handle(now, group, event, actions);
                }
            }
            Command::Mark { marker, answer } => {
                let _ = answer.send(self.mark(marker, actions).await);
            }
            Command::Describe { group, answer } => {
                let _ = answer.send(self.coordinator.describe(&group));
            }
            Command::DescribeConsumers { group, answer } => {
                let _ = answer.send(self.coordinator.describe_consumers(&group));
            }
            Command::List { filter, answer } => {
                let _ = answer.send(self.coordinator.list(&filter));
            }
            Command::FetchOffsets {
                group,
                by,
                wanted,
                answer,
            } => {
                let allowed = self.coordinator.check_fetch(&group, &by.member, by.epoch);
                let fetch = |()| self.coordinator.fetch_offsets(&group, wanted.as_deref());
                let _ = answer.send(allowed.map(fetch));
            }
            Command::ForgetTopic { topic } => self.coordinator.forget_topic(now, &topic, actions),
        }
    }

    /// Carries out actions in their order, and what their appends lead to after them.
    async fn act(&mut self, actions: Vec<Action>) {
        let mut todo = VecDeque::from(actions);
        while let Some(action) = todo.pop_front() {
            match action {
                Action::Reply { to, reply } => {
                    if let Some(answer) = self.waiting.remove(&to) {
                        let _ = answer.send(reply);
                    }
                }
                Action::Note { group, note } => tracing::info!(%group, "{note}"),
                Action::Append {
                    group,
                    number,
                    transaction,
                    records,
                } => {
                    let event = match self.append(&records, transaction).await {
                        Ok(()) => Event::Written(number),
                        Err(failure) => Event::WriteFailed(number, failure),
                    };
                    let mut next = Vec::new();
                    self.coordinator.handle(self.clock.now(), group, event, &mut next);
                    todo.extend(next);
                }
            }
        }
    }

    /// Writes a marker, and lets the offsets that it decides on count or go.
    async fn mark(&mut self, marker: Marker, actions: &mut Vec<Action>) -> Result<(), AppendError> {
        marker.append_to(&self.partition).await?;
        let producer = marker.producer.id;
        self.coordinator
            .end_transaction(self.clock.now(), producer, marker.outcome, actions);
        Ok(())
    }

    async fn append(&self, records: &[Record], transaction: Option<Producer>) -> Result<(), WriteFailure> {
        let batch = batch_of(records, transaction, self.clock.now());
        let appended = self
            .partition
            .append(batch, Origin::Coordinator, clock::now())
            .await;
        appended.map(drop).map_err(|error| {
            tracing::warn!(partition = %self.partition.log.topic_partition(), %error, "cannot write groups");
            failure_of(&error)
        })
    }
}

fn batch_of(records: &[Record], transaction: Option<Producer>, now: Timestamp) -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    if let Some(producer) = transaction {
        batch = batch.producer(without_sequence(producer)).transactional();
    }
    for record in records {
        batch.push(now.0, Some(&record.key), record.value.as_deref(), []);
    }
    batch.build()
}

fn failure_of(error: &AppendError) -> WriteFailure {
    match error {
        AppendError::TooLarge { .. } => WriteFailure::TooLarge,
        _ => WriteFailure::NotLeader,
    }
}
