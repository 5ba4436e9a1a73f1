//! One partition of `__transaction_state` and the coordinator of the transactional ids it keeps: a task that owns both.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use tidemill_coordinator::{
    Outcome, Producer, ProducerId, Record, ReplyTo, TransactionAction, TransactionCoordinator,
    TransactionEvent, TransactionMetadata, TransactionPartition, TransactionReply, TransactionSettings,
    TransactionalId, WriteFailure,
};
use tidemill_log::{AppendError, Origin, ProducerError};
use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{self, SteadyClock, sleep_until};
use crate::markers::{COORDINATOR_EPOCH, Marker};
use crate::partition::Partition;
use crate::read_back::{Found, read_back};
use crate::shared::Shared;

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Command {
    Ask {
        id: TransactionalId,
        event: TransactionEvent,
        to: ReplyTo,
        answer: oneshot::Sender<TransactionReply>,
    },
    Describe {
        id: TransactionalId,
        answer: oneshot::Sender<Option<TransactionMetadata>>,
    },
    List {
        answer: oneshot::Sender<Vec<(TransactionalId, TransactionMetadata)>>,
    },
}

/// One partition of `__transaction_state` and its coordinator.
pub(super) struct Shard {
    // Weak, or a broker that is dropped would live on in its shards.
    shared: Weak<Shared>,
    partition: Arc<Partition>,
    coordinator: TransactionCoordinator,
    clock: SteadyClock,
    waiting: BTreeMap<ReplyTo, oneshot::Sender<TransactionReply>>,
}

impl Shard {
    pub(super) fn new(
        shared: Weak<Shared>,
        partition: Arc<Partition>,
        settings: TransactionSettings,
    ) -> Shard {
        Shard {
            shared,
            partition,
            coordinator: TransactionCoordinator::new(settings),
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

    /// Rebuilds the transactions from the log. If it cannot be read, this shard ends, and the next request tries again.
    async fn load(&mut self) -> bool {
        let partition = Arc::clone(&self.partition);
        let mut coordinator = self.coordinator.clone();
        let read = move || {
            let read = read_back(&partition.log, |found| match found {
                Found::Record { key, value, .. } => coordinator.replay(key, value),
                Found::Marker { .. } => Ok(()),
            });
            read.map(|()| coordinator)
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(coordinator)) => self.coordinator = coordinator,
            Ok(Err(error)) => {
                tracing::error!(partition = %self.partition.log.topic_partition(), %error, "cannot read transactions");
                return false;
            }
            Err(_) => return false,
        }
        let mut actions = Vec::new();
        self.coordinator.loaded(self.clock.now(), &mut actions);
        self.act(actions).await;
        true
    }

    async fn obey(&mut self, command: Command, actions: &mut Vec<TransactionAction>) {
        // Whoever asked may have gone away meanwhile: then nobody misses the answer.
        match command {
            Command::Ask {
                id,
                event,
                to,
                answer,
            } => {
                self.provide_producer_id().await;
                self.waiting.insert(to, answer);
                self.coordinator.handle(self.clock.now(), id, event, actions);
            }
            Command::Describe { id, answer } => {
                let _ = answer.send(self.coordinator.describe(&id).cloned());
            }
            Command::List { answer } => {
                let all = self.coordinator.iter();
                let _ = answer.send(all.map(|(id, metadata)| (id.clone(), metadata.clone())).collect());
            }
        }
    }

    /// Gives the coordinator a producer id to hand out. Taking one may have to sync the metadata log.
    async fn provide_producer_id(&mut self) {
        if !self.coordinator.wants_producer_id() {
            return;
        }
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let next = tokio::task::spawn_blocking(move || shared.producer_ids.next(&shared.topics));
        match next.await {
            Ok(Ok(id)) => self.coordinator.give_producer_id(ProducerId(id)),
            Ok(Err(error)) => tracing::error!(%error, "no producer id could be given out"),
            Err(_) => {}
        }
    }

    /// Carries out actions in their order, and what they lead to after them.
    async fn act(&mut self, actions: Vec<TransactionAction>) {
        let mut todo = VecDeque::from(actions);
        while let Some(action) = todo.pop_front() {
            let (id, event) = match action {
                TransactionAction::Reply { to, reply } => {
                    if let Some(answer) = self.waiting.remove(&to) {
                        let _ = answer.send(reply);
                    }
                    continue;
                }
                TransactionAction::Note { id, note } => {
                    tracing::info!(transactional_id = %id, "{note}");
                    continue;
                }
                TransactionAction::Append { id, number, record } => match self.append(&record).await {
                    Ok(()) => (id, TransactionEvent::Written(number)),
                    Err(failure) => (id, TransactionEvent::WriteFailed(number, failure)),
                },
                TransactionAction::WriteMarkers {
                    id,
                    producer,
                    outcome,
                    partitions,
                } => {
                    let partitions = self.write_markers(producer, outcome, partitions).await;
                    (id, TransactionEvent::Marked { producer, partitions })
                }
            };
            let mut next = Vec::new();
            self.coordinator.handle(self.clock.now(), id, event, &mut next);
            todo.extend(next);
        }
    }

    async fn append(&self, record: &Record) -> Result<(), WriteFailure> {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(self.clock.now().0, Some(&record.key), record.value.as_deref(), []);
        let appended = self
            .partition
            .append(batch.build(), Origin::Coordinator, clock::now())
            .await;
        appended.map(drop).map_err(|error| {
            tracing::warn!(partition = %self.partition.log.topic_partition(), %error, "cannot write transactions");
            match error {
                AppendError::TooLarge { .. } => WriteFailure::TooLarge,
                _ => WriteFailure::NotLeader,
            }
        })
    }

    /// Writes the markers; those of the partitions returned need not be written again.
    async fn write_markers(
        &self,
        producer: Producer,
        outcome: Outcome,
        partitions: Vec<TransactionPartition>,
    ) -> Vec<TransactionPartition> {
        let Some(shared) = self.shared.upgrade() else {
            return Vec::new();
        };
        let marker = Marker {
            producer,
            outcome,
            coordinator_epoch: COORDINATOR_EPOCH,
        };
        let mut done = Vec::with_capacity(partitions.len());
        for (topic, index) in partitions {
            let written = match shared.partition(topic.as_str(), index) {
                Some(partition) => marker.write(&shared, &partition).await,
                // Deleted meanwhile, and its records with it.
                None => Ok(()),
            };
            match written {
                // Closed is deleted too; a newer epoch there has ended the transaction already.
                Ok(()) | Err(AppendError::Closed | AppendError::Producer(ProducerError::Fenced { .. })) => {
                    done.push((topic, index));
                }
                Err(error) => {
                    tracing::warn!(%topic, partition = index, %producer, %error, "a transaction's marker was not written");
                }
            }
        }
        done
    }
}
