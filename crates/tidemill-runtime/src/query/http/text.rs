//! How questions and rows are written: hexadecimal digits, parameters, headers.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemill_data::{Timestamp, Windowed};
use tidemill_streams::TaskId;

use super::asked::RawRow;

/// The names of headers.
pub(super) const POSITION: &str = "position";
pub(super) const TIMESTAMP: &str = "timestamp";
pub(super) const MORE: &str = "more";
pub(super) const AT_LEAST: &str = "at-least";

const EMPTY_KEY: &str = "-";

/// A row in JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RowText {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    start: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    end: Option<i64>,
    value: String,
    timestamp: i64,
}

impl From<RawRow> for RowText {
    fn from(row: RawRow) -> Self {
        Self {
            key: hex(&row.key),
            start: row.span.map(|(start, _)| start),
            end: row.span.map(|(_, end)| end),
            value: hex(&row.value),
            timestamp: row.timestamp.millis(),
        }
    }
}

impl RowText {
    /// The row; `None` where its digits are none.
    pub(super) fn row(&self) -> Option<RawRow> {
        Some(RawRow {
            key: bytes(&self.key)?,
            span: self.start.zip(self.end),
            value: bytes(&self.value)?,
            timestamp: Timestamp::from_millis(self.timestamp),
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(super) fn bytes(hex: &str) -> Option<Bytes> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let (pairs, _) = digits.as_chunks::<2>();
    let byte = |[high, low]: &[u32; 2]| u8::try_from(high * 16 + low).ok();
    pairs.iter().map(byte).collect()
}

/// A key in a path, where no digits at all would be no part of it.
pub(super) fn key_text(key: &[u8]) -> String {
    if key.is_empty() {
        EMPTY_KEY.to_owned()
    } else {
        hex(key)
    }
}

pub(super) fn key(text: &str) -> Option<Bytes> {
    if text == EMPTY_KEY {
        Some(Bytes::new())
    } else {
        bytes(text)
    }
}

/// `0_1`: subtopology and partition.
pub(super) fn task(text: &str) -> Option<TaskId> {
    let (subtopology, partition) = text.split_once('_')?;
    let partition: i32 = partition.parse().ok().filter(|partition| *partition >= 0)?;
    Some(TaskId {
        subtopology: subtopology.parse().ok()?,
        partition,
    })
}

/// `START,END,KEY`.
pub(super) fn window(text: &str) -> Option<Windowed<Bytes>> {
    let mut parts = text.splitn(3, ',');
    let (start, end) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Windowed::new(bytes(parts.next()?)?, start, end))
}

pub(super) fn window_text(window: &Windowed<Bytes>) -> String {
    format!("{},{},{}", window.start_ms, window.end_ms, hex(&window.key))
}

/// The parameters of a request. Each is taken by who knows it; one that is left over is refused by its name, so that a
/// misspelt one is not an answer to another question.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Errors: one was given twice.
    pub(super) fn new(pairs: Vec<(String, String)>) -> Result<Self, String> {
        let mut known = BTreeMap::new();
        for (name, value) in pairs {
            if known.insert(name.clone(), value).is_some() {
                return Err(format!("parameter `{name}` is given twice"));
            }
        }
        Ok(Self(known))
    }

    /// A parameter, if it was given. `expected` says what it must be.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(format!("parameter `{name}` is {text:?}, and must be {expected}")),
        }
    }

    pub(super) fn key(&mut self, name: &str) -> Result<Option<Bytes>, String> {
        self.take(name, "pairs of hexadecimal digits", bytes)
    }

    pub(super) fn number<T: std::str::FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, String> {
        self.take(name, expected, |text| text.parse().ok())
    }

    pub(super) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, String> {
        let ms = self.number(name, "a time in milliseconds since 1970")?;
        Ok(ms.map(Timestamp::from_millis))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, String> {
        Ok(self.number(name, "true or false")?.unwrap_or(false))
    }

    /// Errors: one is left that nobody knows here.
    pub(super) fn end(self) -> Result<(), String> {
        match self.0.into_keys().next() {
            Some(name) => Err(format!("there is no parameter `{name}` here")),
            None => Ok(()),
        }
    }
}
