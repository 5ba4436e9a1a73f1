//! Composes a case's topology with the DSL, operator by operator.
//!
//! Everything is text or null. A table's rows are never null; the streams of its changes are.

mod joins;
mod processors;
mod windows;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tidemill_data::{StoreName, Topic, Windowed};
use tidemill_streams::{App, GlobalKTable, KGroupedStream, KGroupedTable, KStream, KTable, Materialized};

pub(super) use windows::window_text;

use super::case::{Case, Op};
use super::functions::{
    Text, aggregator, flat_pair_function, flat_value_function, joiner, key_function, pair_function,
    predicate, reducer, value_function,
};

/// What an operator made, by which later ones refer to it.
#[derive(Clone)]
enum Made {
    Stream(KStream<Text, Text>),
    Table(KTable<Text, String>),
    Global(GlobalKTable<Text, String>),
    Windows(KTable<Windowed<Text>, String>),
    /// Kept elsewhere, by what it is.
    Grouping,
}

/// How the rows of a named store are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum StoredRows {
    Texts,
    Counts,
    Versions,
    Globals,
    /// Of an aggregation over windows or sessions.
    Windows {
        counts: bool,
        sessions: bool,
    },
    /// Of a table whose keys are windowed.
    WindowKeyed,
    /// Of a processor's key-value store.
    Plain,
    /// Of a processor's window store.
    PlainWindows {
        size_ms: i64,
    },
}

/// A case's program, with the topics it writes and the stores it names.
pub(super) struct Program {
    pub(super) app: App,
    pub(super) sinks: Vec<String>,
    pub(super) stores: BTreeMap<String, StoredRows>,
    made: BTreeMap<String, Made>,
    grouped_streams: BTreeMap<String, KGroupedStream<Text, Text>>,
    grouped_tables: BTreeMap<String, KGroupedTable<Text, Text>>,
    // Made anew for each operator that reads them.
    windowed: BTreeMap<String, Op>,
    cogroups: BTreeMap<String, Op>,
}

impl Program {
    pub(super) fn compose(case: &Case) -> Result<Self> {
        let app = App::new("oracle");
        app.forget_as_kafka_streams();
        app.emit_interval(Duration::from_millis(u64::try_from(
            case.config.emit_interval_ms,
        )?));
        let mut program = Self {
            app,
            sinks: Vec::new(),
            stores: BTreeMap::new(),
            made: BTreeMap::new(),
            grouped_streams: BTreeMap::new(),
            grouped_tables: BTreeMap::new(),
            windowed: BTreeMap::new(),
            cogroups: BTreeMap::new(),
        };
        for op in &case.topology {
            program.add(op).with_context(|| format!("{} {}", op.op, op.id))?;
        }
        Ok(program)
    }

    fn add(&mut self, op: &Op) -> Result<()> {
        if let Some(made) = self.window(op)? {
            self.made.insert(op.id.clone(), made);
            return Ok(());
        }
        let made = match op.op.as_str() {
            "stream" => Made::Stream(self.stream_source(op)?),
            "table" => Made::Table(self.table_source(op)?),
            "to" => return self.sink(op),
            "to_stream" => Made::Stream(self.table(op.parent()?)?.to_stream()),
            "to_table" => self.table_of_stream(op)?,
            "filter" | "filter_not" => self.filter(op)?,
            "map_values" => self.map_values(op)?,
            "map" | "flat_map" | "flat_map_values" | "select_key" | "merge" | "repartition" => {
                Made::Stream(self.stateless(op)?)
            }
            "branch" => return self.branch(op),
            "group_by_key" | "group_by" => return self.group(op),
            "count" | "reduce" | "aggregate" => Made::Table(self.aggregation(op)?),
            unknown => match self
                .join(op)?
                .map_or_else(|| self.processor(op), |made| Ok(Some(made)))?
            {
                Some(made) => made,
                None => bail!("the operator `{unknown}` is not there yet"),
            },
        };
        self.made.insert(op.id.clone(), made);
        Ok(())
    }

    fn stream(&self, id: &str) -> Result<KStream<Text, Text>> {
        match self.made.get(id) {
            Some(Made::Stream(stream)) => Ok(stream.clone()),
            _ => bail!("{id} is not a stream"),
        }
    }

    fn table(&self, id: &str) -> Result<KTable<Text, String>> {
        match self.made.get(id) {
            Some(Made::Table(table)) => Ok(table.clone()),
            _ => bail!("{id} is not a table"),
        }
    }

    /// The store an operator names, noted for the comparison.
    fn named(&mut self, op: &Op) -> Option<StoreName<Text, String>> {
        let name = op.text("name")?;
        self.stores.insert(name.to_owned(), StoredRows::Texts);
        Some(StoreName::named(name))
    }

    fn materialized(&mut self, op: &Op) -> Materialized<Text, String> {
        self.named(op)
            .map_or_else(Materialized::unnamed, |name| Materialized::from(&name))
    }

    fn stream_source(&mut self, op: &Op) -> Result<KStream<Text, Text>> {
        let names: Vec<&str> = match op.parameters.get("topics").and_then(Value::as_array) {
            Some(names) => names.iter().filter_map(Value::as_str).collect(),
            None => vec![op.need_text("topic")?],
        };
        let topics: Vec<Topic<Text, Text>> = names.into_iter().map(Topic::named).collect();
        Ok(self.app.stream_of(&topics.iter().collect::<Vec<_>>()))
    }

    fn table_source(&mut self, op: &Op) -> Result<KTable<Text, String>> {
        if op.number("versioned_ms").is_some() {
            return self.versioned_table(op);
        }
        let topic = Topic::<Text, String>::named(op.need_text("topic")?);
        Ok(match self.named(op) {
            Some(store) => self.app.table_as(&topic, &store),
            None => self.app.table(&topic),
        })
    }

    fn sink(&mut self, op: &Op) -> Result<()> {
        let topic = op.need_text("topic")?;
        if !self.sinks.iter().any(|known| known == topic) {
            self.sinks.push(topic.to_owned());
        }
        self.stream(op.parent()?)?.to(&Topic::named(topic));
        Ok(())
    }

    fn table_of_stream(&mut self, op: &Op) -> Result<Made> {
        let store = self.materialized(op);
        Ok(Made::Table(
            self.stream(op.parent()?)?.to_table_with_deletes(store),
        ))
    }

    fn filter(&mut self, op: &Op) -> Result<Made> {
        let holds = predicate(op.need("pred")?)?;
        let wanted = op.op == "filter";
        let keep = move |k: &Text, v: &Text| holds(k, v) == wanted;
        let parent = op.parent()?;
        if let Ok(stream) = self.stream(parent) {
            return Ok(Made::Stream(if wanted {
                stream.filter(keep)
            } else {
                stream.filter_not(move |k, v| !keep(k, v))
            }));
        }
        let keep = move |k: &Text, v: &String| keep(k, &Some(v.clone()));
        let table = self.table(parent)?;
        Ok(Made::Table(match self.named(op) {
            Some(store) => table.filter_as(&store, keep),
            None => table.filter(keep),
        }))
    }

    fn map_values(&mut self, op: &Op) -> Result<Made> {
        let function = value_function(op.need("fn")?)?;
        let parent = op.parent()?;
        if let Ok(stream) = self.stream(parent) {
            return Ok(Made::Stream(
                stream.map_values_with_key(move |k, v| function(k, &v)),
            ));
        }
        let change = move |k: &Text, v: String| function(k, &Some(v));
        let table = self.table(parent)?;
        Ok(Made::Table(match self.named(op) {
            Some(store) => table.map_values_option_as(&store, change),
            None => table.map_values_option(change),
        }))
    }

    fn stateless(&mut self, op: &Op) -> Result<KStream<Text, Text>> {
        let stream = self.stream(op.parent()?)?;
        Ok(match op.op.as_str() {
            "map" => {
                let function = pair_function(op.need("kv")?)?;
                stream.map(move |k, v| function(&k, &v))
            }
            "flat_map" => {
                let function = flat_pair_function(op.need("kv")?)?;
                stream.flat_map(move |k, v| function(&k, &v))
            }
            "flat_map_values" => {
                let function = flat_value_function(op.need("fn")?)?;
                stream.flat_map_values(move |v| function(&v))
            }
            "select_key" => {
                let function = key_function(op.need("key")?)?;
                stream.select_key(move |k, v| function(k, v))
            }
            "merge" => {
                let others = op
                    .from()
                    .into_iter()
                    .skip(1)
                    .map(|id| self.stream(id))
                    .collect::<Result<Vec<_>>>()?;
                others.into_iter().fold(stream, KStream::merge)
            }
            _ => stream.repartition_unnamed(),
        })
    }

    fn branch(&mut self, op: &Op) -> Result<()> {
        let mut split = self.stream(op.parent()?)?.split();
        for branch in op.need("branches")?.as_array().context("branches are a list")? {
            let name = branch
                .get("name")
                .and_then(Value::as_str)
                .context("a branch has a name")?;
            let holds = predicate(branch.get("pred").context("a branch has a predicate")?)?;
            let stream = split.branch(move |k, v| holds(k, v));
            self.made
                .insert(format!("{}.{name}", op.id), Made::Stream(stream));
        }
        if let Some(name) = op.text("default") {
            self.made
                .insert(format!("{}.{name}", op.id), Made::Stream(split.default_branch()));
        }
        Ok(())
    }

    fn group(&mut self, op: &Op) -> Result<()> {
        let parent = op.parent()?;
        if let Ok(stream) = self.stream(parent) {
            let grouped = if op.op == "group_by_key" {
                stream.group_by_key()
            } else {
                let function = key_function(op.need("key")?)?;
                stream.group_by(move |k, v| function(k, v))
            };
            self.grouped_streams.insert(op.id.clone(), grouped);
            return Ok(());
        }
        let function = pair_function(op.need("kv")?)?;
        let grouped = self.table(parent)?.group_by(move |k, v| function(k, &Some(v)));
        self.grouped_tables.insert(op.id.clone(), grouped);
        Ok(())
    }

    fn aggregation(&mut self, op: &Op) -> Result<KTable<Text, String>> {
        let parent = op.parent()?;
        if op.op == "count" {
            return self.count(op, parent);
        }
        let store = self.materialized(op);
        if let Some(grouped) = self.grouped_streams.get(parent).cloned() {
            if op.op == "reduce" {
                let combine = reducer(op.need("reducer")?)?;
                return Ok(grouped.reduce_option(store, move |a, b| combine(&Some(a), &Some(b))));
            }
            let (first, work_in) = (initial(op), aggregator(op.need("agg")?)?);
            return Ok(grouped.aggregate_option(
                store,
                move || first.clone(),
                move |k, v, a| work_in(k, &v, &a),
            ));
        }
        let grouped = self
            .grouped_tables
            .remove(parent)
            .with_context(|| format!("{parent} is not grouped"))?;
        if op.op == "reduce" {
            let (add, subtract) = (reducer(op.need("adder")?)?, reducer(op.need("subtractor")?)?);
            return Ok(grouped.reduce_option(
                store,
                move |a, b| add(&Some(a), &Some(b)),
                move |a, b| subtract(&Some(a), &Some(b)),
            ));
        }
        let first = initial(op);
        let (add, subtract) = (
            aggregator(op.need("adder")?)?,
            aggregator(op.need("subtractor")?)?,
        );
        Ok(grouped.aggregate_option(
            store,
            move || first.clone(),
            move |k, v, a| add(k, &v, &a),
            move |k, v, a| subtract(k, &v, &a),
        ))
    }

    fn count(&mut self, op: &Op, parent: &str) -> Result<KTable<Text, String>> {
        let store = match op.text("name") {
            Some(name) => {
                self.stores.insert(name.to_owned(), StoredRows::Counts);
                Materialized::from(&StoreName::<Text, i64>::named(name))
            }
            None => Materialized::unnamed(),
        };
        let counts = match self.grouped_streams.get(parent).cloned() {
            Some(grouped) => grouped.count(store),
            None => self
                .grouped_tables
                .remove(parent)
                .with_context(|| format!("{parent} is not grouped"))?
                .count(store),
        };
        Ok(counts.map_values(|_, count| count.to_string()))
    }
}

fn initial(op: &Op) -> Text {
    op.text("init").map(str::to_owned)
}
