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
}

/// What was set for the broker; everything in it is known and valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    set: BTreeMap<&'static str, String>,
}

impl Values {
    /// Sets the broker setting `name`.
    ///
    /// Fails when there is no such setting, or `value` is not one it takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let row = broker_row(name)?;
        check(row, name, value)?;
        self.set.insert(
            row.broker.expect("broker_row finds rows with a broker name"),
            value.trim().to_string(),
        );
        Ok(())
    }

    /// The text that was set for `name`, if any was.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// The text that holds for `name`: what was set, or else the default.
    pub fn text(&self, name: &'static str) -> &str {
        self.explicit(name).unwrap_or_else(|| {
            let row = broker_row(name).expect("the broker asks only for settings in the table");
            row.default.unwrap_or("")
        })
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

    pub(super) fn list(&self, name: &'static str) -> Vec<String> {
        split_list(self.text(name)).map(str::to_string).collect()
    }
}

/// The parts of a comma-separated value, without blanks and empty parts.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
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
