//! `InitProducerId`: a producer instance begins and fences those before it (KIP-98), or one goes on after an error (KIP-360).

use super::action::{TransactionNote, TransactionReply};
use super::error::TransactionError;
use super::event::{InitRequest, Outcome};
use super::record::{TransactionMetadata, TransactionPhase};
use super::transaction::{Answer, Circumstances, LAST_EPOCH, Then, Transaction};
use crate::id::{Producer, ReplyTo};

impl Transaction {
    pub(crate) fn init(&mut self, request: InitRequest, to: ReplyTo, at: &mut Circumstances<'_>) {
        if let Err(error) = self.try_init(request, to, at) {
            at.reply(to, TransactionReply::Init(Err(error)));
        }
    }

    fn try_init(
        &mut self,
        request: InitRequest,
        to: ReplyTo,
        at: &mut Circumstances<'_>,
    ) -> Result<(), TransactionError> {
        if !(1..=at.settings.timeout_max_ms).contains(&request.timeout_ms) {
            return Err(TransactionError::InvalidTransactionTimeout);
        }
        if self.is_changing() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        if request.was.is_some_and(|was| !self.may_go_on_as(was)) {
            return Err(TransactionError::ProducerFenced);
        }
        match self.metadata().phase {
            TransactionPhase::PrepareCommit | TransactionPhase::PrepareAbort => {
                Err(TransactionError::ConcurrentTransactions)
            }
            TransactionPhase::Ongoing => {
                // A late retry of an instance that has been replaced must not abort its successor's transaction.
                let current = self.metadata();
                let late = |was: Producer| {
                    was.epoch != current.producer.epoch && Some(was.epoch) != current.last_epoch
                };
                if request.was.is_some_and(late) {
                    return Err(TransactionError::ProducerFenced);
                }
                self.abort_from_here("another producer instance began", Some(Answer::TryAgain(to)), at);
                Ok(())
            }
            TransactionPhase::Empty | TransactionPhase::CompleteCommit | TransactionPhase::CompleteAbort => {
                let next = self.begun(request, at)?;
                self.append(next, Then::Begin { to }, at.out);
                Ok(())
            }
        }
    }

    /// Whether a client that was this producer may still be the one in force.
    fn may_go_on_as(&self, was: Producer) -> bool {
        let current = self.metadata();
        !self.is_known()
            || was.id == current.producer.id
            || (Some(was.id) == current.previous_id && was.epoch >= LAST_EPOCH)
    }

    /// The metadata of the instance that begins.
    fn begun(
        &self,
        request: InitRequest,
        at: &mut Circumstances<'_>,
    ) -> Result<TransactionMetadata, TransactionError> {
        let current = self.metadata();
        let Producer { id, epoch } = current.producer;
        let mut next = TransactionMetadata {
            timeout_ms: request.timeout_ms,
            phase: TransactionPhase::Empty,
            partitions: Default::default(),
            updated_at: at.now,
            started_at: None,
            next_id: None,
            ..current.clone()
        };
        let kept = request.was.map(|_| epoch);
        match request.was {
            _ if !self.is_known() => {
                next.producer = Producer {
                    id: at.fresh_id()?,
                    epoch: 0,
                };
                next.last_epoch = None;
            }
            // A retry of a request whose answer was lost gets that answer.
            Some(was) if was.epoch != epoch && Some(was.epoch) == current.last_epoch => {}
            Some(was) if was.epoch != epoch => return Err(TransactionError::ProducerFenced),
            _ if epoch >= LAST_EPOCH => {
                next.producer = Producer {
                    id: at.fresh_id()?,
                    epoch: 0,
                };
                next.previous_id = Some(id);
                next.last_epoch = kept;
            }
            _ => {
                next.producer = Producer { id, epoch: epoch + 1 };
                next.last_epoch = kept;
            }
        }
        Ok(next)
    }

    /// Aborts without being asked by the producer, who is fenced by that: the markers carry an epoch above its own.
    pub(crate) fn abort_from_here(
        &mut self,
        reason: &'static str,
        answer: Option<Answer>,
        at: &mut Circumstances<'_>,
    ) {
        let producer = self.metadata().producer;
        self.note(TransactionNote::Aborting { producer, reason }, at.out);
        let mut next = self.prepared(Outcome::Abort, at.now);
        next.producer.epoch = producer.epoch.saturating_add(1);
        next.last_epoch = None;
        self.append(next, Then::Prepared { answer }, at.out);
    }
}
