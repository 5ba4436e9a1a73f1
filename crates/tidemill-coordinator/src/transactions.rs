//! All transactional ids of one partition of `__transaction_state`: the transaction coordinator.
//!
//! ```text
//!   Empty ──▶ Ongoing ──▶ PrepareCommit ──▶ CompleteCommit ──▶ Ongoing ..      the decision is the Prepare record;
//!                 └─────▶ PrepareAbort  ──▶ CompleteAbort  ──▶ Ongoing ..      Complete says that all markers are written
//! ```
//! The classic protocol (KIP-98, KIP-360) and the one with an epoch for each transaction (KIP-890) differ by request,
//! not by transactional id: a client may change from one to the other between two transactions.

mod action;
mod add;
mod end;
mod error;
mod event;
mod init;
mod record;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};

use crate::error::RecordError;
use crate::id::{ProducerId, Timestamp, TransactionalId};

pub use action::{TransactionAction, TransactionNote, TransactionReply};
pub use error::TransactionError;
pub use event::{ClientProtocol, InitRequest, Outcome, TransactionEvent, TransactionPartition};
pub use record::{TransactionMetadata, TransactionPhase};

#[cfg(test)]
use transaction::LAST_EPOCH;
use transaction::{Circumstances, Transaction};

/// The settings of a transaction coordinator, under Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`: the longest timeout a producer may ask for.
    pub timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`: how long an id without a transaction is remembered.
    pub id_expiration_ms: i32,
}

impl TransactionSettings {
    /// Kafka's defaults.
    pub fn server() -> Self {
        Self {
            timeout_max_ms: 900_000,
            id_expiration_ms: 604_800_000,
        }
    }
}

/// The coordinator of all transactional ids of one partition of `__transaction_state`.
///
/// Feed it the partition's records first (`replay`, then `loaded`), then events and the fate of its appends and markers;
/// call `tick` when `next_deadline` is due, and give it a producer id whenever it `wants_producer_id`.
#[derive(Clone, Debug)]
pub struct TransactionCoordinator {
    settings: TransactionSettings,
    transactions: BTreeMap<TransactionalId, Slot>,
    // Invariant: exactly the deadlines noted in the slots.
    deadlines: BTreeSet<(Timestamp, TransactionalId)>,
    // An id nobody has yet, for the next transactional id that needs one.
    spare: Option<ProducerId>,
}

#[derive(Clone, Debug)]
struct Slot {
    transaction: Transaction,
    deadline: Option<Timestamp>,
}

impl TransactionCoordinator {
    /// A coordinator that knows of no transactional id.
    pub fn new(settings: TransactionSettings) -> Self {
        Self {
            settings,
            transactions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            spare: None,
        }
    }

    /// Takes a record of the partition, oldest first. An error means that this record was skipped; say so and go on.
    pub fn replay(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), RecordError> {
        let id = record::decode_key(key.ok_or(RecordError::NoKey)?)?;
        match value {
            Some(value) => {
                let metadata = TransactionMetadata::decode(value)?;
                let transaction = Transaction::restored(id.clone(), metadata);
                self.transactions.insert(
                    id,
                    Slot {
                        transaction,
                        deadline: None,
                    },
                );
            }
            None => {
                self.transactions.remove(&id);
            }
        }
        Ok(())
    }

    /// The partition has been read to its end: what was decided and not finished goes on.
    pub fn loaded(&mut self, now: Timestamp, out: &mut Vec<TransactionAction>) {
        for id in self.transactions.keys().cloned().collect::<Vec<_>>() {
            if let Some(slot) = self.transactions.get_mut(&id) {
                slot.transaction.resume(out);
            }
            self.settle(&id);
        }
        // What timed out while nobody looked is seen by the first tick.
        self.tick(now, out);
    }

    /// Whether a producer id shall be given before the next event. Without one, an event that needs it is refused as
    /// `CoordinatorNotAvailable`.
    pub fn wants_producer_id(&self) -> bool {
        self.spare.is_none()
    }

    /// Gives an id that no producer has had.
    pub fn give_producer_id(&mut self, id: ProducerId) {
        self.spare = Some(id);
    }

    /// Takes an event of a transactional id.
    pub fn handle(
        &mut self,
        now: Timestamp,
        id: TransactionalId,
        event: TransactionEvent,
        out: &mut Vec<TransactionAction>,
    ) {
        if !self.transactions.contains_key(&id) {
            match event {
                TransactionEvent::Init { .. } => {}
                event => return out.extend(refuse_unknown(event)),
            }
        }
        let slot = self.transactions.entry(id.clone()).or_insert_with(|| Slot {
            transaction: Transaction::new(id.clone()),
            deadline: None,
        });
        let mut circumstances = Circumstances {
            now,
            settings: &self.settings,
            spare: &mut self.spare,
            out,
        };
        slot.transaction.handle(event, &mut circumstances);
        self.settle(&id);
    }

    /// When the next `tick` is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Does what is due: aborts what took too long, tries again what failed, forgets who has not come for long.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<TransactionAction>) {
        let due: Vec<TransactionalId> = self
            .deadlines
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, id)| id.clone())
            .collect();
        for id in due {
            self.handle(now, id, TransactionEvent::Tick, out);
        }
    }

    /// What is known of a transactional id.
    pub fn describe(&self, id: &TransactionalId) -> Option<&TransactionMetadata> {
        let slot = self.transactions.get(id)?;
        slot.transaction.is_known().then(|| slot.transaction.metadata())
    }

    /// All transactional ids, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&TransactionalId, &TransactionMetadata)> {
        let known = self
            .transactions
            .iter()
            .filter(|(_, slot)| slot.transaction.is_known());
        known.map(|(id, slot)| (id, slot.transaction.metadata()))
    }

    /// After every change: forgets an id that is over, else notes when it is due.
    fn settle(&mut self, id: &TransactionalId) {
        let Some(slot) = self.transactions.get_mut(id) else {
            return;
        };
        if let Some(old) = slot.deadline.take() {
            self.deadlines.remove(&(old, id.clone()));
        }
        if slot.transaction.is_over() {
            self.transactions.remove(id);
        } else if let Some(next) = slot.transaction.next_deadline(&self.settings) {
            slot.deadline = Some(next);
            self.deadlines.insert((next, id.clone()));
        }
    }
}

/// The answer to an event of a transactional id nobody knows.
fn refuse_unknown(event: TransactionEvent) -> Option<TransactionAction> {
    let error = TransactionError::InvalidProducerIdMapping;
    let (to, reply) = match event {
        TransactionEvent::Init { to, .. } => (to, TransactionReply::Init(Err(error))),
        TransactionEvent::Add { to, .. } => (to, TransactionReply::Add(Err(error))),
        TransactionEvent::Verify { to, .. } => (to, TransactionReply::Verify(Err(error))),
        TransactionEvent::End { to, .. } => (to, TransactionReply::End(Err(error))),
        TransactionEvent::Written(_)
        | TransactionEvent::WriteFailed(..)
        | TransactionEvent::Marked { .. }
        | TransactionEvent::Tick => return None,
    };
    Some(TransactionAction::Reply { to, reply })
}

#[cfg(test)]
mod tests;
