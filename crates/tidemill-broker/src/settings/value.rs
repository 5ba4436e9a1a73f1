//! Values that were set: checked against the table when they come in, trusted afterwards.

use std::collections::BTreeMap;

use super::{Kind, SETTINGS, Setting, Support, nearest};

/// A setting that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// No setting has this name.
    #[error("unknown setting {name:?}, the nearest known one is {nearest:?}")]
    Unknown {
        /// The name that was given.
        name: String,
        /// The known name most like it.
        nearest: &'static str,
    },
    /// The value is not of the setting's type, or out of its range.
    #[error("invalid value {value:?} for configuration {name}: {reason}")]
    Invalid {
        /// The setting.
        name: String,
        /// The value that was given.
        value: String,
        /// Why it is not taken.
        reason: String,
    },
    /// It holds from the start to the end of a broker.
    #[error("Cannot update {0} dynamically: it is read when the broker starts")]
    ReadOnly(&'static str),
}

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Topic,
    /// Set while running, for this broker.
    Here,
    /// Set while running, for all brokers.
    Everywhere,
    Broker,
    Default,
}

/// For whom a broker's setting changes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// For this broker.
    Here,
    /// For all brokers of the cluster that have no value of their own.
    Everywhere,
}

/// What was set for the broker; everything in it is known and valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    // What the broker was started with.
    set: BTreeMap<&'static str, String>,
    // What was set while it ran; each layer hides those above it here.
    everywhere: BTreeMap<&'static str, String>,
    here: BTreeMap<&'static str, String>,
}

impl Values {
    /// Sets the broker setting `name`.
    ///
    /// Fails when there is no such setting, or `value` is not one it takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let (name, value) = checked(name, value)?;
        self.set.insert(name, value);
        Ok(())
    }

    /// Sets `name` while the broker runs, or takes back what was set so.
    ///
    /// Fails as [`Values::set`] does, and for a setting that does not change while a broker runs.
    pub fn alter(&mut self, layer: Layer, name: &str, value: Option<&str>) -> Result<(), SettingError> {
        let row = broker_row(name)?;
        let known = row.broker.expect("broker_row finds rows with a broker name");
        if !row.dynamic {
            return Err(SettingError::ReadOnly(known));
        }
        let value = value.map(|value| checked(name, value)).transpose()?;
        match value {
            Some((name, value)) => self.layer_mut(layer).insert(name, value),
            None => self.layer_mut(layer).remove(known),
        };
        Ok(())
    }

    /// What was set while the broker ran.
    pub fn altered(&self, layer: Layer) -> impl Iterator<Item = (&'static str, &str)> {
        let values = match layer {
            Layer::Here => &self.here,
            Layer::Everywhere => &self.everywhere,
        };
        values.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The same with what was altered in `other`.
    pub(crate) fn with_altered(&self, other: &Values) -> Values {
        Values {
            set: self.set.clone(),
            everywhere: other.everywhere.clone(),
            here: other.here.clone(),
        }
    }

    /// What was set for all brokers, alone.
    pub(crate) fn only_everywhere(&self) -> Values {
        Values {
            everywhere: self.everywhere.clone(),
            ..Values::default()
        }
    }

    /// The same with `file` as what the broker was started with, as far as that may change while it runs; and the names
    /// that differ and may not.
    pub fn reloaded(&self, file: &Values) -> (Values, Vec<&'static str>) {
        let mut values = self.clone();
        let mut fixed = Vec::new();
        for row in SETTINGS {
            let Some(name) = row.broker else { continue };
            let (now, then) = (self.set.get(name), file.set.get(name));
            match then {
                _ if now == then => {}
                _ if !row.dynamic => fixed.push(name),
                Some(value) => drop(values.set.insert(name, value.clone())),
                None => drop(values.set.remove(name)),
            }
        }
        (values, fixed)
    }

    fn layer_mut(&mut self, layer: Layer) -> &mut BTreeMap<&'static str, String> {
        match layer {
            Layer::Here => &mut self.here,
            Layer::Everywhere => &mut self.everywhere,
        }
    }

    /// The text that was set for `name`, if any was.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.layers(name).next().map(|(_, value)| value)
    }

    /// Every text that was set for `name`, the one that holds first.
    pub(crate) fn layers(&self, name: &str) -> impl Iterator<Item = (Source, &str)> {
        let layers = [
            (Source::Here, &self.here),
            (Source::Everywhere, &self.everywhere),
            (Source::Broker, &self.set),
        ];
        layers
            .into_iter()
            .filter_map(move |(source, values)| Some((source, values.get(name)?.as_str())))
    }

    /// The text that holds for `name`: what was set, or else the default.
    pub fn text(&self, name: &'static str) -> &str {
        self.explicit(name).unwrap_or_else(|| {
            let row = broker_row(name).expect("the broker asks only for settings in the table");
            row.default.unwrap_or("")
        })
    }

    /// The text that holds for `name`, empty for a name that is not known.
    pub(crate) fn shown(&self, name: &str) -> String {
        let default = || broker_row(name).ok().and_then(|row| row.default).unwrap_or("");
        self.explicit(name).unwrap_or_else(default).to_string()
    }

    /// The names that were set and do nothing here.
    pub fn without_counterpart(&self) -> impl Iterator<Item = &'static Setting> {
        self.set
            .keys()
            .filter_map(|name| broker_row(name).ok())
            .filter(|row| row.support == Support::WithoutCounterpart)
    }

    pub(crate) fn number(&self, name: &'static str) -> i64 {
        self.text(name)
            .parse()
            .expect("numbers were checked when they were set, defaults by a test")
    }

    pub(super) fn int(&self, name: &'static str) -> i32 {
        i32::try_from(self.number(name)).expect("the range of an Int setting lies within 32 bits")
    }

    pub(crate) fn fraction(&self, name: &'static str) -> f64 {
        self.text(name)
            .parse()
            .expect("fractions were checked when they were set, defaults by a test")
    }

    pub(crate) fn boolean(&self, name: &'static str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    pub(crate) fn list(&self, name: &'static str) -> Vec<String> {
        split_list(self.text(name)).map(str::to_string).collect()
    }
}

/// The parts of a comma-separated value, without blanks and empty parts.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Whether the broker setting `name` is a list; fails when there is no such setting.
pub(crate) fn broker_is_list(name: &str) -> Result<bool, SettingError> {
    Ok(broker_row(name)?.kind == Kind::List)
}

fn checked(name: &str, value: &str) -> Result<(&'static str, String), SettingError> {
    let row = broker_row(name)?;
    check(row, name, value)?;
    let name = row.broker.expect("broker_row finds rows with a broker name");
    Ok((name, value.trim().to_string()))
}

fn broker_row(name: &str) -> Result<&'static Setting, SettingError> {
    SETTINGS
        .iter()
        .find(|row| row.broker == Some(name))
        .ok_or_else(|| SettingError::Unknown {
            name: name.to_string(),
            nearest: nearest(name, SETTINGS.iter().filter_map(|row| row.broker)),
        })
}

/// Checks `value` against the type, range and choices of `row`.
pub(super) fn check(row: &Setting, name: &str, value: &str) -> Result<(), SettingError> {
    let invalid = |reason: String| SettingError::Invalid {
        name: name.to_string(),
        value: if row.kind == Kind::Password {
            "[hidden]".to_string()
        } else {
            value.to_string()
        },
        reason,
    };
    let text = value.trim();
    match row.kind {
        Kind::Boolean if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") => {
            return Err(invalid("expected true or false".to_string()));
        }
        Kind::Int => {
            let number = text
                .parse::<i32>()
                .map_err(|_| invalid("expected a 32-bit number".to_string()))?;
            check_range(row, i64::from(number)).map_err(invalid)?;
        }
        Kind::Long => {
            let number = text
                .parse::<i64>()
                .map_err(|_| invalid("expected a 64-bit number".to_string()))?;
            check_range(row, number).map_err(invalid)?;
        }
        Kind::Double => {
            let number = text
                .parse::<f64>()
                .map_err(|_| invalid("expected a number".to_string()))?;
            let (least, most) = row.range.unwrap_or((i64::MIN, i64::MAX));
            let most = if most == i64::MAX { f64::MAX } else { most as f64 };
            if !(least as f64..=most).contains(&number) {
                return Err(invalid(format!("expected between {least} and {most}")));
            }
        }
        _ => {}
    }
    check_choices(row, text).map_err(invalid)
}

fn check_range(row: &Setting, number: i64) -> Result<(), String> {
    match row.range {
        Some((least, _)) if number < least => Err(format!("Value must be at least {least}")),
        Some((_, most)) if number > most => Err(format!("Value must be at most {most}")),
        _ => Ok(()),
    }
}

fn check_choices(row: &Setting, text: &str) -> Result<(), String> {
    let wrong = |part: &&str| !row.choices.is_empty() && !row.choices.contains(part);
    let bad = if row.kind == Kind::List {
        split_list(text).find(wrong)
    } else {
        Some(text).filter(wrong)
    };
    match bad {
        Some(part) => Err(format!("{part:?} is not one of {}", row.choices.join(", "))),
        None => Ok(()),
    }
}
