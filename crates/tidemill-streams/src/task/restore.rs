//! A task's stores restored from their changelogs.

use tidemill_store::{ChangelogPosition, ChangelogRecord, StoreError, StoreId};

use super::Task;
use crate::{RawRecord, TaskError};

/// The changelog of one of a task's stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// The store.
    pub store: String,
    /// The topic, by its name on the cluster.
    pub topic: String,
    /// How far the store contains it; `None` for a store that has to be restored from the start.
    pub position: Option<ChangelogPosition>,
}

impl Task {
    /// The changelogs of its stores, and how far the stores contain them.
    #[must_use]
    pub fn changelogs(&self) -> Vec<Changelog> {
        let stores = &self.ctx.stores;
        let changelogs = self.changelogs.iter().filter_map(|(id, topic)| {
            let store = self.ctx.topology.stores.iter().map(|store| &store.spec.name);
            let store = store
                .into_iter()
                .find(|name| stores.find(name) == Some(*id))?
                .clone();
            Some(Changelog {
                store,
                topic: topic.clone(),
                position: stores.position(*id),
            })
        });
        changelogs.collect()
    }

    /// Writes records read from a store's changelog to the store, with the position after them.
    ///
    /// # Errors
    /// When a record is none of this store's, or the database cannot be written.
    pub fn restore(
        &mut self,
        changelog: &str,
        records: &[RawRecord],
        position: ChangelogPosition,
    ) -> Result<(), TaskError> {
        let id = self.changelog_store(changelog)?;
        let views: Vec<ChangelogRecord<'_>> = records
            .iter()
            .filter_map(|record| {
                Some(ChangelogRecord {
                    key: record.key.as_deref()?,
                    value: record.value.as_deref(),
                    timestamp: record.timestamp,
                    headers: &record.headers,
                })
            })
            .collect();
        self.ctx.epoch += 1;
        let restored = self.ctx.stores.restore(id, &views, position);
        restored.map_err(|error| match error {
            StoreError::Corrupt { .. } => TaskError::Changelog {
                topic: changelog.to_owned(),
                partition: self.id.partition,
                before: position.next_offset,
                error,
            },
            error => error.into(),
        })
    }

    /// Empties a store whose changelog cannot be continued, to restore it from the start.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn reset(&mut self, changelog: &str) -> Result<(), TaskError> {
        let id = self.changelog_store(changelog)?;
        self.ctx.epoch += 1;
        Ok(self.ctx.stores.reset(id)?)
    }

    pub(super) fn changelog_store(&self, changelog: &str) -> Result<StoreId, TaskError> {
        let found = self.changelogs.iter().find(|(_, topic)| topic == changelog);
        found
            .map(|(id, _)| *id)
            .ok_or_else(|| self.not_an_input(changelog))
    }
}
