//! What the buffer of a transactional producer has to say of its transaction.

use std::time::Instant;

use super::{Accumulator, Doom, Identity, ProducerId, Transaction};

impl Accumulator {
    /// The transaction cannot be committed any more.
    pub(in crate::native::producer) fn doom(&mut self, doom: Doom) {
        if let Some(transaction) = &mut self.transaction {
            transaction.doom(doom);
        }
    }

    /// The producer's id; all −1 before it is known.
    pub(in crate::native::producer) fn producer(&self) -> ProducerId {
        match self.identity {
            Identity::Known(producer) => producer,
            _ => ProducerId { id: -1, epoch: -1 },
        }
    }

    pub(in crate::native::producer) fn doomed(&self) -> Option<Doom> {
        self.transaction.as_ref()?.doom.clone()
    }

    pub(in crate::native::producer) fn begin_transaction(&mut self) {
        self.losses.clear();
        if let Some(transaction) = &mut self.transaction {
            transaction.begin();
        }
    }

    /// Whether the coordinator has heard of the open transaction, or may have.
    pub(in crate::native::producer) fn is_transaction_known(&self) -> bool {
        self.transaction
            .as_ref()
            .is_some_and(|t| !t.enrolled.is_empty() || t.enrolling)
    }

    /// Whether the sequence numbers of this epoch cannot be gone on with.
    pub(in crate::native::producer) fn has_gap(&self) -> bool {
        self.transaction
            .as_ref()
            .is_some_and(|transaction| transaction.has_gap)
    }

    /// The transaction ended, and brought another epoch or not.
    pub(in crate::native::producer) fn end_transaction(&mut self, next: Option<ProducerId>) {
        if let Some(transaction) = &mut self.transaction {
            *transaction = Transaction::new(transaction.is_implicit);
        }
        if let Some(next) = next {
            self.identity = Identity::Known(next);
            self.partitions
                .iter_mut()
                .for_each(|queue| queue.next_sequence = 0);
        }
    }

    /// Throws away what waits to be sent, and what is known of losses.
    pub(in crate::native::producer) fn discard(&mut self) {
        for queue in &mut self.partitions {
            for pending in queue.waiting.drain(..) {
                self.bytes -= pending.bytes;
                if let Some(transaction) = &mut self.transaction {
                    transaction.has_gap |= pending.stamp.is_some();
                }
            }
            queue.not_before = None;
        }
        self.losses.clear();
    }

    /// The coordinator heard of these partitions.
    pub(in crate::native::producer) fn enrolled(&mut self, places: &[usize]) {
        if let Some(transaction) = &mut self.transaction {
            transaction.enrolling = false;
            transaction.enrol_not_before = None;
            transaction.enrolled.extend(places);
        }
    }

    /// It did not; to be told again.
    pub(in crate::native::producer) fn not_enrolled(&mut self, not_before: Instant) {
        if let Some(transaction) = &mut self.transaction {
            transaction.enrolling = false;
            transaction.enrol_not_before = Some(not_before);
        }
    }
}
