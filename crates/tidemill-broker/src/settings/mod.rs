//! Settings: what may be set, what was set, and what that means.
//!
//! Text becomes typed values once, at load: [`Values`] holds what was set and is known to be valid,
//! [`BrokerSettings`] is what the rest of the broker reads; [`TopicValues`] is what one topic was given.

mod broker;
mod environment;
mod listener;
mod nearest;
mod properties;
mod table;
mod topic;
mod value;

#[cfg(test)]
mod tests;

pub use broker::BrokerSettings;
pub use listener::{Listener, ListenerError};
pub use properties::{PropertiesError, parse_properties};
pub use table::SETTINGS;
pub use topic::TopicValues;
pub use value::{Layer, SettingError, Values};

pub(crate) use environment::{TopicAtStart, take as take_environment};
use nearest::nearest;
pub(crate) use topic::{Resolved, is_list, resolve_all, setting_value};
pub(crate) use value::{Source, broker_is_list};

/// Kafka's type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    Long,
    /// A fraction.
    Double,
    /// Any text.
    Text,
    /// Text parted by commas.
    List,
    /// Text that is never shown.
    Password,
}

/// Whether a setting does anything in this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It has its meaning of Kafka.
    Effective,
    /// It is known and has nothing here that it could change.
    WithoutCounterpart,
}

/// One row of the table of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name in `server.properties`.
    pub broker: Option<&'static str>,
    /// Its name in a topic's configuration.
    pub topic: Option<&'static str>,
    /// Its type.
    pub kind: Kind,
    /// Its default; none where another row of the same topic name has it.
    pub default: Option<&'static str>,
    /// By what a value is multiplied to give the topic setting's unit.
    pub unit: i64,
    /// The least and the greatest number it takes.
    pub range: Option<(i64, i64)>,
    /// The words it takes, where only some are allowed.
    pub choices: &'static [&'static str],
    /// Whether it does anything here.
    pub support: Support,
    /// Whether the broker's value may change while it runs.
    pub dynamic: bool,
    /// What it means, in a sentence.
    pub documentation: &'static str,
}
