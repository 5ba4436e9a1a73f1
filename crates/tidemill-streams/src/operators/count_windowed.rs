//! Windows of a number of records: what a key's records make, so many at a time.
//!
//! A row of the store:
//! ```text
//! 0   i64 big-endian   how many records of the key there were
//! 8   per open window, oldest first: i32 big-endian length, the aggregate's bytes
//! ```

use std::{mem::take, sync::Arc};

use tidemill_data::{BoxError, Headers, Place, Wire};
use tidemill_store::StoreKind;

use crate::{
    KGroupedStream, KStream, Materialized, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::{NodeId, NodeKind},
    row_format::{EncodedValue, RowFormat},
    windows::Counted,
};

use super::aggregate::AGGREGATE;

/// More windows of one key than are ever open at once.
const OPEN_MAX: u32 = 100_000;

/// A grouped stream cut into windows of a number of records: see [`KGroupedStream::window`] and [`Counted`].
#[must_use = "windows that nothing aggregates do nothing"]
pub struct CountWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: Counted,
}

impl<K, V> CountWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, windows: Counted) -> Self {
        Self { grouped, windows }
    }
}

impl<K: 'static, V: Clone + 'static> CountWindowedKStream<K, V> {
    /// Works each record into the open windows of its key, which begin as `A::default()`, and gives a window's result
    /// when it is full. Records with a null key or value are dropped.
    ///
    /// ```
    /// # use tidemill_streams::{App, Counted};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const READINGS: Topic<String, i64> = Topic::new("readings");
    /// # const AVERAGES: Topic<String, i64> = Topic::new("averages");
    /// const OPEN: StoreName<String, i64> = StoreName::new("open-sums");
    /// # let app = App::new("docs");
    /// app.stream(&READINGS)
    ///     .group_by_key()
    ///     .window(Counted::of(10))
    ///     .aggregate(&OPEN, |_, reading, sum| *sum += reading)
    ///     .map_values(|sum| sum / 10)
    ///     .to(&AVERAGES);
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        work_in: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KStream<K, A> {
        self.try_aggregate(store, move |key, value, row| {
            work_in(key, value, row);
            Ok(())
        })
    }

    /// As [`aggregate`](Self::aggregate), with a closure that may fail: the record then counts in no window.
    ///
    /// ```
    /// # use tidemill_streams::{App, Counted};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const READINGS: Topic<String, String> = Topic::new("readings");
    /// # const SUMS: Topic<String, i64> = Topic::new("sums");
    /// # const OPEN: StoreName<String, i64> = StoreName::new("open-sums");
    /// # let app = App::new("docs");
    /// let windows = app.stream(&READINGS).group_by_key().window(Counted::of(10).every(5));
    /// windows.try_aggregate(&OPEN, |_, text, sum: &mut i64| Ok(*sum += text.parse::<i64>()?)).to(&SUMS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        work_in: impl Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> KStream<K, A> {
        let materialized = store.into();
        let builder = self.grouped.stream.builder.clone();
        let nulls = self.grouped.value.clone();
        let mut graph = builder.lock();
        let Counted { records, every } = self.windows;
        if every == 0 || every > records || records.div_ceil(every.max(1)) > OPEN_MAX {
            graph.problems.push(format!(
                "windows of {records} records, one every {every}: from 1 to {OPEN_MAX} are open at once"
            ));
        }
        let index = materialized.declare(&mut graph, AGGREGATE.store, StoreKind::KeyValue, true);
        let format = RowFormat::new(&graph, index, materialized.key, materialized.value);
        let name = graph.name(AGGREGATE.node);
        drop(graph);
        let stream = self.grouped.together(&format.name);
        let mut graph = builder.lock();
        let node = graph.add(name, NodeKind::Processor, &[stream.node]);
        graph.connect(node, &[index]);
        drop(graph);
        let (key, value) = (Some(format.key.clone()), Some(format.value.clone()));
        let outlet = Outlet::new();
        let aggregate = CountAggregate {
            node,
            windows: (records, every.max(1)),
            nulls,
            index,
            format,
            work_in,
            out: Arc::clone(&outlet),
        };
        stream.outlet.attach(node.0, Arc::new(aggregate));
        KStream {
            key,
            value,
            ..KStream::new(builder, node, outlet)
        }
    }
}

struct CountAggregate<K, V, A, F> {
    node: NodeId,
    // How many records a window has, and after how many the next one starts.
    windows: (u32, u32),
    nulls: Wire<V>,
    index: crate::graph::StoreIndex,
    format: RowFormat<K, A>,
    work_in: F,
    out: Arc<Outlet<K, A>>,
}

impl<K: 'static, V: Clone + 'static, A: Default + 'static, F> Edge<K, V> for CountAggregate<K, V, A, F>
where
    F: Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        if self
            .nulls
            .is_null(Place::value("", &Headers::new()), &record.value)
        {
            ctx.drop_record();
            return Ok(());
        }
        let Some(bytes) = self.format.key_bytes(ctx, self.node, &record)? else {
            return Ok(());
        };
        let full = self.work_in(ctx, &bytes, &record);
        ctx.key = bytes;
        match full? {
            Some(value) => self.out.send(ctx, record.with_value(value)),
            None => Ok(()),
        }
    }
}

/// A key's row, decoded.
struct Row<A> {
    records: i64,
    open: Vec<A>,
}

impl<K: 'static, V: Clone + 'static, A: Default + 'static, F> CountAggregate<K, V, A, F>
where
    F: Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync,
{
    /// Works a record into the open windows; the result of one that is full now.
    fn work_in(&self, ctx: &mut Context, bytes: &[u8], record: &Record<K, V>) -> Result<Option<A>, Halt> {
        let (records, every) = (i64::from(self.windows.0), i64::from(self.windows.1));
        let mut row = self.read(ctx, bytes)?;
        if row.records % every == 0 {
            row.open.push(A::default());
        }
        row.records = row.records.wrapping_add(1).max(1);
        let worked_in = ctx.try_call(self.node, || {
            row.open
                .iter_mut()
                .try_for_each(|window| (self.work_in)(&record.key, record.value.clone(), window))
        })?;
        if worked_in.is_none() {
            return Ok(None);
        }
        // The oldest window started `records` ago when as many records came since its first.
        let is_full = row.records >= records && (row.records - records) % every == 0;
        let full = (is_full && !row.open.is_empty()).then(|| row.open.remove(0));
        self.write(ctx, bytes, &row, record.timestamp)?;
        Ok(full)
    }

    fn read(&self, ctx: &mut Context, key: &[u8]) -> Result<Row<A>, Halt> {
        let id = ctx.store_id(self.index);
        let Some(row) = ctx.stores.key_value(id).get(key)? else {
            return Ok(Row {
                records: 0,
                open: Vec::new(),
            });
        };
        let (records, windows) = self
            .format
            .unreadable(split(row).ok_or_else(|| CUT_SHORT.into()))?;
        let open = windows
            .into_iter()
            .map(|window| self.format.decode(window))
            .collect::<Result<_, _>>()?;
        Ok(Row { records, open })
    }

    fn write(
        &self,
        ctx: &mut Context,
        key: &[u8],
        row: &Row<A>,
        timestamp: tidemill_data::Timestamp,
    ) -> Result<(), Halt> {
        let mut bytes = row.records.to_be_bytes().to_vec();
        for window in &row.open {
            let EncodedValue::Row(mut value) = self.format.encode_value(ctx, self.node, Some(window))? else {
                return Ok(());
            };
            let length = self
                .format
                .unreadable(i32::try_from(value.len()).map_err(BoxError::from))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.append(&mut value);
            ctx.value = take(&mut value);
        }
        let id = ctx.store_id(self.index);
        ctx.stores.key_value(id).put(key, &bytes, timestamp);
        Ok(())
    }
}

const CUT_SHORT: &str = "a row of windows that is cut short";

/// The number of records, and the open windows' bytes.
fn split(row: &[u8]) -> Option<(i64, Vec<&[u8]>)> {
    let (records, mut rest) = row.split_first_chunk()?;
    let mut windows = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (window, after) = after.split_at_checked(length)?;
        windows.push(window);
        rest = after;
    }
    Some((i64::from_be_bytes(*records), windows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_cut_short_is_refused() {
        let row = [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, b'a', 0, 0, 0, 0];
        assert_eq!(split(&row), Some((3, vec![&b"a"[..], &b""[..]])));
        for cut in [0, 7, 9, 11, 12, 14, 16] {
            assert_eq!(split(&row[..cut]), None, "cut at {cut}");
        }
        assert_eq!(split(&[0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
