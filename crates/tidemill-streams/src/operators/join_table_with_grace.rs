//! `join_table_with_grace`: records wait for rows that come late, and then meet the row as of their time.
//!
//! What waits is in a store of its own, in the order in which it will leave:
//!
//! ```text
//! key    0   i64 big-endian  timestamp
//!        8   ..              key
//!        n-4 i32 big-endian  number, which tells records of one key and time apart
//! value  0   i64 big-endian  timestamp
//!        8   i64             offset of the source record
//!        16  i32 | ..        its topic, after the length
//!        ..  i32             its partition
//!        ..  i32             number of headers: { i32 length | name | i32 length or -1 | value } …
//!        ..  i32 -1, i32 -1  no values of before
//!        ..  i32 | ..        the value, after its length
//! ```
//! The value's bytes are Kafka Streams' own.

use std::time::Duration;

use bytes::Bytes;
use tidemill_data::{BoxError, Data, Headers, Place, Timestamp};
use tidemill_store::{Direction, StoreKind, StoreSpec};

use crate::{
    KStream, KTable, Record,
    clocks::ClockIndex,
    context::Context,
    edge::{Edge, Flow},
    failure::{Halt, Step, TaskError, guard},
    graph::{Graph, NodeId, StoreDecl, StoreIndex},
};

use super::join_table::{JoinTable, Kind};

/// How long, in stream time, records wait for rows that come late.
///
/// ```
/// use tidemill_data::MINUTE;
/// use tidemill_streams::Grace;
///
/// let grace = Grace::of(5 * MINUTE).named("priced-orders");
/// # let _ = grace;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a grace does nothing until a join is given it"]
pub struct Grace {
    pub(super) grace_ms: i64,
    pub(super) name: Option<String>,
}

impl Grace {
    /// Waits for this long.
    ///
    /// ```
    /// # use tidemill_data::{HOUR, MILLISECOND, StoreName, Topic};
    /// # use tidemill_streams::{App, Grace};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const HISTORY: StoreName<String, i64> = StoreName::new("history");
    /// # const SUMS: Topic<String, i64> = Topic::new("sums");
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &HISTORY, HOUR);
    /// let grace = Grace::of(10 * MILLISECOND);
    /// app.stream(&ORDERS).join_table_with_grace(&prices, grace, |_, pieces, price| pieces * price).to(&SUMS);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&ORDERS, "a", 2, ms(100));
    /// test.pipe(&PRICES, "a", 7, ms(95)); // after the order, but in time
    /// test.pipe(&ORDERS, "a", 1, ms(111));
    /// assert_eq!(test.read(&SUMS)[0].value, 14);
    /// ```
    pub fn of(span: Duration) -> Self {
        let grace_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self { grace_ms, name: None }
    }

    /// Names the join and its store, which else have names from their place in the program: adding an operator before
    /// it would then lose the records that wait.
    ///
    /// ```
    /// # use tidemill_data::{HOUR, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, Grace};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const HISTORY: StoreName<String, i64> = StoreName::new("history");
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &HISTORY, HOUR);
    /// let grace = Grace::of(MINUTE).named("priced");
    /// app.stream(&ORDERS).join_table_with_grace(&prices, grace, |_, pieces, price| pieces * price).to(&ORDERS);
    /// assert!(app.describe()?.contains("Processor: priced"));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        let name = Some(name.into());
        Self { name, ..self }
    }
}

impl From<Duration> for Grace {
    fn from(span: Duration) -> Self {
        Self::of(span)
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// As [`join_table`](Self::join_table) with a versioned table, but records wait until stream time is past theirs by
    /// the grace, so that rows that come late are met too. They leave in order of their timestamps.
    ///
    /// The table is one of [`App::table_versioned`](crate::App::table_versioned), whose history should be longer than
    /// the grace.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{HOUR, MINUTE, StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const PRICE_HISTORY: StoreName<String, i64> = StoreName::new("price-history");
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &PRICE_HISTORY, 24 * HOUR);
    /// app.stream(&ORDERS).join_table_with_grace(&prices, 5 * MINUTE, |_, pieces, price| pieces * price).to(&ORDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn join_table_with_grace<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        grace: impl Into<Grace>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_join_table_with_grace(table, grace, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`join_table_with_grace`](Self::join_table_with_grace), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::{App, Grace};
    /// # use tidemill_data::{HOUR, MINUTE, StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const PRICE_HISTORY: StoreName<String, i64> = StoreName::new("price-history");
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &PRICE_HISTORY, 24 * HOUR);
    /// app.stream(&ORDERS)
    ///     .try_join_table_with_grace(&prices, Grace::of(5 * MINUTE).named("priced"), |_, pieces, price| {
    ///         pieces.checked_mul(price).ok_or_else(|| "a sum out of range".into())
    ///     })
    ///     .to(&ORDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join_table_with_grace<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        grace: impl Into<Grace>,
        join: impl Fn(&K, V, T) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.joined(Kind::Inner, table, Some(grace.into()), move |key, value, row| {
            row.map(|row| join(key, value, row)).transpose()
        })
    }

    /// As [`join_table_with_grace`](Self::join_table_with_grace), and records without a row have a result too.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{HOUR, MINUTE, StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const PRICE_HISTORY: StoreName<String, i64> = StoreName::new("price-history");
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &PRICE_HISTORY, 24 * HOUR);
    /// app.stream(&ORDERS)
    ///     .left_join_table_with_grace(&prices, 5 * MINUTE, |_, pieces, price| pieces * price.unwrap_or(1))
    ///     .to(&ORDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join_table_with_grace<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        grace: impl Into<Grace>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_left_join_table_with_grace(table, grace, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`left_join_table_with_grace`](Self::left_join_table_with_grace), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{HOUR, MINUTE, StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const PRICE_HISTORY: StoreName<String, i64> = StoreName::new("price-history");
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &PRICE_HISTORY, 24 * HOUR);
    /// app.stream(&ORDERS)
    ///     .try_left_join_table_with_grace(&prices, 5 * MINUTE, |article, pieces, price| match price {
    ///         Some(price) => Ok(pieces * price),
    ///         None => Err(format!("{article} had no price").into()),
    ///     })
    ///     .to(&ORDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join_table_with_grace<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        grace: impl Into<Grace>,
        join: impl Fn(&K, V, Option<T>) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.joined(Kind::Left, table, Some(grace.into()), move |key, value, row| {
            join(key, value, row).map(Some)
        })
    }
}

/// The records that wait.
pub(super) struct Buffer {
    store: StoreIndex,
    name: String,
    changelog: String,
    clock: ClockIndex,
    grace_ms: i64,
}

impl Buffer {
    pub(super) fn declare(graph: &mut Graph, node: NodeId, grace: Grace, versioned: bool) -> Self {
        let join = graph.node(node).name.clone();
        if !versioned {
            graph.problems.push(format!(
                "{join} has a grace, but the rows of its table are not kept as of earlier times: make the table with \
                 `table_versioned`"
            ));
        }
        let name = format!("{join}-Buffer");
        let store = graph.store(StoreDecl {
            spec: StoreSpec::new(name.clone(), StoreKind::KeyValue),
            active: true,
            named: grace.name.is_some(),
            changelog: true,
            global_topic: None,
            windows: None,
            headers_beside: false,
        });
        graph.connect(node, &[store]);
        Self {
            store,
            changelog: format!("{}-{name}-changelog", graph.app),
            name,
            clock: graph.clock(node),
            grace_ms: grace.grace_ms,
        }
    }

    fn unreadable(&self, error: BoxError) -> Halt {
        TaskError::State {
            store: self.name.clone(),
            error,
        }
        .into()
    }
}

/// A join whose records wait.
pub(super) struct Waits<K, V, T, W, F> {
    pub(super) join: JoinTable<K, V, T, W, F>,
    pub(super) buffer: Buffer,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Edge<K, V> for Waits<K, V, T, W, F>
where
    F: Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        // Without a key there is no row to wait for.
        if self.join.drops(&record) || self.join.has_null_key(&record) {
            return self.join.send(ctx, record);
        }
        let now = ctx.observe(self.buffer.clock, record.timestamp).millis();
        let due = now.saturating_sub(self.buffer.grace_ms);
        if record.timestamp.millis() < due {
            self.join.send(ctx, record)?;
        } else if !self.keep(ctx, &record)? {
            return Ok(());
        }
        self.release(ctx, due)
    }
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Waits<K, V, T, W, F>
where
    F: Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    /// Keeps a record; `false` says that the policy dealt with a failure.
    fn keep(&self, ctx: &mut Context, record: &Record<K, V>) -> Result<bool, Halt> {
        let none = Headers::new();
        let mut row_key = record.timestamp.millis().to_be_bytes().to_vec();
        let mut row = context_bytes(ctx, record);
        let length_at = row.len();
        row.extend_from_slice(&[0; 4]);
        let changelog = &self.buffer.changelog;
        let encoded = guard(|| {
            let key = Place::key(changelog, &none);
            let _ = self.join.key.encode(key, &record.key, &mut row_key)?;
            let value = Place::value(changelog, &none);
            self.join.nulls.encode(value, &record.value, &mut row)
        });
        if let Err(error) = encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            return ctx.failed(self.join.node, Step::Encode, error).map(|()| false);
        }
        let Ok(length) = i32::try_from(row.len() - length_at - 4) else {
            let error = "a value of more than 2 GiB".into();
            return ctx.failed(self.join.node, Step::Encode, error).map(|()| false);
        };
        if let Some(place) = row.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        let number = self.next_number(ctx, &row_key)?;
        row_key.extend_from_slice(&number.to_be_bytes());
        let id = ctx.store_id(self.buffer.store);
        ctx.stores.key_value(id).put(&row_key, &row, record.timestamp);
        Ok(true)
    }

    /// The number after those of the records of the same key and time.
    fn next_number(&self, ctx: &mut Context, start: &[u8]) -> Result<i32, Halt> {
        let id = ctx.store_id(self.buffer.store);
        let mut rows = ctx.stores.key_value(id).prefix(start, Direction::Backward)?;
        let mut next = 0;
        while let Some((row_key, _)) = rows.entry() {
            if row_key.len() == start.len() + 4
                && let Some(number) = row_key.last_chunk()
            {
                next = i32::from_be_bytes(*number).saturating_add(1);
                break;
            }
            rows.advance()?;
        }
        Ok(next)
    }

    /// Joins the records up to a time, earliest first.
    fn release(&self, ctx: &mut Context, due: i64) -> Flow {
        let Some(after) = due.checked_add(1).filter(|after| *after > 0) else {
            return Ok(());
        };
        let mut found = Vec::new();
        let id = ctx.store_id(self.buffer.store);
        let mut rows =
            ctx.stores
                .key_value(id)
                .range(None, Some(&after.to_be_bytes()), Direction::Forward)?;
        while let Some((row_key, row)) = rows.entry() {
            found.push((row_key.to_vec(), row.to_vec()));
            rows.advance()?;
        }
        drop(rows);
        for (row_key, row) in found {
            let record = self.record(&row_key, &row)?;
            let timestamp = record.timestamp;
            self.join.send(ctx, record)?;
            ctx.stores.key_value(id).delete(&row_key, timestamp);
        }
        Ok(())
    }

    fn record(&self, row_key: &[u8], row: &[u8]) -> Result<Record<K, V>, Halt> {
        let buffer = &self.buffer;
        let malformed = || buffer.unreadable("a row that is no waiting record".into());
        let key = row_key
            .get(8..row_key.len().saturating_sub(4))
            .ok_or_else(malformed)?;
        let (timestamp, headers, value) = split_row(row).ok_or_else(malformed)?;
        let none = Headers::new();
        let decoded = guard(|| {
            let key = self
                .join
                .key
                .decode(Place::key(&buffer.changelog, &none), Some(key))?;
            let place = Place::value(&buffer.changelog, &none);
            let value = self.join.nulls.decode(place, Some(value))?;
            Ok::<_, BoxError>((key, value))
        });
        let (key, value) = decoded
            .and_then(|decoded| decoded)
            .map_err(|error| buffer.unreadable(error))?;
        Ok(Record {
            key,
            value,
            timestamp,
            headers,
        })
    }
}

/// Where a record came from, and that there are no values of before.
fn context_bytes<K, V>(ctx: &Context, record: &Record<K, V>) -> Vec<u8> {
    let mut out = record.timestamp.millis().to_be_bytes().to_vec();
    let (topic, offset) = match &ctx.current {
        Some(current) => (ctx.topology.place_name(current.topic), current.record.offset),
        None => ("", -1),
    };
    out.extend_from_slice(&offset.to_be_bytes());
    push_sized(topic.as_bytes(), &mut out);
    out.extend_from_slice(&ctx.partition.to_be_bytes());
    let count = record.headers.iter().count() as i32;
    out.extend_from_slice(&count.to_be_bytes());
    for header in record.headers.iter() {
        push_sized(header.name.as_bytes(), &mut out);
        match &header.value {
            Some(value) => push_sized(value, &mut out),
            None => out.extend_from_slice(&NOTHING),
        }
    }
    out.extend_from_slice(&NOTHING);
    out.extend_from_slice(&NOTHING);
    out
}

/// A length of -1.
const NOTHING: [u8; 4] = [0xff; 4];

fn push_sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The timestamp, headers and value of a row.
fn split_row(row: &[u8]) -> Option<(Timestamp, Headers, &[u8])> {
    let (timestamp, rest) = row.split_first_chunk()?;
    let mut rest = rest.get(8..)?;
    let _topic = take_sized(&mut rest)??;
    rest = rest.get(4..)?;
    let mut headers = Headers::new();
    for _ in 0..take_length(&mut rest)? {
        let name = std::str::from_utf8(take_sized(&mut rest)??).ok()?;
        let value = take_sized(&mut rest)?.map(Bytes::copy_from_slice);
        headers.push(name, value);
    }
    let before = (take_sized(&mut rest)?, take_sized(&mut rest)?);
    let value = take_sized(&mut rest)??;
    let timestamp = Timestamp::from_millis(i64::from_be_bytes(*timestamp));
    (before == (None, None) && rest.is_empty()).then_some((timestamp, headers, value))
}

fn take_length(bytes: &mut &[u8]) -> Option<i32> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*head))
}

/// Bytes after their length; the inner `None` for a length of -1.
fn take_sized<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take_length(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (head, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Vec<u8> {
        let mut row = 5_i64.to_be_bytes().to_vec();
        row.extend_from_slice(&7_i64.to_be_bytes());
        push_sized(b"topic", &mut row);
        row.extend_from_slice(&2_i32.to_be_bytes());
        row.extend_from_slice(&2_i32.to_be_bytes());
        push_sized(b"h", &mut row);
        push_sized(b"1", &mut row);
        push_sized(b"h", &mut row);
        row.extend_from_slice(&NOTHING);
        row.extend_from_slice(&[NOTHING, NOTHING].concat());
        push_sized(b"value", &mut row);
        row
    }

    #[test]
    fn a_waiting_record_is_read_as_written() {
        let row = row();
        let (timestamp, headers, value) = split_row(&row).unwrap();
        assert_eq!((timestamp.millis(), value), (5, &b"value"[..]));
        let headers: Vec<_> = headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.is_some()))
            .collect();
        assert_eq!(headers, [("h", true), ("h", false)]);
    }

    #[test]
    fn a_row_cut_short_is_none() {
        let row = row();
        for cut in 0..row.len() {
            assert!(split_row(row.get(..cut).unwrap()).is_none(), "cut at {cut}");
        }
    }
}
