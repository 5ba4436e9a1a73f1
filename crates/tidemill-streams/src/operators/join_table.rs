//! `join_table`, `left_join_table`: each record with the row of its key as the table has it now.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Headers, Place, Wire};

use crate::{
    KStream, KTable, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
    table::Getter,
};

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
        self.joined(Kind::Inner, table, move |key, value, row| {
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
        self.joined(Kind::Left, table, move |key, value, row| {
            join(key, value, row).map(Some)
        })
    }

    fn joined<T: 'static, W: 'static>(
        self,
        kind: Kind,
        table: &KTable<K, T>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let (key, nulls) = (self.key_wire(), self.value_wire());
        let stream = self.together(key.clone(), nulls.clone(), None);
        let builder = stream.builder.clone();
        let lookup = table.rows.lookup(&builder);
        let mut sources = builder.lock().sources_of(stream.node);
        let prefix = match kind {
            Kind::Inner => "KSTREAM-JOIN-",
            Kind::Left => "KSTREAM-LEFTJOIN-",
        };
        let joined = stream.attach_keeping_keys(prefix, |node, out: Arc<Outlet<K, W>>| JoinTable {
            node,
            key,
            nulls,
            kind,
            rows: lookup.getter,
            join,
            out,
        });
        let mut graph = builder.lock();
        graph.connect(joined.node, &lookup.stores);
        sources.extend(graph.sources_of(table.node));
        graph.copartitioned.push((joined.node, sources));
        if kind == Kind::Left {
            graph.wants_null_keys.push(joined.node);
        }
        drop(graph);
        joined
    }
}

/// Which records of the stream have results.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
}

struct JoinTable<K, V, T, W, F> {
    node: NodeId,
    key: Wire<K>,
    nulls: Wire<V>,
    kind: Kind,
    rows: Arc<dyn Getter<K, T>>,
    join: F,
    out: Arc<Outlet<K, W>>,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Edge<K, V> for JoinTable<K, V, T, W, F>
where
    F: Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let none = Headers::new();
        let null_key = self.key.is_null(Place::key("", &none), &record.key);
        if self.nulls.is_null(Place::value("", &none), &record.value)
            || (null_key && self.kind == Kind::Inner)
        {
            ctx.drop_record();
            return Ok(());
        }
        let row = if null_key {
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
