//! What a transaction adds to the producer's buffer. Pure.
//!
//! Before KIP-890 the coordinator has to hear of a partition before the first batch goes there, and a producer keeps its
//! epoch over transactions; since then a partition enrols itself by its first batch, and each end brings another epoch.

use std::collections::BTreeSet;
use std::time::Instant;

/// Why a transaction cannot be committed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    /// Another producer has the id.
    Fenced(String),
    /// Something of it was lost.
    Abortable(String),
}

/// The transaction of a transactional producer.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// Partitions enrol themselves (KIP-890).
    pub(super) is_implicit: bool,
    /// Places of partitions that belong to it.
    pub(super) enrolled: BTreeSet<usize>,
    /// A request to enrol partitions is under way.
    pub(super) enrolling: bool,
    pub(super) enrol_not_before: Option<Instant>,
    pub(super) doom: Option<Doom>,
    /// A batch that had its sequence number was given up, so the next one would not be accepted.
    pub(super) has_gap: bool,
}

impl Transaction {
    pub(super) fn new(is_implicit: bool) -> Self {
        Self {
            is_implicit,
            ..Self::default()
        }
    }

    pub(super) fn begin(&mut self) {
        *self = Self {
            has_gap: self.has_gap,
            ..Self::new(self.is_implicit)
        };
    }

    pub(super) fn doom(&mut self, doom: Doom) {
        match (&self.doom, &doom) {
            (Some(Doom::Fenced(_)), _) | (Some(Doom::Abortable(_)), Doom::Abortable(_)) => {}
            _ => self.doom = Some(doom),
        }
    }
}
