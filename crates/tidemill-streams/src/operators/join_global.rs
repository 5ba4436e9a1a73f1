//! `join_global`, `left_join_global`: each record with the row of a global table under any key.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Headers, Place, Wire};

use crate::{
    GlobalKTable, KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    global_table::GlobalRows,
    graph::NodeId,
    record::with_headers_of,
};

impl<K: 'static, V: Data> KStream<K, V> {
    /// Joins each record with the row that `select` names the key of; a record without such a row, or without a value,
    /// is dropped. The result keeps the record's key, and nothing is repartitioned.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const ORDERS: Topic<i64, String> = Topic::new("orders");
    /// # const ARTICLES: Topic<String, String> = Topic::new("articles");
    /// # let app = App::new("docs");
    /// let articles = app.global_table(&ARTICLES);
    /// app.stream(&ORDERS)
    ///     .join_global(&articles, |_, order| order.clone(), |_, order, article| format!("{order}: {article}"))
    ///     .to(&ORDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn join_global<L: 'static, T: 'static, W: 'static>(
        self,
        table: &GlobalKTable<L, T>,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_join_global(table, select, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`join_global`](Self::join_global), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # let app = App::new("docs");
    /// let prices = app.global_table(&PRICES);
    /// app.stream(&ORDERS)
    ///     .try_join_global(&prices, |article, _| article.clone(), |_, pieces, price| {
    ///         pieces.checked_mul(price).ok_or_else(|| "a sum out of range".into())
    ///     })
    ///     .to(&ORDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join_global<L: 'static, T: 'static, W: 'static>(
        self,
        table: &GlobalKTable<L, T>,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
        join: impl Fn(&K, V, T) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.joined_global(Kind::Inner, table, select, move |key, value, row| {
            row.map(|row| join(key, value, row)).transpose()
        })
    }

    /// Joins each record with the row that `select` names the key of, if there is one; a record without a value is
    /// dropped.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTRIES: Topic<String, String> = Topic::new("countries");
    /// # let app = App::new("docs");
    /// let countries = app.global_table(&COUNTRIES);
    /// app.stream(&CLICKS)
    ///     .left_join_global(&countries, |_, code| code.clone(), |_, code, country| country.unwrap_or(code))
    ///     .to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join_global<L: 'static, T: 'static, W: 'static>(
        self,
        table: &GlobalKTable<L, T>,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_left_join_global(table, select, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`left_join_global`](Self::left_join_global), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTRIES: Topic<String, String> = Topic::new("countries");
    /// # let app = App::new("docs");
    /// let countries = app.global_table(&COUNTRIES);
    /// app.stream(&CLICKS)
    ///     .try_left_join_global(&countries, |_, code| code.clone(), |_, code, country| {
    ///         country.ok_or_else(|| format!("no country has the code {code}").into())
    ///     })
    ///     .to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join_global<L: 'static, T: 'static, W: 'static>(
        self,
        table: &GlobalKTable<L, T>,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
        join: impl Fn(&K, V, Option<T>) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.joined_global(Kind::Left, table, select, move |key, value, row| {
            join(key, value, row).map(Some)
        })
    }

    fn joined_global<L: 'static, T: 'static, W: 'static>(
        self,
        kind: Kind,
        table: &GlobalKTable<L, T>,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let nulls = self.value_wire();
        let (builder, rows) = (table.builder.clone(), Arc::clone(&table.rows));
        // Kafka Streams names both kinds so.
        let joined =
            self.attach_keeping_keys("KSTREAM-LEFTJOIN-", |node, out: Arc<Outlet<K, W>>| JoinGlobal {
                node,
                kind,
                nulls,
                rows,
                select,
                join,
                out,
            });
        if kind == Kind::Left {
            builder.lock().wants_null_keys.push(joined.node);
        }
        joined
    }
}

/// Which records of the stream have results.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
}

struct JoinGlobal<K, V, L, T, W, S, F> {
    node: NodeId,
    kind: Kind,
    nulls: Wire<V>,
    rows: Arc<GlobalRows<L, T>>,
    select: S,
    join: F,
    out: Arc<Outlet<K, W>>,
}

impl<K: 'static, V: 'static, L: 'static, T: 'static, W: 'static, S, F> Edge<K, V>
    for JoinGlobal<K, V, L, T, W, S, F>
where
    S: Fn(&K, &V) -> L + Send + Sync,
    F: Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        let none = Headers::new();
        if self.nulls.is_null(Place::value("", &none), &value) {
            ctx.drop_record();
            return Ok(());
        }
        let Some(wanted) = ctx.call(self.node, || (self.select)(&key, &value))? else {
            return Ok(());
        };
        if self.kind == Kind::Inner && self.rows.key.is_null(Place::key("", &none), &wanted) {
            ctx.drop_record();
            return Ok(());
        }
        let row = self.rows.get(ctx, self.node, &wanted)?;
        let headers = match &row {
            Some(row) => with_headers_of(headers, &row.headers),
            None => headers,
        };
        let row = row.map(|row| row.value);
        let joined = ctx.try_call(self.node, || (self.join)(&key, value, row))?;
        match joined.flatten() {
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
