//! A topic's settings: what the topic says, else what the broker says, else Kafka's default.

use std::collections::BTreeMap;

use super::value::Source;
use super::{SETTINGS, Setting, SettingError, Values, nearest, value};

/// What was set for one topic; everything in it is known and valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicValues {
    set: BTreeMap<&'static str, String>,
}

impl TopicValues {
    /// Sets the topic setting `name`.
    ///
    /// Fails when there is no such setting, or `value` is not one it takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let row = topic_row(name)?;
        value::check(row, name, value)?;
        self.set.insert(
            row.topic.expect("topic_row finds rows with a topic name"),
            value.trim().to_string(),
        );
        Ok(())
    }

    /// Takes back what was set for `name`, so that the broker's value holds again.
    pub fn unset(&mut self, name: &str) -> Result<(), SettingError> {
        topic_row(name)?;
        self.set.remove(name);
        Ok(())
    }

    /// What was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.set.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The text that was set for `name`.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }
}

/// One setting of a topic with the value that holds and those it hides, as DescribeConfigs tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) setting: &'static Setting,
    pub(crate) value: String,
    pub(crate) source: Source,
    /// Every name that could give the value, with the one it gives, strongest first.
    pub(crate) synonyms: Vec<(&'static str, String, Source)>,
}

/// The rows that stand for a topic setting, in the table's order; coarser units of the same setting are left out.
pub(crate) fn topic_settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .filter(|row| row.topic.is_some() && row.default.is_some())
}

/// The value of the topic setting `row` and where it comes from.
pub(crate) fn resolve(row: &'static Setting, topic: &TopicValues, broker: &Values) -> Resolved {
    let name = row.topic.expect("only topic settings are resolved");
    let mut synonyms = Vec::new();
    if let Some(value) = topic.explicit(name) {
        synonyms.push((name, value.to_string(), Source::Topic));
    }
    // Rows of one topic name stand finest first, so the finest unit that was set wins.
    for same in SETTINGS.iter().filter(|same| same.topic == Some(name)) {
        let Some(broker_name) = same.broker else { continue };
        let layers = broker.layers(broker_name);
        synonyms.extend(layers.map(|(source, text)| (broker_name, scaled(text, same.unit), source)));
    }
    let default = row.default.unwrap_or("").to_string();
    synonyms.push((row.broker.unwrap_or(name), default, Source::Default));
    let (_, value, source) = synonyms.first().cloned().expect("the default was just pushed");
    Resolved {
        setting: row,
        value,
        source,
        synonyms,
    }
}

/// Every setting of a topic.
pub(crate) fn resolve_all(topic: &TopicValues, broker: &Values) -> Vec<Resolved> {
    topic_settings().map(|row| resolve(row, topic, broker)).collect()
}

/// A coarse unit's number in the topic setting's own; -1 means the same in every unit.
fn scaled(text: &str, unit: i64) -> String {
    match text.parse::<i64>() {
        Ok(number) if unit != 1 && number >= 0 => number.saturating_mul(unit).to_string(),
        _ => text.to_string(),
    }
}

fn topic_row(name: &str) -> Result<&'static Setting, SettingError> {
    topic_settings()
        .find(|row| row.topic == Some(name))
        .ok_or_else(|| SettingError::Unknown {
            name: name.to_string(),
            nearest: nearest(name, topic_settings().filter_map(|row| row.topic)),
        })
}

/// The text that holds for the topic setting `name`.
///
/// # Panics
/// When the table has no such setting.
pub(crate) fn setting_value(name: &str, topic: &TopicValues, broker: &Values) -> String {
    resolve(
        topic_row(name).expect("the broker asks only for settings in the table"),
        topic,
        broker,
    )
    .value
}

/// Whether the topic setting `name` is a list; fails when there is no such setting.
pub(crate) fn is_list(name: &str) -> Result<bool, SettingError> {
    Ok(topic_row(name)?.kind == super::Kind::List)
}
