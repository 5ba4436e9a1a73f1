//! `AddPartitionsToTxn` and its kin: what becomes part of a transaction, and whether something is.

use super::action::TransactionReply;
use super::error::TransactionError;
use super::event::{ClientProtocol, TransactionPartition};
use super::record::TransactionPhase;
use super::transaction::{Circumstances, Then, Transaction};
use crate::id::{Producer, ReplyTo};

impl Transaction {
    pub(crate) fn add(
        &mut self,
        producer: Producer,
        partitions: Vec<TransactionPartition>,
        protocol: ClientProtocol,
        to: ReplyTo,
        at: &mut Circumstances<'_>,
    ) {
        if let Err(error) = self.check_producer(producer).and_then(|()| self.check_idle()) {
            return at.reply(to, TransactionReply::Add(Err(error)));
        }
        let current = self.metadata();
        let ongoing = current.phase == TransactionPhase::Ongoing;
        if ongoing
            && partitions
                .iter()
                .all(|partition| current.partitions.contains(partition))
        {
            return at.reply(to, TransactionReply::Add(Ok(())));
        }
        let mut next = current.clone();
        if !ongoing {
            next.phase = TransactionPhase::Ongoing;
            next.partitions.clear();
            next.started_at = Some(at.now);
        }
        next.partitions.extend(partitions);
        next.updated_at = at.now;
        next.protocol = protocol;
        self.append(next, Then::Added { to }, at.out);
    }

    pub(crate) fn verify(
        &self,
        producer: Producer,
        partition: &TransactionPartition,
    ) -> Result<(), TransactionError> {
        self.check_producer(producer)?;
        match self.metadata().phase {
            TransactionPhase::PrepareCommit | TransactionPhase::PrepareAbort => {
                Err(TransactionError::ConcurrentTransactions)
            }
            TransactionPhase::Ongoing if self.metadata().partitions.contains(partition) => Ok(()),
            _ => Err(TransactionError::NotInTransaction),
        }
    }

    /// Whether `producer` is the instance in force.
    pub(crate) fn check_producer(&self, producer: Producer) -> Result<(), TransactionError> {
        let current = self.metadata().producer;
        if current.id != producer.id {
            Err(TransactionError::InvalidProducerIdMapping)
        } else if current.epoch != producer.epoch {
            Err(TransactionError::ProducerFenced)
        } else {
            Ok(())
        }
    }

    /// Whether no change is on its way and no transaction is being finished.
    fn check_idle(&self) -> Result<(), TransactionError> {
        if self.is_changing() || self.metadata().phase.decided().is_some() {
            Err(TransactionError::ConcurrentTransactions)
        } else {
            Ok(())
        }
    }
}
