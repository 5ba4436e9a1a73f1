//! `EndTxn`: the decision, and what follows it.
//!
//! With an epoch for each transaction (KIP-890) the decision carries the next epoch, and so do the markers: whatever of
//! the transaction arrives later is fenced. A retry is known by its epoch, one below the one in force.

use super::action::TransactionReply;
use super::error::TransactionError;
use super::event::{ClientProtocol, Outcome};
use super::record::{TransactionMetadata, TransactionPhase};
use super::transaction::{Answer, Circumstances, LAST_EPOCH, Then, Transaction};
use crate::id::{Producer, ReplyTo, Timestamp};

impl Transaction {
    pub(crate) fn end(
        &mut self,
        producer: Producer,
        outcome: Outcome,
        protocol: ClientProtocol,
        to: ReplyTo,
        at: &mut Circumstances<'_>,
    ) {
        match self.try_end(producer, outcome, protocol, at) {
            Ok(Some(next)) => self.append(
                next,
                Then::Prepared {
                    answer: Some(Answer::Ended(to)),
                },
                at.out,
            ),
            Ok(None) => at.reply(to, TransactionReply::End(Ok(self.metadata().producer))),
            Err(error) => at.reply(to, TransactionReply::End(Err(error))),
        }
    }

    /// What to write; nothing if the transaction has ended so already.
    fn try_end(
        &self,
        producer: Producer,
        outcome: Outcome,
        protocol: ClientProtocol,
        at: &mut Circumstances<'_>,
    ) -> Result<Option<TransactionMetadata>, TransactionError> {
        let by_epoch = protocol == ClientProtocol::EpochPerTransaction;
        let retry = by_epoch && self.is_retry(producer);
        if !retry {
            self.check_producer(producer)?;
        }
        if self.is_changing() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        match (self.metadata().phase, outcome) {
            (TransactionPhase::Ongoing, _) if retry => Err(TransactionError::ProducerFenced),
            (TransactionPhase::Ongoing, _) => self.ended(outcome, protocol, at).map(Some),
            (TransactionPhase::PrepareCommit, Outcome::Commit)
            | (TransactionPhase::PrepareAbort, Outcome::Abort) => {
                Err(TransactionError::ConcurrentTransactions)
            }
            (TransactionPhase::CompleteCommit, Outcome::Commit)
            | (TransactionPhase::CompleteAbort, Outcome::Abort)
                if retry || !by_epoch =>
            {
                Ok(None)
            }
            // A client of the new protocol cannot know whether a write that failed began its transaction.
            (
                TransactionPhase::Empty | TransactionPhase::CompleteCommit | TransactionPhase::CompleteAbort,
                Outcome::Abort,
            ) if by_epoch && !retry => self.ended(outcome, protocol, at).map(Some),
            _ => Err(TransactionError::InvalidTxnState),
        }
    }

    /// Whether `producer` is who the producer in force was before its last transaction ended.
    fn is_retry(&self, producer: Producer) -> bool {
        let current = self.metadata();
        if current.protocol != ClientProtocol::EpochPerTransaction {
            return false;
        }
        let same = current.producer.id == producer.id
            && producer.epoch.checked_add(1) == Some(current.producer.epoch);
        let overflowed = current.previous_id == Some(producer.id)
            && producer.epoch == LAST_EPOCH
            && current.producer.epoch == 0;
        same || overflowed
    }

    fn ended(
        &self,
        outcome: Outcome,
        protocol: ClientProtocol,
        at: &mut Circumstances<'_>,
    ) -> Result<TransactionMetadata, TransactionError> {
        let mut next = self.prepared(outcome, at.now);
        if protocol == ClientProtocol::EpochPerTransaction {
            let epoch = next.producer.epoch;
            if epoch >= LAST_EPOCH {
                next.next_id = Some(at.fresh_id()?);
            }
            next.producer.epoch = epoch.saturating_add(1);
            next.last_epoch = Some(epoch);
        }
        next.protocol = protocol;
        Ok(next)
    }

    /// The decision, in the name of the producer in force.
    pub(crate) fn prepared(&self, outcome: Outcome, now: Timestamp) -> TransactionMetadata {
        let current = self.metadata();
        let phase = match outcome {
            Outcome::Commit => TransactionPhase::PrepareCommit,
            Outcome::Abort => TransactionPhase::PrepareAbort,
        };
        let started_at = current
            .started_at
            .filter(|_| current.phase == TransactionPhase::Ongoing);
        TransactionMetadata {
            phase,
            updated_at: now,
            started_at: started_at.or(Some(now)),
            ..current.clone()
        }
    }

    /// All markers are written: the next transaction may begin.
    pub(crate) fn complete(&mut self, at: &mut Circumstances<'_>) {
        let current = self.metadata();
        let phase = match current.phase.decided() {
            Some(Outcome::Commit) => TransactionPhase::CompleteCommit,
            Some(Outcome::Abort) => TransactionPhase::CompleteAbort,
            None => return,
        };
        let previous_id = match current.next_id {
            Some(_) => Some(current.producer.id),
            None => current.previous_id,
        };
        let next = TransactionMetadata {
            phase,
            producer: self.next_producer(),
            previous_id,
            next_id: None,
            partitions: Default::default(),
            updated_at: at.now,
            ..current.clone()
        };
        self.append(next, Then::Completed, at.out);
    }
}
