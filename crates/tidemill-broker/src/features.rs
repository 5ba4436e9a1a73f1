//! Features: what brokers of a cluster agree on by a level each, which an administrator raises and lowers
//! (`kafka-features`). Clients read the levels and choose their protocols by them.

use std::collections::BTreeMap;

/// The consumer protocol (KIP-848), from level 1 on.
pub(crate) const GROUP_VERSION: &str = "group.version";
/// At level 2 producers use an epoch for each transaction (KIP-890).
const TRANSACTION_VERSION: &str = "transaction.version";

/// The features, and the highest level of each: where nobody has chosen another, it holds.
pub(crate) const FEATURES: &[(&str, i16)] = &[(GROUP_VERSION, 1), (TRANSACTION_VERSION, 2)];

/// The levels that hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    // Only those that were chosen.
    chosen: BTreeMap<String, i16>,
    /// Rises with every change, so that clients can tell an older answer from a newer one.
    pub(crate) epoch: i64,
}

/// Which way an update may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// A level to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) feature: String,
    pub(crate) level: i16,
    pub(crate) direction: Direction,
}

/// Why a level cannot be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UpdateError {
    #[error("Invalid update version {level} for feature {feature}. This broker does not know the feature.")]
    Unknown { feature: String, level: i16 },
    #[error("Invalid update version {level} for feature {feature}. This broker supports levels 0 to {max}.")]
    OutOfRange { feature: String, level: i16, max: i16 },
    #[error(
        "Invalid update version {level} for feature {feature}. It is at {now}: to lower it, ask for a downgrade."
    )]
    Lower { feature: String, level: i16, now: i16 },
    #[error(
        "Invalid update version {level} for feature {feature}. It is at {now}: a downgrade cannot raise it."
    )]
    Higher { feature: String, level: i16, now: i16 },
}

impl Levels {
    /// The level of a feature; 0 of one that nobody knows.
    pub(crate) fn of(&self, feature: &str) -> i16 {
        let highest = || {
            FEATURES
                .iter()
                .find(|(name, _)| *name == feature)
                .map(|(_, max)| *max)
        };
        self.chosen.get(feature).copied().or_else(highest).unwrap_or(0)
    }

    /// Chooses a level.
    pub(crate) fn set(&mut self, feature: &str, level: i16) {
        self.chosen.insert(feature.to_owned(), level);
        self.epoch += 1;
    }

    /// Whether the update may be made.
    pub(crate) fn check(&self, update: &Update) -> Result<(), UpdateError> {
        let (feature, level) = (update.feature.clone(), update.level);
        let Some((_, max)) = FEATURES.iter().find(|(name, _)| *name == feature) else {
            return Err(UpdateError::Unknown { feature, level });
        };
        if !(0..=*max).contains(&level) {
            let max = *max;
            return Err(UpdateError::OutOfRange { feature, level, max });
        }
        let now = self.of(&feature);
        match update.direction {
            Direction::Up if level < now => Err(UpdateError::Lower { feature, level, now }),
            Direction::Down if level > now => Err(UpdateError::Higher { feature, level, now }),
            _ => Ok(()),
        }
    }
}
