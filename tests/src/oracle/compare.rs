//! Whether a run gave what the case expects, and in words where it did not.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::case::{Case, Record};

/// What a run gave: the records of each step, and the final rows of each named store.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// For each input, the records it led to, grouped by topic as the case's format asks.
    pub steps: Vec<Vec<Record>>,
    /// The rows of each named store, in any order.
    pub stores: BTreeMap<String, Vec<Vec<Value>>>,
}

/// The first difference, or nothing when the case passes.
pub fn difference(case: &Case, outcome: &Outcome) -> Option<String> {
    if outcome.steps.len() != case.expect.steps.len() {
        return Some(format!(
            "{} steps instead of {}",
            outcome.steps.len(),
            case.expect.steps.len()
        ));
    }
    let steps = case.expect.steps.iter().zip(&outcome.steps).enumerate();
    let in_steps = steps.into_iter().find_map(|(step, (wanted, got))| {
        let (mut wanted, mut got) = (wanted.clone(), got.clone());
        if case.expect.unordered.contains(&step) {
            wanted.sort();
            got.sort();
        }
        (wanted != got).then(|| format!("step {step}: wanted {}, got {}", records(&wanted), records(&got)))
    });
    in_steps.or_else(|| {
        case.expect.stores.iter().find_map(|(name, wanted)| {
            let mut got = outcome.stores.get(name).cloned().unwrap_or_default();
            got.sort_by(|a, b| by_elements(a, b));
            (wanted != &got).then(|| format!("store {name}: wanted {}, got {}", rows(wanted), rows(&got)))
        })
    })
}

fn records(records: &[Record]) -> String {
    let text = |record: &Record| {
        let side = |side: &Option<String>| {
            side.as_ref()
                .map_or("null".to_owned(), |text| format!("{text:?}"))
        };
        let headers = if record.headers.is_empty() {
            String::new()
        } else {
            format!(" {:?}", record.headers)
        };
        format!(
            "{}:{}={}@{}{headers}",
            record.topic,
            side(&record.key),
            side(&record.value),
            record.ts
        )
    };
    format!("[{}]", records.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn rows(rows: &[Vec<Value>]) -> String {
    serde_json::to_string(rows).unwrap_or_default()
}

/// Null before everything, numbers as numbers, texts by their bytes.
fn by_elements(a: &[Value], b: &[Value]) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Number(_) => 1,
        _ => 2,
    };
    let element = |a: &Value, b: &Value| match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_i64().cmp(&b.as_i64()),
        (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        _ => rank(a).cmp(&rank(b)),
    };
    let differing = a
        .iter()
        .zip(b)
        .map(|(a, b)| element(a, b))
        .find(|order| order.is_ne());
    differing.unwrap_or_else(|| a.len().cmp(&b.len()))
}
