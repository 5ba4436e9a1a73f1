//! Under which producer id batches go, and when under another.

use super::{Accumulator, Identity, ProducerId};

impl Accumulator {
    pub(super) fn renew(&mut self) {
        if matches!(self.identity, Identity::Known(_)) {
            self.identity = Identity::Renewing;
        }
    }

    pub(super) fn begin_anew(&mut self) {
        self.identity = Identity::Wanted;
        for queue in &mut self.partitions {
            queue.next_sequence = 0;
            for pending in &mut queue.waiting {
                pending.stamp = None;
            }
        }
    }

    /// The broker's answer to the question for a producer id.
    pub(in crate::native::producer) fn identified(&mut self, producer: ProducerId) {
        self.identity = Identity::Known(producer);
    }

    /// There was no answer: to be asked again.
    pub(in crate::native::producer) fn not_identified(&mut self) {
        if self.identity == Identity::Asking {
            self.identity = Identity::Wanted;
        }
    }

    /// There will be no producer id.
    pub(in crate::native::producer) fn identity_refused(&mut self, reason: String) {
        self.identity = Identity::Refused(reason);
    }
}
