//! Changes of settings, a topic's and the broker's own: written down first, then in force in every log they are about.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::{TopicError, Topics};
use crate::log_config::log_config;
use crate::metadata::Change;
use crate::settings::{Layer, TopicValues, Values};

impl Topics {
    /// Changes a topic's settings by `change`, all of it or nothing.
    pub(crate) fn alter(
        &self,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&mut TopicValues) -> Result<(), TopicError>,
    ) -> Result<(), TopicError> {
        let mut metadata = self.metadata();
        let topic = self
            .find(name)
            .ok_or_else(|| TopicError::Unknown(name.to_string()))?;
        let mut settings = topic.settings.clone();
        change(&mut settings)?;
        if validate_only || settings == topic.settings {
            return Ok(());
        }
        let gone = topic
            .settings
            .iter()
            .filter(|(name, _)| settings.explicit(name).is_none());
        let gone = gone.map(|(name, _)| (name, None));
        let set = settings
            .iter()
            .filter(|(name, value)| topic.settings.explicit(name) != Some(value));
        let set = set.map(|(name, value)| (name, Some(value.to_string())));
        let changes = gone.chain(set).map(|(name, value)| Change::TopicSetting {
            id: topic.id,
            name: name.into(),
            value,
        });
        metadata.append(&changes.collect::<Vec<_>>())?;
        let config = log_config(&settings, &self.values());
        topic
            .partitions
            .iter()
            .for_each(|partition| partition.log.reconfigure(config.clone()));
        let count = u32::try_from(topic.partitions.len()).expect("the number of partitions is bounded");
        self.show(topic.name.clone(), topic.id, settings, count)?;
        Ok(())
    }

    /// The broker's settings as they hold now.
    pub(crate) fn values(&self) -> Arc<Values> {
        Arc::clone(&self.values.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the broker's settings of one layer by `change`, all of it or nothing.
    pub(crate) fn alter_broker(
        &self,
        layer: Layer,
        validate_only: bool,
        change: impl FnOnce(&mut Values) -> Result<(), TopicError>,
    ) -> Result<(), TopicError> {
        let mut metadata = self.metadata();
        let before = self.values();
        let mut values = Values::clone(&before);
        change(&mut values)?;
        if validate_only || values == *before {
            return Ok(());
        }
        let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (before.altered(layer).collect(), values.altered(layer).collect());
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        let gone = gone.map(|name| (*name, None));
        let set = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
        let set = set.map(|(name, value)| (*name, Some((*value).to_string())));
        let changes = gone.chain(set).map(|(name, value)| Change::BrokerSetting {
            layer,
            name: name.into(),
            value,
        });
        metadata.append(&changes.collect::<Vec<_>>())?;
        self.take_effect(values.clone());
        Ok(())
    }

    /// Takes what the broker's file says now, as far as that may change while it runs. Returns what differs and may not.
    pub(crate) fn reload(&self, file: &Values) -> Vec<&'static str> {
        let _metadata = self.metadata();
        let (values, fixed) = self.values().reloaded(file);
        self.take_effect(values);
        fixed
    }

    /// Puts other settings of the broker in force, in every topic that has no value of its own.
    fn take_effect(&self, values: Values) {
        for topic in self.all() {
            let config = log_config(&topic.settings, &values);
            for partition in &topic.partitions {
                partition.log.reconfigure(config.clone());
            }
        }
        *self.values.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(values);
    }
}
