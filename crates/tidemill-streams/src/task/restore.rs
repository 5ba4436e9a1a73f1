//! A task's stores restored from their changelogs.

use tidemill_store::{ChangelogPosition, ChangelogRecord, StoreError};

use super::{LoggedStore, Task};
use crate::{RawRecord, TaskError};

/// The changelog of one of a task's stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// The store.
    pub store: String,
    /// The topic, by its name on the cluster.
    pub topic: String,
    /// Whether it is an input of the task, which fills the store straight from it: the store then has to contain it as
    /// far as the app has committed it, and no further.
    pub is_input: bool,
    /// How far the store contains it; `None` for a store that has to be restored from the start.
    pub position: Option<ChangelogPosition>,
}

impl Task {
    /// The changelogs of its stores, and how far the stores contain them.
    #[must_use]
    pub fn changelogs(&self) -> Vec<Changelog> {
        let stores = &self.ctx.stores;
        let changelogs = self
            .changelogs
            .iter()
            .filter_map(|LoggedStore { id, topic, input }| {
                let store = self.ctx.topology.stores.iter().map(|store| &store.spec.name);
                let store = store
                    .into_iter()
                    .find(|name| stores.find(name) == Some(*id))?
                    .clone();
                Some(Changelog {
                    store,
                    topic: topic.clone(),
                    is_input: input.is_some(),
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
        let LoggedStore { id, input, .. } = self.changelog_store(changelog)?;
        let id = *id;
        let filled = input.as_ref();
        let decl = filled.and_then(|filled| self.ctx.topology.topics.get(filled.topic.position()));
        let extract = decl.and_then(|topic| topic.input.extract.as_deref());
        let views: Vec<ChangelogRecord<'_>> = records
            .iter()
            // What could not be read when it came in did not get into the store.
            .filter(|record| filled.is_none_or(|filled| filled.check.check(record).is_ok()))
            .filter(|record| extract.is_none_or(|extract| extract.refusal(record).is_none()))
            .filter_map(|record| {
                Some(ChangelogRecord {
                    key: record.key.as_deref()?,
                    value: record.value.as_deref(),
                    timestamp: extract.map_or(record.timestamp, |extract| extract.timestamp(record)),
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
        let id = self.changelog_store(changelog)?.id;
        self.ctx.epoch += 1;
        Ok(self.ctx.stores.reset(id)?)
    }

    pub(super) fn changelog_store(&self, changelog: &str) -> Result<&LoggedStore, TaskError> {
        let found = self.changelogs.iter().find(|logged| logged.topic == changelog);
        found.ok_or_else(|| self.not_an_input(changelog))
    }
}
