//! The levels of features: written down first, then told.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::{TopicError, Topics};
use crate::features::{Levels, Update, UpdateError};
use crate::metadata::Change;

/// Why levels stay as they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FeatureError {
    #[error("The update failed for all features since the following feature had an error: {0}")]
    Level(#[from] UpdateError),
    #[error("The feature {0} is named twice.")]
    Twice(String),
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl Topics {
    /// What features are at now.
    pub(crate) fn levels(&self) -> Arc<Levels> {
        Arc::clone(&self.levels.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many changes the metadata log holds.
    pub(crate) fn metadata_changes(&self) -> u64 {
        self.metadata().image().changes
    }

    /// Makes all updates or none.
    pub(crate) fn update_features(
        &self,
        updates: &[Update],
        validate_only: bool,
    ) -> Result<(), FeatureError> {
        let mut metadata = self.metadata();
        let mut named = BTreeSet::new();
        for update in updates {
            if !named.insert(&update.feature) {
                return Err(FeatureError::Twice(update.feature.clone()));
            }
            metadata.image().levels.check(update)?;
        }
        let levels = &metadata.image().levels;
        let changed = updates
            .iter()
            .filter(|update| levels.of(&update.feature) != update.level);
        let changes = changed.map(|update| Change::FeatureLevel {
            name: update.feature.clone(),
            level: update.level,
        });
        let changes: Vec<Change> = changes.collect();
        if validate_only || changes.is_empty() {
            return Ok(());
        }
        metadata.append(&changes).map_err(TopicError::from)?;
        let levels = Arc::new(metadata.image().levels.clone());
        *self.levels.write().unwrap_or_else(PoisonError::into_inner) = levels;
        Ok(())
    }
}
