//! The producer of transactions as the runtime sees it: KIP-98's protocol, and KIP-890's where the cluster has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use tidemill_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use tidemill_protocol::messages::init_producer_id::InitProducerIdRequest;
use tidemill_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use tidemill_protocol::{ErrorCode, KString, Request};

use super::accumulator::Accumulator;
use super::identity::ProducerId;
use super::sender::Transactional;
use super::transaction::Doom;
use super::writer::NativeWriter;
use crate::native::cluster::{Cluster, CoordinatorOf};
use crate::native::connection::Lane;
use crate::native::coordinator::Coordinator;
use crate::native::engine::Engine;
use crate::native::settings::ProducerSettings;
use crate::{
    Committed, GroupMetadata, Outgoing, TopicPartition, TransactionError, TransactionSettings,
    TransactionalWriter, TransportError, Writer, WriterTopic,
};

/// How long one step may take while coordinators move and earlier transactions end.
const WITHIN: Duration = Duration::from_secs(60);
/// The level of `transaction.version` from which on partitions enrol themselves.
const IMPLICIT_FROM: i16 = 2;

pub(crate) struct NativeTransactionalWriter {
    writer: NativeWriter,
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    coordinator: Arc<Coordinator>,
    // Coordinators of the groups whose offsets were sent.
    groups: HashMap<String, Arc<Coordinator>>,
    id: KString,
    timeout_ms: i32,
    producer: ProducerId,
    is_implicit: bool,
    is_open: bool,
    has_offsets: bool,
}

/// What a step needs besides its request.
#[derive(Clone)]
struct Steps {
    coordinator: Arc<Coordinator>,
    id: KString,
}

impl Steps {
    /// Asks until there is an answer other than "not now".
    async fn ask<R: Request>(
        &self,
        operation: &'static str,
        request: &R,
        version_max: i16,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, TransactionError> {
        let deadline = Instant::now() + WITHIN;
        let mut backoff = self.coordinator.cluster().backoff();
        loop {
            let reason = match self
                .coordinator
                .call_at_most(Lane::Ask, request, version_max)
                .await
            {
                Ok(response) => match code(&response) {
                    ErrorCode::None => return Ok(response),
                    code if code.is_retriable() => {
                        self.coordinator.note(code);
                        code.to_string()
                    }
                    code => return Err(self.refusal(operation, code)),
                },
                Err(error) if error.may_pass() => error.to_string(),
                Err(error) => return Err(error.into_transport(operation).into()),
            };
            if Instant::now() >= deadline {
                return Err(TransportError::Cluster { operation, reason }.into());
            }
            tracing::debug!("{operation}: {reason}; trying again");
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    fn refusal(&self, operation: &'static str, code: ErrorCode) -> TransactionError {
        match code {
            ErrorCode::ProducerFenced
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::TransactionCoordinatorFenced => TransactionError::Fenced {
                id: self.id.to_string(),
                reason: format!("{operation}: {code}"),
            },
            ErrorCode::TransactionAbortable
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::IllegalGeneration
            | ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
            | ErrorCode::StaleMemberEpoch
            | ErrorCode::RebalanceInProgress
            | ErrorCode::OffsetMetadataTooLarge => {
                TransactionError::Abortable(format!("{operation}: {code}"))
            }
            code => TransportError::Cluster {
                operation,
                reason: code.to_string(),
            }
            .into(),
        }
    }

    /// Takes the id over, or moves on from `known` to another epoch.
    async fn init(&self, timeout_ms: i32, known: Option<ProducerId>) -> Result<ProducerId, TransactionError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: timeout_ms,
            producer_id: known.map_or(-1, |known| known.id),
            producer_epoch: known.map_or(-1, |known| known.epoch),
        };
        let response = self
            .ask("begin with a transactional id", &request, i16::MAX, |response| {
                response.error_code
            })
            .await?;
        Ok(ProducerId {
            id: response.producer_id,
            epoch: response.producer_epoch,
        })
    }
}

impl NativeTransactionalWriter {
    pub(crate) fn new(
        engine: Arc<Engine>,
        cluster: Arc<Cluster>,
        settings: ProducerSettings,
        transactions: &TransactionSettings,
    ) -> Result<Self, TransactionError> {
        if !settings.idempotent {
            let reason = "transactions need `enable.idempotence`".to_owned();
            return Err(TransportError::Settings(reason).into());
        }
        let id = KString::from(&transactions.id);
        let coordinator = Coordinator::new(cluster.clone(), CoordinatorOf::Transaction, &transactions.id);
        let timeout_ms = i32::try_from(transactions.timeout.as_millis()).unwrap_or(i32::MAX);
        let steps = Steps {
            coordinator: coordinator.clone(),
            id: id.clone(),
        };
        let (producer, is_implicit) = wait(&engine, async move {
            let producer = steps.init(timeout_ms, None).await?;
            let level = steps.coordinator.feature("transaction.version").await;
            let level = level.map_err(|e| e.into_transport("begin with a transactional id"))?;
            Ok((producer, level >= IMPLICIT_FROM))
        })?;
        let accumulator = Accumulator::transactional(settings.clone(), producer, is_implicit);
        let transactional = Transactional {
            id: id.clone(),
            is_implicit,
            coordinator: coordinator.clone(),
        };
        let writer = NativeWriter::over(
            engine.clone(),
            cluster.clone(),
            settings,
            accumulator,
            Some(transactional),
        );
        Ok(Self {
            writer,
            engine,
            cluster,
            coordinator,
            groups: HashMap::new(),
            id,
            timeout_ms,
            producer,
            is_implicit,
            is_open: false,
            has_offsets: false,
        })
    }

    fn steps(&self) -> Steps {
        Steps {
            coordinator: self.coordinator.clone(),
            id: self.id.clone(),
        }
    }

    /// What the buffer knows against committing.
    fn check_doom(&self) -> Result<(), TransactionError> {
        match self.writer.lock().doomed() {
            None => Ok(()),
            Some(Doom::Abortable(reason)) => Err(TransactionError::Abortable(reason)),
            Some(Doom::Fenced(reason)) => Err(TransactionError::Fenced {
                id: self.id.to_string(),
                reason,
            }),
        }
    }

    /// Ends the transaction at the coordinator, if it has heard of it.
    fn end(&mut self, committed: bool) -> Result<(), TransactionError> {
        let is_known = self.has_offsets || self.writer.lock().is_transaction_known();
        let mut next = self.producer;
        if is_known {
            let request = EndTxnRequest {
                transactional_id: self.id.clone(),
                producer_id: self.producer.id,
                producer_epoch: self.producer.epoch,
                committed,
            };
            let (steps, version_max) = (self.steps(), if self.is_implicit { i16::MAX } else { 4 });
            let operation = if committed {
                "commit a transaction"
            } else {
                "abort a transaction"
            };
            let response: EndTxnResponse = wait(&self.engine, async move {
                steps
                    .ask(operation, &request, version_max, |response| response.error_code)
                    .await
            })?;
            if self.is_implicit && response.producer_id >= 0 {
                next = ProducerId {
                    id: response.producer_id,
                    epoch: response.producer_epoch,
                };
            }
        }
        if next == self.producer && self.writer.lock().has_gap() {
            let (steps, timeout_ms, known) = (self.steps(), self.timeout_ms, self.producer);
            next = wait(
                &self.engine,
                async move { steps.init(timeout_ms, Some(known)).await },
            )?;
        }
        self.writer
            .lock()
            .end_transaction((next != self.producer).then_some(next));
        self.producer = next;
        self.is_open = false;
        self.has_offsets = false;
        Ok(())
    }

    fn group(&mut self, group: &str) -> Arc<Coordinator> {
        let cluster = &self.cluster;
        let coordinator = self
            .groups
            .entry(group.to_owned())
            .or_insert_with(|| Coordinator::new(cluster.clone(), CoordinatorOf::Group, group));
        coordinator.clone()
    }

    fn offsets_request(
        &self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> TxnOffsetCommitRequest {
        let mut topics: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
        for (at, committed) in offsets {
            let partition = TxnOffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: committed.next,
                committed_leader_epoch: -1,
                committed_metadata: Some((&*committed.metadata).into()),
            };
            match topics.iter_mut().find(|topic| topic.name == *at.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(TxnOffsetCommitRequestTopic {
                    name: (&*at.topic).into(),
                    partitions: vec![partition],
                }),
            }
        }
        TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: (&group.group).into(),
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            generation_id: group.generation,
            member_id: (&group.member).into(),
            group_instance_id: group.instance.as_ref().map(KString::from),
            topics,
        }
    }
}

fn wait<T: Send + 'static>(
    engine: &Engine,
    step: impl Future<Output = Result<T, TransactionError>> + Send + 'static,
) -> Result<T, TransactionError> {
    engine.wait(step).unwrap_or_else(|| {
        let (operation, reason) = ("end a step of a transaction", "it ended without an answer".into());
        Err(TransportError::Cluster { operation, reason }.into())
    })
}

impl Writer for NativeTransactionalWriter {
    fn topic(&mut self, name: &str) -> Result<WriterTopic, TransportError> {
        self.writer.topic(name)
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), TransportError> {
        assert!(
            records.is_empty() || self.is_open,
            "records are sent within a transaction"
        );
        self.writer.send(records)
    }

    fn poll(&mut self) -> Result<(), TransportError> {
        self.writer.poll()
    }

    fn flush(&mut self) -> Result<(), TransportError> {
        self.writer.flush()
    }
}

impl TransactionalWriter for NativeTransactionalWriter {
    fn begin(&mut self) -> Result<(), TransactionError> {
        assert!(!self.is_open, "one transaction is open at a time");
        self.check_doom()?;
        self.writer.lock().begin_transaction();
        self.is_open = true;
        Ok(())
    }

    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> Result<(), TransactionError> {
        const OPERATION: &str = "add offsets to a transaction";
        self.check_doom()?;
        let request = self.offsets_request(offsets, group);
        let add = AddOffsetsToTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            group_id: request.group_id.clone(),
        };
        let (steps, is_implicit) = (self.steps(), self.is_implicit);
        let to_group = Steps {
            coordinator: self.group(&group.group),
            ..steps.clone()
        };
        self.has_offsets = true;
        wait(&self.engine, async move {
            if !is_implicit {
                steps
                    .ask(OPERATION, &add, i16::MAX, |response| response.error_code)
                    .await?;
            }
            let version_max = if is_implicit { i16::MAX } else { 4 };
            let code =
                |response: &tidemill_protocol::messages::txn_offset_commit::TxnOffsetCommitResponse| {
                    let mut codes = response
                        .topics
                        .iter()
                        .flat_map(|t| &t.partitions)
                        .map(|p| p.error_code);
                    codes
                        .find(|code| *code != ErrorCode::None)
                        .unwrap_or(ErrorCode::None)
                };
            to_group
                .ask(OPERATION, &request, version_max, code)
                .await
                .map(drop)
        })
    }

    fn commit(&mut self) -> Result<(), TransactionError> {
        let flushed = self.writer.flush();
        self.check_doom()?;
        flushed.map_err(|lost| TransactionError::Abortable(lost.to_string()))?;
        self.end(true)
    }

    fn abort(&mut self) -> Result<(), TransactionError> {
        if !self.is_open {
            return Ok(());
        }
        self.writer.discard()?;
        if let Err(fenced @ TransactionError::Fenced { .. }) = self.check_doom() {
            return Err(fenced);
        }
        self.end(false)
    }
}
