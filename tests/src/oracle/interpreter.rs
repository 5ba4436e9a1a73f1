//! Runs a case: its topology through the DSL, its inputs through one task that holds all subtopologies.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidemill_data::{Headers, StoreName, Timestamp};
use tidemill_rocksdb::{MemoryBudget, RocksDb};
use tidemill_store::{ByteStore, MemoryByteStore};
use tidemill_streams::{OutputTopic, Outputs, RawRecord, Task, TaskConfig, Topology};

use super::case::{Case, Input, Record};
use super::compare::Outcome;
use super::functions::Text;
use super::program::{Program, StoredRows};

/// The database of a case's task, and the folder it lies in, if any, which goes with it.
pub struct Database {
    base: Arc<dyn ByteStore>,
    _folder: Option<TempDir>,
}

/// Opens the database of a case's task, given the names of its stores.
pub type OpenStore<'a> = &'a dyn Fn(&[&str]) -> Result<Database>;

/// Keeps a case's state in memory.
///
/// # Errors
/// Never; the signature is that of [`OpenStore`].
pub fn in_memory(names: &[&str]) -> Result<Database> {
    Ok(Database {
        base: Arc::new(MemoryByteStore::new(names)),
        _folder: None,
    })
}

/// Keeps a case's state in RocksDB, in a temporary folder.
///
/// # Errors
/// When the folder or the database cannot be opened.
pub fn in_rocksdb(names: &[&str]) -> Result<Database> {
    let folder = tempfile::tempdir()?;
    let base = RocksDb::open(folder.path(), names, &MemoryBudget::new(16 << 20))?;
    Ok(Database {
        base: Arc::new(base),
        _folder: Some(folder),
    })
}

/// Runs a case from its first input to its last.
///
/// # Errors
/// When the topology cannot be built, or processing fails.
pub fn run(case: &Case, open: OpenStore) -> Result<Outcome> {
    let program = Program::compose(case)?;
    let topology = program.app.topology().context("the topology")?;
    let parts: Vec<usize> = (0..topology.subtopologies().len()).collect();
    let specs = topology.store_specs(&parts);
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let database = open(&names)?;
    let task = Task::whole(
        Arc::clone(&topology),
        0,
        Arc::clone(&database.base),
        &TaskConfig::default(),
        Timestamp::from_millis(0),
    )?;
    let mut run = Run {
        task,
        topology,
        offsets: BTreeMap::new(),
        wall_clock_ms: 0,
    };
    let mut outcome = Outcome::default();
    for input in &case.inputs {
        let mut records = run.step(input)?;
        let place = |record: &Record| program.sinks.iter().position(|sink| *sink == record.topic);
        records.sort_by_key(place);
        outcome.steps.push(records);
    }
    for (name, rows) in &program.stores {
        outcome.stores.insert(name.clone(), run.rows(name, *rows)?);
    }
    Ok(outcome)
}

struct Run {
    task: Task,
    topology: Arc<Topology>,
    offsets: BTreeMap<String, i64>,
    wall_clock_ms: i64,
}

impl Run {
    fn step(&mut self, input: &Input) -> Result<Vec<Record>> {
        let mut outputs = Outputs::new();
        match input {
            Input::Advance {
                advance_wall_clock_ms,
            } => {
                self.wall_clock_ms += advance_wall_clock_ms;
                self.task
                    .punctuate_wall(Timestamp::from_millis(self.wall_clock_ms), &mut outputs)?;
            }
            Input::Record(record) => {
                let offset = self.offsets.entry(record.topic.clone()).or_default();
                // A topic that the topology does not read is no error: the record just leads to nothing.
                if self.task.inputs().contains(&record.topic) {
                    self.task.enqueue(&record.topic, [raw(record, *offset)])?;
                }
                *offset += 1;
            }
        }
        while self
            .task
            .process(
                usize::MAX,
                Timestamp::from_millis(self.wall_clock_ms),
                &mut outputs,
            )?
            .records
            > 0
        {}
        outputs.iter().map(|output| self.record(&output)).collect()
    }

    fn record(&self, output: &tidemill_streams::OutputRecord<'_>) -> Result<Record> {
        let topic = match output.topic {
            OutputTopic::Known(at) => self
                .topology
                .topics()
                .get(at.position())
                .context("outputs name topics of the topology")?
                .clone(),
            OutputTopic::Named(name) => name.to_owned(),
        };
        Ok(Record {
            topic,
            key: text(output.key)?,
            value: text(output.value)?,
            ts: output.timestamp.millis(),
            headers: output
                .headers
                .iter()
                .map(|header| Ok((header.name.clone(), text(header.value.as_deref())?)))
                .collect::<Result<_>>()?,
        })
    }

    fn rows(&mut self, name: &str, rows: StoredRows) -> Result<Vec<Vec<Value>>> {
        match rows {
            StoredRows::Texts => {
                let found = self.task.rows(&StoreName::<Text, String>::named(name))?;
                Ok(found
                    .into_iter()
                    .map(|(k, row)| vec![json!(k), json!(row.value), json!(row.timestamp.millis())])
                    .collect())
            }
            StoredRows::Counts => {
                let found = self.task.rows(&StoreName::<Text, i64>::named(name))?;
                let count = |row: i64| json!(row.to_string());
                Ok(found
                    .into_iter()
                    .map(|(k, row)| vec![json!(k), count(row.value), json!(row.timestamp.millis())])
                    .collect())
            }
        }
    }
}

fn raw(record: &Record, offset: i64) -> RawRecord {
    let bytes = |text: &Text| text.as_ref().map(|text| text.clone().into_bytes().into());
    let mut headers = Headers::new();
    for (name, value) in &record.headers {
        headers.push(
            name.as_str(),
            value.as_ref().map(|value| value.clone().into_bytes().into()),
        );
    }
    RawRecord {
        offset,
        timestamp: Timestamp::from_millis(record.ts),
        key: bytes(&record.key),
        value: bytes(&record.value),
        headers,
    }
}

fn text(bytes: Option<&[u8]>) -> Result<Text> {
    bytes
        .map(|bytes| Ok(std::str::from_utf8(bytes)?.to_owned()))
        .transpose()
}
