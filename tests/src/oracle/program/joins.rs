//! The joins of a case, and versioned tables.

use anyhow::{Result, bail};
use std::time::Duration;
use tidemill_data::{StoreName, Topic};
use tidemill_streams::{GlobalKTable, JoinWindow, KStream, KTable};

use super::{Made, Op, Program, StoredRows, Text, joiner, key_function};

impl Program {
    /// Adds a join, or gives nothing for an operator that is none.
    pub(super) fn join(&mut self, op: &Op) -> Result<Option<Made>> {
        Ok(Some(match op.op.as_str() {
            "join_stream_table" => Made::Stream(self.join_stream_table(op)?),
            "global_table" => Made::Global(self.global_table(op)?),
            "join_stream_global" => Made::Stream(self.join_stream_global(op)?),
            "join_stream_stream" => Made::Stream(self.join_stream_stream(op)?),
            "join_table_table" => Made::Table(self.join_table_table(op)?),
            "join_fk" => Made::Table(self.join_foreign_key(op)?),
            _ => return Ok(None),
        }))
    }

    pub(super) fn versioned_table(&mut self, op: &Op) -> Result<KTable<Text, String>> {
        let (name, topic) = (op.need_text("name")?, op.need_text("topic")?);
        self.stores.insert(name.to_owned(), StoredRows::Versions);
        let history = Duration::from_millis(u64::try_from(op.need_number("versioned_ms")?)?);
        let topic = Topic::<Text, String>::named(topic);
        Ok(self.app.table_versioned(&topic, &StoreName::named(name), history))
    }

    fn global_table(&mut self, op: &Op) -> Result<GlobalKTable<Text, String>> {
        let topic = Topic::<Text, String>::named(op.need_text("topic")?);
        let name = op.need_text("name")?;
        self.stores.insert(name.to_owned(), StoredRows::Globals);
        Ok(self.app.global_table_as(&topic, &StoreName::named(name)))
    }

    fn join_stream_global(&mut self, op: &Op) -> Result<KStream<Text, Text>> {
        let [left, right] = sides(op)?;
        let stream = self.stream(left)?;
        let Some(Made::Global(table)) = self.made.get(right) else {
            bail!("{right} is not a global table")
        };
        let function = key_function(op.need("key")?)?;
        let key = move |k: &Text, v: &Text| function(k, v);
        let join = joiner(op.need("joiner")?)?;
        Ok(match op.need_text("kind")? {
            "inner" => stream.join_global(table, key, move |k, v, row| join(k, &v, &Some(row))),
            _ => stream.left_join_global(table, key, move |k, v, row| join(k, &v, &row)),
        })
    }

    fn join_stream_table(&mut self, op: &Op) -> Result<KStream<Text, Text>> {
        let [left, right] = sides(op)?;
        let (stream, table) = (self.stream(left)?, self.table(right)?);
        let join = joiner(op.need("joiner")?)?;
        let grace = op
            .number("grace")
            .map(|ms| Duration::from_millis(ms.unsigned_abs()));
        Ok(match (op.need_text("kind")?, grace) {
            ("inner", None) => stream.join_table(&table, move |k, v, row| join(k, &v, &Some(row))),
            ("inner", Some(grace)) => {
                stream.join_table_with_grace(&table, grace, move |k, v, row| join(k, &v, &Some(row)))
            }
            (_, None) => stream.left_join_table(&table, move |k, v, row| join(k, &v, &row)),
            (_, Some(grace)) => {
                stream.left_join_table_with_grace(&table, grace, move |k, v, row| join(k, &v, &row))
            }
        })
    }

    fn join_stream_stream(&mut self, op: &Op) -> Result<KStream<Text, Text>> {
        let [left, right] = sides(op)?;
        let (left, right) = (self.stream(left)?, self.stream(right)?);
        let (before, after) = (op.need_number("before")?, op.need_number("after")?);
        let span = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let mut window = JoinWindow::within(Duration::ZERO).grace(span(op.need_number("grace")?));
        window = if before < 0 {
            window.later_by_at_least(span(before))
        } else {
            window.before(span(before))
        };
        window = if after < 0 {
            window.earlier_by_at_least(span(after))
        } else {
            window.after(span(after))
        };
        let join = joiner(op.need("joiner")?)?;
        // A side that is there is never null here, since nulls do not join.
        let text = |side: Option<&Text>| side.cloned().flatten();
        Ok(match op.need_text("kind")? {
            "inner" => left.join(right, window, move |k, l, r| join(k, l, r)),
            "left" => left.left_join(right, window, move |k, l, r| join(k, l, &text(r))),
            _ => left.outer_join(right, window, move |k, l, r| join(k, &text(l), &text(r))),
        })
    }

    fn join_foreign_key(&mut self, op: &Op) -> Result<KTable<Text, String>> {
        let [left, right] = sides(op)?;
        let (left, right) = (self.table(left)?, self.table(right)?);
        let extract = key_function(op.need("extractor")?)?;
        let keyed = left.by_foreign_key(move |k: &Text, v: &String| extract(k, &Some(v.clone())));
        let join = joiner(op.need("joiner")?)?;
        Ok(match (op.need_text("kind")?, self.named(op)) {
            ("inner", None) => keyed.try_join(&right, move |k, l, r| Ok(join(k, &Some(l), &Some(r)))),
            ("inner", Some(store)) => {
                keyed.try_join_as(&right, &store, move |k, l, r| Ok(join(k, &Some(l), &Some(r))))
            }
            (_, None) => keyed.try_left_join(&right, move |k, l, r| Ok(join(k, &Some(l), &r))),
            (_, Some(store)) => {
                keyed.try_left_join_as(&right, &store, move |k, l, r| Ok(join(k, &Some(l), &r)))
            }
        })
    }

    fn join_table_table(&mut self, op: &Op) -> Result<KTable<Text, String>> {
        let [left, right] = sides(op)?;
        let (left, right) = (self.table(left)?, self.table(right)?);
        let join = joiner(op.need("joiner")?)?;
        let inner = {
            let join = joiner(op.need("joiner")?)?;
            move |k: &Text, l, r| Ok(join(k, &Some(l), &Some(r)))
        };
        let left_only = {
            let join = joiner(op.need("joiner")?)?;
            move |k: &Text, l, r| Ok(join(k, &Some(l), &r))
        };
        let outer = move |k: &Text, l, r| Ok(join(k, &l, &r));
        Ok(match (op.need_text("kind")?, self.named(op)) {
            ("inner", None) => left.try_join(&right, inner),
            ("inner", Some(store)) => left.try_join_as(&right, &store, inner),
            ("left", None) => left.try_left_join(&right, left_only),
            ("left", Some(store)) => left.try_left_join_as(&right, &store, left_only),
            (_, None) => left.try_outer_join(&right, outer),
            (_, Some(store)) => left.try_outer_join_as(&right, &store, outer),
        })
    }
}

fn sides(op: &Op) -> Result<[&str; 2]> {
    let [left, right] = op.from()[..] else {
        bail!("a join has two sides")
    };
    Ok([left, right])
}
