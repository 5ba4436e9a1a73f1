//! Transactions: a task for each partition of `__transaction_state` in use, which owns that partition's coordinator.
//!
//! ```text
//! handler ──▶ Transactions::ask ──▶ [mailbox] ──▶ shard: TransactionCoordinator ──▶ append to __transaction_state
//!    ▲                                                │                          └─▶ markers to the partitions
//!    └────────────────── oneshot ◀── Reply ◀──────────┘
//! ```
//! A shard finishes what one event leads to, markers included, before it takes the next: a producer's next transaction
//! never meets the end of its last one.

mod shard;

use std::sync::Arc;

use tidemill_coordinator::{
    ClientProtocol, InitRequest, Outcome, Producer, ReplyTo, TransactionError, TransactionEvent,
    TransactionMetadata, TransactionPartition, TransactionReply, TransactionSettings, TransactionalId,
    partition_of_group,
};
use tokio::sync::{mpsc, oneshot};

use crate::partition::Partition;
use crate::settings::BrokerSettings;
use crate::shards::Shards;
use crate::shared::Shared;
use crate::topics::{TRANSACTION_STATE, Topic};

use shard::{Command, Shard};

/// The shards of a broker's transactions.
#[derive(Debug, Default)]
pub(crate) struct TransactionShards(Shards<Command>);

/// All transactions of a broker.
#[derive(Clone, Debug)]
pub(crate) struct Transactions {
    shared: Arc<Shared>,
}

impl Transactions {
    pub(crate) fn of(shared: &Arc<Shared>) -> Transactions {
        Transactions {
            shared: Arc::clone(shared),
        }
    }

    /// Takes up what is found in `__transaction_state`: decided transactions get their markers, others time out.
    pub(crate) fn resume(&self) {
        let topic = self.shared.topics.find(TRANSACTION_STATE);
        for partition in topic.iter().flat_map(|topic| &topic.partitions) {
            if partition.log.log_end_offset() > partition.log.log_start_offset() {
                self.running(partition);
            }
        }
    }

    /// A producer instance begins.
    pub(crate) async fn init(
        &self,
        id: TransactionalId,
        request: InitRequest,
    ) -> Result<Producer, TransactionError> {
        let topic = match self.shared.topics.find(TRANSACTION_STATE) {
            Some(topic) => topic,
            None => self
                .make_topic()
                .await
                .ok_or(TransactionError::CoordinatorNotAvailable)?,
        };
        match self
            .ask(&topic, id, |to| TransactionEvent::Init { request, to })
            .await
        {
            Some(TransactionReply::Init(answer)) => answer,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// Partitions become part of a transaction.
    pub(crate) async fn add(
        &self,
        id: TransactionalId,
        producer: Producer,
        partitions: Vec<TransactionPartition>,
        protocol: ClientProtocol,
    ) -> Result<(), TransactionError> {
        let topic = self.topic()?;
        let event = |to| TransactionEvent::Add {
            producer,
            partitions,
            protocol,
            to,
        };
        match self.ask(&topic, id, event).await {
            Some(TransactionReply::Add(answer)) => answer,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// Whether a partition is part of a transaction.
    pub(crate) async fn verify(
        &self,
        id: TransactionalId,
        producer: Producer,
        partition: TransactionPartition,
    ) -> Result<(), TransactionError> {
        let topic = self.topic()?;
        let event = |to| TransactionEvent::Verify {
            producer,
            partition,
            to,
        };
        match self.ask(&topic, id, event).await {
            Some(TransactionReply::Verify(answer)) => answer,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// A transaction ends. Its markers follow the answer.
    pub(crate) async fn end(
        &self,
        id: TransactionalId,
        producer: Producer,
        outcome: Outcome,
        protocol: ClientProtocol,
    ) -> Result<Producer, TransactionError> {
        let topic = self.topic()?;
        let event = |to| TransactionEvent::End {
            producer,
            outcome,
            protocol,
            to,
        };
        match self.ask(&topic, id, event).await {
            Some(TransactionReply::End(answer)) => answer,
            _ => Err(TransactionError::CoordinatorNotAvailable),
        }
    }

    /// What is known of a transactional id.
    pub(crate) async fn describe(&self, id: TransactionalId) -> Result<Option<TransactionMetadata>, Gone> {
        let Some(topic) = self.shared.topics.find(TRANSACTION_STATE) else {
            return Ok(None);
        };
        let (answer, answered) = oneshot::channel();
        let mailbox = self.mailbox_of(&topic, &id).ok_or(Gone)?;
        mailbox
            .send(Command::Describe { id, answer })
            .await
            .map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// All transactional ids, by name.
    pub(crate) async fn list(&self) -> Result<Vec<(TransactionalId, TransactionMetadata)>, Gone> {
        let mut all = Vec::new();
        for mailbox in self.shards().in_use() {
            let (answer, answered) = oneshot::channel();
            mailbox.send(Command::List { answer }).await.map_err(|_| Gone)?;
            all.append(&mut answered.await.map_err(|_| Gone)?);
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all)
    }

    /// Ends all coordinators.
    pub(crate) async fn shutdown(&self) {
        self.shards().shutdown().await;
    }

    /// The topic of transactional ids. Without it nobody has one.
    fn topic(&self) -> Result<Arc<Topic>, TransactionError> {
        self.shared
            .topics
            .find(TRANSACTION_STATE)
            .ok_or(TransactionError::InvalidProducerIdMapping)
    }

    /// Hands an event to the id's coordinator and waits for its answer; `None` if the coordinator is gone.
    async fn ask(
        &self,
        topic: &Arc<Topic>,
        id: TransactionalId,
        event: impl FnOnce(ReplyTo) -> TransactionEvent,
    ) -> Option<TransactionReply> {
        let to = self.shards().reply_to();
        let (answer, answered) = oneshot::channel();
        let mailbox = self.mailbox_of(topic, &id)?;
        let command = Command::Ask {
            id,
            event: event(to),
            to,
            answer,
        };
        mailbox.send(command).await.ok()?;
        answered.await.ok()
    }

    fn mailbox_of(&self, topic: &Topic, id: &TransactionalId) -> Option<mpsc::Sender<Command>> {
        let count = i32::try_from(topic.partitions.len()).ok()?;
        // Kafka places transactional ids as it places groups.
        let partition = topic.partition(partition_of_group(id.as_str(), count))?;
        Some(self.running(partition))
    }

    async fn make_topic(&self) -> Option<Arc<Topic>> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || shared.transaction_topic()).await {
            Ok(Ok(topic)) => Some(topic),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot make {TRANSACTION_STATE}");
                None
            }
            Err(_) => None,
        }
    }

    /// The mailbox of a partition's shard.
    fn running(&self, partition: &Arc<Partition>) -> mpsc::Sender<Command> {
        self.shards().mailbox(partition, |commands| {
            let settings = transaction_settings(&self.shared.settings);
            Shard::new(Arc::downgrade(&self.shared), Arc::clone(partition), settings).run(commands)
        })
    }

    fn shards(&self) -> &Shards<Command> {
        &self.shared.transaction_shards.0
    }
}

/// The coordinator ended while it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

fn transaction_settings(settings: &BrokerSettings) -> TransactionSettings {
    let millis = |duration: std::time::Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    TransactionSettings {
        timeout_max_ms: millis(settings.transaction_timeout_max),
        id_expiration_ms: millis(settings.transactional_id_expiration),
    }
}
