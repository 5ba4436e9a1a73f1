//! Where a group is between two generations.

use std::fmt;

use crate::id::Timestamp;

/// Where a group is between two generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members; perhaps offsets.
    Empty,
    /// Members join; those who do not are out when time is up.
    PreparingRebalance(Preparing),
    /// The generation is fixed and waits for the leader's assignment.
    CompletingRebalance {
        /// When members that have not asked for their assignment are out. `None` once all have asked.
        sync_deadline: Option<Timestamp>,
    },
    /// Everybody may know their assignment.
    Stable {
        /// As above: members who have not asked yet when the leader's assignment came.
        sync_deadline: Option<Timestamp>,
    },
    /// The tombstones are on their way to the log; then the group is no more.
    Dead,
}

/// How a group gathers its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Preparing {
    /// The group was empty: wait for more members, longer while they keep coming.
    Initial {
        /// When to look whether more came.
        deadline: Timestamp,
        /// How long this wait is.
        delay_ms: i32,
        /// How much longer it may become.
        remaining_ms: i32,
        /// Whether somebody came during this wait.
        newcomers: bool,
    },
    /// The group had members: wait until they are all here again, or until this time.
    Rejoin {
        /// The longest rebalance timeout of its members later.
        deadline: Timestamp,
    },
}

impl Phase {
    pub(crate) fn name(&self) -> PhaseName {
        match self {
            Self::Empty => PhaseName::Empty,
            Self::PreparingRebalance(_) => PhaseName::PreparingRebalance,
            Self::CompletingRebalance { .. } => PhaseName::CompletingRebalance,
            Self::Stable { .. } => PhaseName::Stable,
            Self::Dead => PhaseName::Dead,
        }
    }

    /// When this phase ends by itself.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Empty | Self::Dead => None,
            Self::PreparingRebalance(
                Preparing::Initial { deadline, .. } | Preparing::Rejoin { deadline },
            ) => Some(*deadline),
            Self::CompletingRebalance { sync_deadline } | Self::Stable { sync_deadline } => *sync_deadline,
        }
    }
}

/// The name of a group's state, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseName {
    /// No members.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// The leader divides the work.
    CompletingRebalance,
    /// Work.
    Stable,
    /// The work has changed and is not divided anew yet (consumer protocol).
    Assigning,
    /// Members give up partitions and take others (consumer protocol).
    Reconciling,
    /// Gone, or never there.
    Dead,
}

impl PhaseName {
    /// Kafka's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
