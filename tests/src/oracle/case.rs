//! A case of the oracle: a topology, its inputs, and what Apache Kafka Streams made of them.
//!
//! A file is JSON Lines, one case a line. Unknown fields are ignored, as the format asks.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::functions::Text;

/// One case, as its line says it.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// `area/what-it-is`.
    pub name: String,
    /// Marks that a run may judge apart, such as `store-retention`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Settings of the run.
    #[serde(default)]
    pub config: CaseConfig,
    /// The operators, each after those it reads from.
    pub topology: Vec<Op>,
    /// What happens, in order.
    pub inputs: Vec<Input>,
    /// What came out.
    pub expect: Expect,
}

/// Settings of a case's run.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CaseConfig {
    /// The least advance of the wall clock, in milliseconds, between two throttled emissions.
    #[serde(default)]
    pub emit_interval_ms: i64,
}

/// One operator with its parameters, which differ by kind and are read by name.
#[derive(Clone, Debug, Deserialize)]
pub struct Op {
    /// The kind, such as `map_values`.
    pub op: String,
    /// The name by which later operators refer to this one.
    pub id: String,
    /// All fields, these two among them.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, Value>,
}

impl Op {
    /// The ids this operator reads from; none for a source.
    pub fn from(&self) -> Vec<&str> {
        match self.parameters.get("from") {
            Some(Value::String(id)) => vec![id],
            Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The one id this operator reads from.
    pub fn parent(&self) -> Result<&str> {
        self.from()
            .first()
            .copied()
            .with_context(|| format!("{} {} reads from nothing", self.op, self.id))
    }

    /// A text parameter, when the case gives it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).and_then(Value::as_str)
    }

    /// A text parameter that the operator cannot do without.
    pub fn need_text(&self, name: &str) -> Result<&str> {
        self.text(name)
            .with_context(|| format!("{} {} has no `{name}`", self.op, self.id))
    }

    /// A number, when the case gives it.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.parameters.get(name).and_then(Value::as_i64)
    }

    /// A number that the operator cannot do without.
    pub fn need_number(&self, name: &str) -> Result<i64> {
        self.number(name)
            .with_context(|| format!("{} {} has no `{name}`", self.op, self.id))
    }

    /// Any other parameter, such as a function.
    pub fn need(&self, name: &str) -> Result<&Value> {
        self.parameters
            .get(name)
            .with_context(|| format!("{} {} has no `{name}`", self.op, self.id))
    }
}

/// One thing that happens to the topology.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// The wall clock moves.
    Advance {
        /// By how much, in milliseconds.
        advance_wall_clock_ms: i64,
    },
    /// A record arrives.
    Record(Record),
}

/// A record on its way in or out.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The key; a windowed key is its text.
    pub key: Text,
    /// The value.
    pub value: Text,
    /// Event time, in milliseconds.
    pub ts: i64,
    /// The headers, in order; names may repeat.
    #[serde(default)]
    pub headers: Vec<(String, Text)>,
}

/// What Kafka Streams made of a case.
#[derive(Clone, Debug, Deserialize)]
pub struct Expect {
    /// For each input, the records it led to.
    pub steps: Vec<Vec<Record>>,
    /// The final rows of each named store.
    #[serde(default)]
    pub stores: BTreeMap<String, Vec<Vec<Value>>>,
    /// Steps whose records are compared as a multiset.
    #[serde(default)]
    pub unordered: Vec<usize>,
}

/// Reads every case of a file's text, naming the line of one that cannot be read.
pub fn read_cases(text: &str) -> Result<Vec<Case>> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| serde_json::from_str(line).with_context(|| format!("line {}", number + 1)))
        .collect()
}
