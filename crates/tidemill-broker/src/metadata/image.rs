//! The metadata as it is after a number of changes.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::Change;
use crate::features::Levels;
use crate::settings::{TopicValues, Values};

/// The metadata as it is after a number of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) topics: BTreeMap<String, TopicImage>,
    /// Topics that are gone; a partition that still lies on disk with such an id was left by a crash.
    pub(crate) deleted: HashSet<Uuid>,
    /// The first producer id that was not given out.
    pub(crate) producer_id_next: u64,
    /// The broker's own settings that were changed while it ran.
    pub(crate) broker: Values,
    /// The levels of features.
    pub(crate) levels: Levels,
    /// How many changes there were.
    pub(crate) changes: u64,
}

/// What is known of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicImage {
    pub(crate) id: Uuid,
    pub(crate) partitions: u32,
    pub(crate) settings: TopicValues,
}

impl Image {
    pub(super) fn apply(&mut self, change: &Change) {
        self.changes += 1;
        match change {
            Change::TopicCreated {
                id,
                name,
                partitions,
                settings,
            } => {
                let mut values = TopicValues::default();
                for (setting, value) in settings {
                    set(&mut values, name, setting, value);
                }
                self.topics.insert(
                    name.clone(),
                    TopicImage {
                        id: *id,
                        partitions: *partitions,
                        settings: values,
                    },
                );
            }
            Change::PartitionsAdded { id, partitions } => {
                if let Some((_, topic)) = self.find(*id) {
                    topic.partitions = *partitions;
                }
            }
            Change::TopicDeleted { id } => {
                self.topics.retain(|_, topic| topic.id != *id);
                self.deleted.insert(*id);
            }
            Change::TopicSetting {
                id,
                name: setting,
                value,
            } => {
                if let Some((name, topic)) = self.find(*id) {
                    match value {
                        Some(value) => set(&mut topic.settings, name, setting, value),
                        None => drop(topic.settings.unset(setting)),
                    }
                }
            }
            Change::BrokerSetting { layer, name, value } => {
                if let Err(error) = self.broker.alter(*layer, name, value.as_deref()) {
                    tracing::warn!(%error, "a setting in the metadata log is left out");
                }
            }
            Change::FeatureLevel { name, level } => self.levels.set(name, *level),
            Change::ProducerIds { next } => self.producer_id_next = self.producer_id_next.max(*next),
        }
    }

    fn find(&mut self, id: Uuid) -> Option<(&String, &mut TopicImage)> {
        self.topics.iter_mut().find(|(_, topic)| topic.id == id)
    }
}

/// A setting was checked before it was written, so it is refused only if another version wrote it: told, and left out.
fn set(values: &mut TopicValues, topic: &str, setting: &str, value: &str) {
    if let Err(error) = values.set(setting, value) {
        tracing::warn!(topic, %error, "a setting in the metadata log is left out");
    }
}
