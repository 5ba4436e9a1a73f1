//! Windows, suppression and cogroups of a case.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidemill_data::{StoreName, Windowed};
use tidemill_streams::{
    Buffer, CogroupedKStream, Hopping, KGroupedStream, KStream, KTable, Materialized, Session, Sliding,
    TimeWindowedKStream, Tumbling,
};

use super::{
    Made, Op, Program, StoredRows, Text, aggregator, initial, joiner, pair_function, predicate, reducer,
    value_function,
};

type Table = KTable<Windowed<Text>, String>;
type Store<A> = Materialized<Windowed<Text>, A>;

/// A windowed key as the functions of cases see it.
pub(in crate::oracle) fn window_text(key: &Windowed<Text>) -> Text {
    let inner = key.key.as_deref().unwrap_or_default();
    Some(format!("{inner}@{}/{}", key.start_ms, key.end_ms))
}

fn span(op: &Op, name: &str) -> Result<Duration> {
    Ok(Duration::from_millis(u64::try_from(op.need_number(name)?)?))
}

fn grace(op: &Op) -> Result<Duration> {
    Ok(Duration::from_millis(u64::try_from(
        op.number("grace").unwrap_or(0),
    )?))
}

fn session(op: &Op) -> Result<Session> {
    Ok(Session::gap(span(op, "gap")?).grace(grace(op)?))
}

fn emits_on_close(op: &Op) -> bool {
    op.text("emit") == Some("close")
}

impl Program {
    /// Adds an operator on windows, or gives nothing for one that is none.
    pub(super) fn window(&mut self, op: &Op) -> Result<Option<Made>> {
        match op.op.as_str() {
            "windowed_by" => {
                self.windowed.insert(op.id.clone(), op.clone());
                return Ok(Some(Made::Grouping));
            }
            "cogroup" => {
                self.cogroups.insert(op.id.clone(), op.clone());
                return Ok(Some(Made::Grouping));
            }
            "suppress" => return self.suppress(op).map(Some),
            _ => {}
        }
        let parent = op.parent().unwrap_or_default();
        if let Some(Made::Windows(table)) = self.made.get(parent).cloned() {
            return self.of_windows(op, &table).map(Some);
        }
        let aggregates = matches!(op.op.as_str(), "count" | "reduce" | "aggregate");
        if let Some(windows) = self.windowed.get(parent).cloned().filter(|_| aggregates) {
            let table = self.windowed_aggregation(op, &windows)?;
            return Ok(Some(Made::Windows(table)));
        }
        if self.cogroups.contains_key(parent) && aggregates {
            let (store, first) = (self.materialized(op), initial(op));
            let cogrouped = self.cogroup(parent)?;
            return Ok(Some(Made::Table(
                cogrouped.aggregate_option(store, move || first.clone()),
            )));
        }
        Ok(None)
    }

    fn cogroup(&self, id: &str) -> Result<CogroupedKStream<Text, String>> {
        let op = self.cogroups.get(id).context("a cogroup")?;
        let aggregators = op.need("aggs")?.as_array().context("aggregators are a list")?;
        let mut cogrouped: Option<CogroupedKStream<Text, String>> = None;
        for (from, how) in op.from().into_iter().zip(aggregators) {
            let grouped = self.grouped(from)?;
            let work_in = aggregator(how)?;
            let work_in = move |k: &Text, v: Text, a: Option<String>| work_in(k, &v, &a);
            cogrouped = Some(match cogrouped {
                None => grouped.cogroup_option(work_in),
                Some(cogrouped) => cogrouped.cogroup_option(grouped, work_in),
            });
        }
        cogrouped.context("a cogroup of nothing")
    }

    fn grouped(&self, id: &str) -> Result<KGroupedStream<Text, Text>> {
        let grouped = self.grouped_streams.get(id);
        grouped.cloned().with_context(|| format!("{id} is not grouped"))
    }

    /// The store of a windowed aggregation, noted for the comparison.
    fn window_store<A: tidemill_data::Data>(
        &mut self,
        op: &Op,
        counts: bool,
        sessions: bool,
    ) -> Result<Store<A>> {
        let mut store = match op.text("name") {
            Some(name) => {
                self.stores
                    .insert(name.to_owned(), StoredRows::Windows { counts, sessions });
                Materialized::from(&StoreName::<Windowed<Text>, A>::named(name))
            }
            None => Materialized::unnamed(),
        };
        if op.number("retention").is_some() {
            store = store.retention(span(op, "retention")?);
        }
        Ok(store)
    }

    fn windowed_aggregation(&mut self, op: &Op, windows: &Op) -> Result<Table> {
        let sessions = windows.need_text("type")? == "session";
        let parent = windows.parent()?;
        if self.cogroups.contains_key(parent) {
            return self.windowed_cogroup(op, windows, sessions);
        }
        let grouped = self.grouped(parent)?;
        if op.op == "count" {
            let store = self.window_store::<i64>(op, true, sessions)?;
            let counts = if sessions {
                self.sessions(grouped, windows)?.count(store)
            } else {
                time_windows(grouped, windows)?.count(store)
            };
            return Ok(counts.map_values(|_, count| count.to_string()));
        }
        let store = self.window_store::<String>(op, false, sessions)?;
        if op.op == "reduce" {
            let combine = reducer(op.need("reducer")?)?;
            let combine = move |a, b: Option<String>| combine(&Some(a), &b);
            return Ok(if sessions {
                self.sessions(grouped, windows)?.reduce_option(store, combine)
            } else {
                time_windows(grouped, windows)?.reduce_option(store, combine)
            });
        }
        let (first, work_in) = (initial(op), aggregator(op.need("agg")?)?);
        let first = move || first.clone();
        let work_in = move |k: &Text, v: Text, a: Option<String>| work_in(k, &v, &a);
        Ok(if sessions {
            let merge = reducer(op.need("merger")?)?;
            let windows = self.sessions(grouped, windows)?;
            windows.aggregate_option(store, first, work_in, move |a, b| merge(&a, &b))
        } else {
            time_windows(grouped, windows)?.aggregate_option(store, first, work_in)
        })
    }

    fn sessions(
        &self,
        grouped: KGroupedStream<Text, Text>,
        windows: &Op,
    ) -> Result<tidemill_streams::SessionWindowedKStream<Text, Text>> {
        let sessions = grouped.window(session(windows)?);
        Ok(if emits_on_close(windows) {
            sessions.emit_on_close()
        } else {
            sessions
        })
    }

    fn windowed_cogroup(&mut self, op: &Op, windows: &Op, sessions: bool) -> Result<Table> {
        let store = self.window_store::<String>(op, false, sessions)?;
        let first = initial(op);
        let first = move || first.clone();
        let cogrouped = self.cogroup(windows.parent()?)?;
        let grace = grace(windows)?;
        Ok(match windows.need_text("type")? {
            "tumbling" => cogrouped
                .window(Tumbling::of(span(windows, "size")?).grace(grace))
                .aggregate_option(store, first),
            "hopping" => cogrouped
                .window(Hopping::of(span(windows, "size")?, span(windows, "advance")?).grace(grace))
                .aggregate_option(store, first),
            "sliding" => cogrouped
                .window(Sliding::within(span(windows, "diff")?).grace(grace))
                .aggregate_option(store, first),
            _ => {
                let merge = reducer(op.need("merger")?)?;
                let windows = cogrouped.window(session(windows)?);
                windows.aggregate_option(store, first, move |a, b| merge(&a, &b))
            }
        })
    }

    /// What reads a windowed table.
    fn of_windows(&mut self, op: &Op, table: &Table) -> Result<Made> {
        Ok(match op.op.as_str() {
            "to_stream" => Made::Stream(text_keys(table)),
            "filter" | "filter_not" => {
                let (holds, wanted) = (predicate(op.need("pred")?)?, op.op == "filter");
                let keep =
                    move |k: &Windowed<Text>, v: &String| holds(&window_text(k), &Some(v.clone())) == wanted;
                Made::Windows(match self.window_keyed(op) {
                    Some(store) => table.filter_as(&store, keep),
                    None => table.filter(keep),
                })
            }
            "map_values" => {
                let function = value_function(op.need("fn")?)?;
                let change = move |k: &Windowed<Text>, v: String| function(&window_text(k), &Some(v));
                Made::Windows(match self.window_keyed(op) {
                    Some(store) => table.map_values_option_as(&store, change),
                    None => table.map_values_option(change),
                })
            }
            "group_by" => {
                let function = pair_function(op.need("kv")?)?;
                let grouped = table.group_by(move |k, v| function(&window_text(k), &Some(v)));
                self.grouped_tables.insert(op.id.clone(), grouped);
                Made::Grouping
            }
            "join_table_table" => Made::Windows(self.join_windows(op, table)?),
            unknown => bail!("{unknown} of a windowed table is not there yet"),
        })
    }

    fn join_windows(&mut self, op: &Op, left: &Table) -> Result<Table> {
        let right = op.from().get(1).and_then(|right| self.made.get(*right));
        let Some(Made::Windows(right)) = right.cloned() else {
            bail!("windowed tables join windowed tables")
        };
        let join = joiner(op.need("joiner")?)?;
        let join = std::sync::Arc::new(join);
        let (inner, left_only) = (std::sync::Arc::clone(&join), std::sync::Arc::clone(&join));
        let inner = move |k: &Windowed<Text>, l, r| Ok(inner(&window_text(k), &Some(l), &Some(r)));
        let left_only = move |k: &Windowed<Text>, l, r| Ok(left_only(&window_text(k), &Some(l), &r));
        let outer = move |k: &Windowed<Text>, l, r| Ok(join(&window_text(k), &l, &r));
        Ok(match (op.need_text("kind")?, self.window_keyed(op)) {
            ("inner", None) => left.try_join(&right, inner),
            ("inner", Some(store)) => left.try_join_as(&right, &store, inner),
            ("left", None) => left.try_left_join(&right, left_only),
            ("left", Some(store)) => left.try_left_join_as(&right, &store, left_only),
            (_, None) => left.try_outer_join(&right, outer),
            (_, Some(store)) => left.try_outer_join_as(&right, &store, outer),
        })
    }

    /// The store of a table with windowed keys that is no aggregation, noted for the comparison.
    fn window_keyed(&mut self, op: &Op) -> Option<StoreName<Windowed<Text>, String>> {
        let name = op.text("name")?;
        self.stores.insert(name.to_owned(), StoredRows::WindowKeyed);
        Some(StoreName::named(name))
    }

    fn suppress(&mut self, op: &Op) -> Result<Made> {
        let mut buffer = Buffer::unbounded();
        if let Some(records_max) = op.number("max_records") {
            buffer = buffer.records_max(u64::try_from(records_max)?);
        }
        let until_close = op.need_text("until")? == "window_closes";
        Ok(match self.made.get(op.parent()?) {
            Some(Made::Windows(table)) if until_close => {
                Made::Windows(table.suppress_until_window_closes(buffer))
            }
            Some(Made::Windows(table)) => {
                Made::Windows(table.suppress_until_time_limit(span(op, "ms")?, buffer))
            }
            Some(Made::Table(table)) => Made::Table(table.suppress_until_time_limit(span(op, "ms")?, buffer)),
            _ => bail!("only tables are suppressed"),
        })
    }
}

fn time_windows(
    grouped: KGroupedStream<Text, Text>,
    windows: &Op,
) -> Result<TimeWindowedKStream<Text, Text>> {
    let grace = grace(windows)?;
    let stream = match windows.need_text("type")? {
        "tumbling" => grouped.window(Tumbling::of(span(windows, "size")?).grace(grace)),
        "hopping" => {
            let (size, advance) = (span(windows, "size")?, span(windows, "advance")?);
            grouped.window(Hopping::of(size, advance).grace(grace))
        }
        "sliding" => grouped.window(Sliding::within(span(windows, "diff")?).grace(grace)),
        unknown => bail!("no windows are {unknown}"),
    };
    Ok(if emits_on_close(windows) {
        stream.emit_on_close()
    } else {
        stream
    })
}

/// The changes of a windowed table, with keys that are text, as cases have them everywhere behind it. The window does
/// not say where a record belongs, so it is no change of key.
fn text_keys(table: &Table) -> KStream<Text, Text> {
    table
        .to_stream()
        .select_key(|key, _| window_text(key))
        .mark_as_partitioned()
}
