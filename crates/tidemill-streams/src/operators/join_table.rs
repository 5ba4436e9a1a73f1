//! `join_table`, `left_join_table`: each record with the row of its key as the table has it now.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Headers, Place, Wire};

use crate::{
    KStream, KTable, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::{NodeId, NodeKind},
    record::with_headers_of,
    table::Getter,
};

use super::join_table_with_grace::{Buffer, Grace, Waits};

impl<K: Data, V: Data> KStream<K, V> {
    /// Joins each record with the row of its key; a record without a row, or without a key or value, is dropped.
    ///
    /// Only the stream's records lead to results. If the key was changed before, the stream is repartitioned first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let cities = app.table(&CITIES);
    /// app.stream(&CLICKS).join_table(&cities, |_user, click, city| format!("{click} from {city}")).to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn join_table<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_join_table(table, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`join_table`](Self::join_table), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let cities = app.table(&CITIES);
    /// app.stream(&CLICKS)
    ///     .try_join_table(&cities, |_user, click, postcode| Ok(format!("{click} from {}", postcode.parse::<u32>()?)))
    ///     .to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join_table<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        join: impl Fn(&K, V, T) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.joined(Kind::Inner, table, None, move |key, value, row| {
            row.map(|row| join(key, value, row)).transpose()
        })
    }

    /// Joins each record with the row of its key, if there is one; a record without a value is dropped.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let cities = app.table(&CITIES);
    /// app.stream(&CLICKS)
    ///     .left_join_table(&cities, |_user, click, city| format!("{click} from {}", city.unwrap_or_default()))
    ///     .to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join_table<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_left_join_table(table, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`left_join_table`](Self::left_join_table), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let cities = app.table(&CITIES);
    /// app.stream(&CLICKS)
    ///     .try_left_join_table(&cities, |user, click, city| match city {
    ///         Some(city) => Ok(format!("{click} from {city}")),
    ///         None => Err(format!("nobody knows where {user} lives").into()),
    ///     })
    ///     .to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join_table<T: 'static, W: 'static>(
        self,
        table: &KTable<K, T>,
        join: impl Fn(&K, V, Option<T>) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.joined(Kind::Left, table, None, move |key, value, row| {
            join(key, value, row).map(Some)
        })
    }

    pub(super) fn joined<T: 'static, W: 'static>(
        self,
        kind: Kind,
        table: &KTable<K, T>,
        grace: Option<Grace>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let (key, value) = (self.key_wire(), self.value_wire());
        let own = grace.as_ref().and_then(|grace| grace.name.clone());
        let stream = self.together(key.clone(), value.clone(), own.clone());
        let builder = stream.builder.clone();
        let lookup = table.rows.lookup(&builder);
        let mut graph = builder.lock();
        let mut sources = graph.sources_of(stream.node);
        sources.extend(graph.sources_of(table.node));
        let made = graph.name(match kind {
            Kind::Inner => "KSTREAM-JOIN-",
            Kind::Left => "KSTREAM-LEFTJOIN-",
        });
        let node = graph.add(own.unwrap_or(made), NodeKind::Processor, &[stream.node]);
        graph.connect(node, &lookup.stores);
        graph.copartitioned.push((node, sources));
        if kind == Kind::Left {
            graph.wants_null_keys.push(node);
        }
        let buffer = grace.map(|grace| Buffer::declare(&mut graph, node, grace, table.rows.versioned()));
        drop(graph);
        let out = Outlet::new();
        let join = JoinTable {
            node,
            key: key.clone(),
            nulls: value,
            kind,
            rows: lookup.getter,
            join,
            out: Arc::clone(&out),
        };
        let edge: Arc<dyn Edge<K, V>> = match buffer {
            Some(buffer) => Arc::new(Waits { join, buffer }),
            None => Arc::new(join),
        };
        stream.outlet.attach(node.0, edge);
        KStream {
            key: Some(key),
            ..KStream::new(builder, node, out)
        }
    }
}

/// Which records of the stream have results.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
}

pub(super) struct JoinTable<K, V, T, W, F> {
    pub(super) node: NodeId,
    pub(super) key: Wire<K>,
    pub(super) nulls: Wire<V>,
    kind: Kind,
    rows: Arc<dyn Getter<K, T>>,
    join: F,
    out: Arc<Outlet<K, W>>,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> JoinTable<K, V, T, W, F> {
    /// Whether a record gives no result, whatever the table has.
    pub(super) fn drops(&self, record: &Record<K, V>) -> bool {
        let none = Headers::new();
        self.nulls.is_null(Place::value("", &none), &record.value)
            || (self.kind == Kind::Inner && self.has_null_key(record))
    }

    pub(super) fn has_null_key(&self, record: &Record<K, V>) -> bool {
        self.key.is_null(Place::key("", &Headers::new()), &record.key)
    }
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Edge<K, V> for JoinTable<K, V, T, W, F>
where
    F: Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        if self.drops(&record) {
            ctx.drop_record();
            return Ok(());
        }
        let row = if self.has_null_key(&record) {
            None
        } else {
            self.rows
                .get_as_of(ctx, self.node, &record.key, record.timestamp)?
        };
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        let headers = match &row {
            Some(row) => with_headers_of(headers, &row.headers),
            None => headers,
        };
        let row = row.map(|row| row.value);
        match ctx
            .try_call(self.node, || (self.join)(&key, value, row))?
            .flatten()
        {
            Some(value) => self.out.send(
                ctx,
                Record {
                    key,
                    value,
                    timestamp,
                    headers,
                },
            ),
            None => Ok(()),
        }
    }
}
