//! Runs a case: its topology through the DSL, its inputs through one task that holds all subtopologies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_data::{Headers, Stamped, StoreName, Timestamp, Windowed};
use tidemill_store::{ChangelogPosition, Direction, TopicId};
use tidemill_streams::{OutputTopic, Outputs, RawRecord, Task, Topology};

mod globals;

use self::globals::Globals;
use super::case::{Case, Input, Record};
use super::compare::Outcome;
use super::database::{Database, OpenStore};
use super::functions::Text;
use super::program::{Program, StoredRows, window_text};

/// Whether the task of a case lives from the first input to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// It does.
    Never,
    /// After every third step it is closed, loses its database, and is restored from its changelogs.
    EveryThirdStep,
}

impl Restarts {
    fn after(self, step: usize) -> bool {
        self == Self::EveryThirdStep && step % 3 == 2
    }
}

/// Runs a case from its first input to its last.
///
/// # Errors
/// When the topology cannot be built, or processing fails.
pub fn run(case: &Case, open: OpenStore, restarts: Restarts) -> Result<Outcome> {
    let program = Program::compose(case)?;
    let topology = program.app.topology().context("the topology")?;
    let globals = Globals::open(&topology, open)?;
    let (task, database) = open_task(&topology, open, 0, &globals)?;
    let mut run = Run {
        task,
        database,
        globals,
        topology,
        offsets: BTreeMap::new(),
        changelogs: BTreeMap::new(),
        wall_clock_ms: 0,
    };
    let mut outcome = Outcome::default();
    for (step, input) in case.inputs.iter().enumerate() {
        let mut records = run.step(input)?;
        let place = |record: &Record| program.sinks.iter().position(|sink| *sink == record.topic);
        records.sort_by_key(place);
        outcome.steps.push(records);
        if restarts.after(step) {
            run.restart(open)?;
        }
    }
    for (name, rows) in &program.stores {
        outcome.stores.insert(name.clone(), run.rows(name, *rows, case)?);
    }
    Ok(outcome)
}

fn open_task(
    topology: &Arc<Topology>,
    open: OpenStore,
    wall_clock_ms: i64,
    globals: &Globals,
) -> Result<(Task, Database)> {
    let parts: Vec<usize> = (0..topology.subtopologies().len()).collect();
    let specs = topology.store_specs(&parts);
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let database = open(&names)?;
    let base = database.base();
    let now = Timestamp::from_millis(wall_clock_ms);
    let task = Task::whole(Arc::clone(topology), 0, base, &globals.config(), now)?;
    Ok((task, database))
}

struct Run {
    task: Task,
    // Goes after the task that uses it.
    database: Database,
    globals: Globals,
    topology: Arc<Topology>,
    offsets: BTreeMap<String, i64>,
    changelogs: BTreeMap<String, Vec<RawRecord>>,
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
                self.globals.apply(raw(record, *offset), &record.topic)?;
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

    /// Commits, and goes on with a new task on an empty database, restored from the changelogs.
    fn restart(&mut self, open: OpenStore) -> Result<()> {
        let mut outputs = Outputs::new();
        let commit = self.task.prepare_commit(&mut outputs);
        for output in outputs.iter() {
            let OutputTopic::Named(topic) = output.topic else {
                bail!("a commit writes changelogs only")
            };
            let log = self.changelogs.entry(topic.to_owned()).or_default();
            log.push(RawRecord {
                offset: i64::try_from(log.len())?,
                timestamp: output.timestamp,
                key: output.key.map(Bytes::copy_from_slice),
                value: output.value.map(Bytes::copy_from_slice),
                headers: output.headers.clone(),
            });
        }
        self.globals.restart(open)?;
        (self.task, self.database) = open_task(&self.topology, open, self.wall_clock_ms, &self.globals)?;
        for changelog in self.task.changelogs() {
            let records = self
                .changelogs
                .get(&changelog.topic)
                .map_or(&[][..], Vec::as_slice);
            let position = ChangelogPosition {
                next_offset: i64::try_from(records.len())?,
                topic_id: TopicId::default(),
                committed_at: Timestamp::from_millis(self.wall_clock_ms),
            };
            self.task.restore(&changelog.topic, records, position)?;
        }
        ensure!(
            self.task.resume(&commit.metadata),
            "the commit's metadata are not taken back"
        );
        Ok(())
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

    fn rows(&mut self, name: &str, rows: StoredRows, case: &Case) -> Result<Vec<Vec<Value>>> {
        match rows {
            StoredRows::Versions => self.versions(name, case),
            StoredRows::Plain => self.plain_rows(name),
            StoredRows::PlainWindows { size_ms } => self.plain_windows(name, size_ms),
            StoredRows::Windows { counts, sessions } => self.windows(name, counts, sessions),
            StoredRows::WindowKeyed => {
                let found = self
                    .task
                    .rows(&StoreName::<Windowed<Text>, String>::named(name))?;
                let row = |(key, row): (Windowed<Text>, Stamped<String>)| {
                    vec![
                        json!(window_text(&key)),
                        json!(row.value),
                        json!(row.timestamp.millis()),
                    ]
                };
                Ok(found.into_iter().map(row).collect())
            }
            StoredRows::Texts | StoredRows::Globals => {
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

impl Run {
    /// The rows of an aggregation over windows or sessions.
    fn windows(&mut self, name: &str, counts: bool, sessions: bool) -> Result<Vec<Vec<Value>>> {
        let found = if counts {
            let counts = StoreName::<Windowed<Text>, i64>::named(name);
            let found = self.task.windows(&counts, None)?;
            let text =
                |(key, row): (_, Stamped<i64>)| (key, Stamped::new(row.value.to_string(), row.timestamp));
            found.into_iter().map(text).collect()
        } else {
            let texts = StoreName::<Windowed<Text>, String>::named(name);
            self.task.windows(&texts, None)?
        };
        let row = |(key, row): (Windowed<Text>, Stamped<String>)| {
            let mut columns = vec![
                json!(key.key),
                json!(key.start_ms),
                json!(key.end_ms),
                json!(row.value),
            ];
            if !sessions {
                columns.push(json!(row.timestamp.millis()));
            }
            columns
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// The rows of a processor's key-value store.
    fn plain_rows(&mut self, name: &str) -> Result<Vec<Vec<Value>>> {
        let stores = self.task.stores();
        let id = stores.find(name).context("the store is there")?;
        let mut rows = stores.key_value(id).all(Direction::Forward)?;
        let mut found = Vec::new();
        while let Some((key, value)) = rows.entry() {
            found.push(vec![json!(text(Some(key))?), json!(text(Some(value))?)]);
            rows.advance()?;
        }
        Ok(found)
    }

    /// The rows of a processor's window store.
    fn plain_windows(&mut self, name: &str, size_ms: i64) -> Result<Vec<Vec<Value>>> {
        let stores = self.task.stores();
        let id = stores.find(name).context("the store is there")?;
        let mut rows = stores.window(id).all(Direction::Forward)?;
        let mut found = Vec::new();
        while let Some(row) = rows.entry() {
            let (start, end) = (row.start_ms, row.start_ms + size_ms);
            let (key, value) = (text(Some(row.key))?, text(Some(row.value))?);
            found.push(vec![json!(key), json!(start), json!(end), json!(value)]);
            rows.advance()?;
        }
        Ok(found)
    }

    /// The latest value of each key that any input has, and its value as of each time that any input has.
    fn versions(&mut self, name: &str, case: &Case) -> Result<Vec<Vec<Value>>> {
        let store = StoreName::<Text, String>::named(name);
        let records = || {
            case.inputs.iter().filter_map(|input| match input {
                Input::Record(record) => Some(record),
                Input::Advance { .. } => None,
            })
        };
        let times: BTreeSet<i64> = records().map(|record| record.ts).collect();
        let keys: BTreeSet<&Text> = records().map(|record| &record.key).collect();
        let mut rows = Vec::new();
        for key in keys.into_iter().filter(|key| key.is_some()) {
            if let Some(row) = self.task.row(&store, key)? {
                rows.push(vec![
                    json!(key),
                    Value::Null,
                    json!(row.value),
                    json!(row.timestamp.millis()),
                ]);
            }
            for time in &times {
                let as_of = Timestamp::from_millis(*time);
                if let Some(row) = self.task.row_as_of(&store, key, as_of)? {
                    rows.push(vec![
                        json!(key),
                        json!(time),
                        json!(row.value),
                        json!(row.timestamp.millis()),
                    ]);
                }
            }
        }
        Ok(rows)
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
