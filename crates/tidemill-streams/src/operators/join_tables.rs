//! `join`, `left_join`, `outer_join` of tables: the rows of two tables under one key.

use std::sync::Arc;

use tidemill_data::{BoxError, StoreName};
use tidemill_store::StoreKind;

use crate::{
    Change, KTable, Materialized, Record,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::{NodeId, NodeKind},
    grouped::Wanted,
    record::with_headers_of,
    table::{Getter, LookedUp, Lookup, Rows},
    table_store::TableStore,
};

use super::row_wise::write_through;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// The rows whose key both tables have. A change of either table changes the row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let people = app.table(&NAMES).join(&app.table(&CITIES), |_, name, city| format!("{name} of {city}"));
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`join`](Self::join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// const PEOPLE: StoreName<String, String> = StoreName::new("people");
    /// # let app = App::new("docs");
    /// app.table(&NAMES).join_as(&app.table(&CITIES), &PEOPLE, |_, name, city| format!("{name} of {city}"));
    /// # app.topology().unwrap();
    /// ```
    pub fn join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`join`](Self::join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const TOTALS: Topic<String, i64> = Topic::new("totals");
    /// # const COUNTS: Topic<String, i64> = Topic::new("counts");
    /// # let app = App::new("docs");
    /// let means = app.table(&TOTALS).try_join(&app.table(&COUNTS), |_, total, count| match count {
    ///     0 => Ok(None),
    ///     count if count < 0 => Err("a negative count".into()),
    ///     count => Ok(Some(total / count)),
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, None, Kind::Inner, inner(join))
    }

    /// As [`try_join`](Self::try_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const TOTALS: Topic<String, i64> = Topic::new("totals");
    /// # const COUNTS: Topic<String, i64> = Topic::new("counts");
    /// const MEANS: StoreName<String, i64> = StoreName::new("means");
    /// # let app = App::new("docs");
    /// app.table(&TOTALS)
    ///     .try_join_as(&app.table(&COUNTS), &MEANS, |_, total, count| Ok(total.checked_div(count)));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, Some(store.into()), Kind::Inner, inner(join))
    }

    /// All rows of this table, each with the other table's row of the same key if there is one.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let people = app.table(&NAMES).left_join(&app.table(&CITIES), |_, name, city| match city {
    ///     Some(city) => format!("{name} of {city}"),
    ///     None => name,
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn left_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_left_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`left_join`](Self::left_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// const PEOPLE: StoreName<String, String> = StoreName::new("people");
    /// # let app = App::new("docs");
    /// app.table(&NAMES).left_join_as(&app.table(&CITIES), &PEOPLE, |_, name, city| {
    ///     format!("{name} of {}", city.unwrap_or_default())
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_left_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`left_join`](Self::left_join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const AGES: Topic<String, i64> = Topic::new("ages");
    /// # let app = App::new("docs");
    /// let adults = app.table(&NAMES).try_left_join(&app.table(&AGES), |_, name, age| match age {
    ///     Some(age) if age < 0 => Err("a negative age".into()),
    ///     Some(age) if age < 18 => Ok(None),
    ///     _ => Ok(Some(name)),
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_left_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, None, Kind::Left, left(join))
    }

    /// As [`try_left_join`](Self::try_left_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const AGES: Topic<String, i64> = Topic::new("ages");
    /// const ADULTS: StoreName<String, String> = StoreName::new("adults");
    /// # let app = App::new("docs");
    /// app.table(&NAMES).try_left_join_as(&app.table(&AGES), &ADULTS, |_, name, age| {
    ///     Ok(age.is_none_or(|age| age >= 18).then_some(name))
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, Some(store.into()), Kind::Left, left(join))
    }

    /// The rows whose key at least one of the tables has.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const WON: Topic<String, i64> = Topic::new("won");
    /// # const LOST: Topic<String, i64> = Topic::new("lost");
    /// # let app = App::new("docs");
    /// let balance = app.table(&WON).outer_join(&app.table(&LOST), |_, won, lost| {
    ///     won.unwrap_or_default() - lost.unwrap_or_default()
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn outer_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, Option<V>, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_outer_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`outer_join`](Self::outer_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const WON: Topic<String, i64> = Topic::new("won");
    /// # const LOST: Topic<String, i64> = Topic::new("lost");
    /// const BALANCE: StoreName<String, i64> = StoreName::new("balance");
    /// # let app = App::new("docs");
    /// app.table(&WON).outer_join_as(&app.table(&LOST), &BALANCE, |_, won, lost| {
    ///     won.unwrap_or_default() - lost.unwrap_or_default()
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn outer_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, Option<V>, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_outer_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`outer_join`](Self::outer_join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const OURS: Topic<String, i64> = Topic::new("ours");
    /// # const THEIRS: Topic<String, i64> = Topic::new("theirs");
    /// # let app = App::new("docs");
    /// let differing = app.table(&OURS).try_outer_join(&app.table(&THEIRS), |key, ours, theirs| {
    ///     if key.is_empty() {
    ///         return Err("a row without a name".into());
    ///     }
    ///     Ok((ours != theirs).then(|| format!("{ours:?} here, {theirs:?} there")))
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_outer_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, None, Kind::Outer, join)
    }

    /// As [`try_outer_join`](Self::try_outer_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const OURS: Topic<String, i64> = Topic::new("ours");
    /// # const THEIRS: Topic<String, i64> = Topic::new("theirs");
    /// const DIFFERING: StoreName<String, String> = StoreName::new("differing");
    /// # let app = App::new("docs");
    /// app.table(&OURS).try_outer_join_as(&app.table(&THEIRS), &DIFFERING, |_, ours, theirs| {
    ///     Ok((ours != theirs).then(|| format!("{ours:?} here, {theirs:?} there")))
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_outer_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, Some(store.into()), Kind::Outer, join)
    }

    fn joined_tables<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        materialized: Option<Materialized<K, W>>,
        kind: Kind,
        join: impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        let builder = &self.builder;
        self.outlet.fan_out();
        other.outlet.fan_out();
        // Without old values a left or outer join could not tell whether a delete takes a result away.
        if kind != Kind::Inner {
            self.rows.send_old(builder, true);
        }
        if kind == Kind::Outer {
            other.rows.send_old(builder, true);
        }
        let lookups = (self.rows.lookup(builder), other.rows.lookup(builder));
        let (nodes, value, store) = self.declare_join(other, materialized, &lookups.0, &lookups.1);
        let old = Wanted::default();
        let joiner = Arc::new(Joiner { kind, join });
        let out = Outlet::new();
        let merge = Arc::new(Merge {
            node: nodes.merge,
            store: store.clone(),
            out: Arc::clone(&out),
        });
        let this = ThisSide(Side {
            other: Arc::clone(&lookups.1.getter),
            joiner: Arc::clone(&joiner),
            old: old.clone(),
            merge: Arc::<Merge<K, W>>::clone(&merge),
        });
        self.outlet.attach(nodes.this.0, Arc::new(this));
        let that = OtherSide(Side {
            other: Arc::clone(&lookups.0.getter),
            joiner: Arc::clone(&joiner),
            old: old.clone(),
            merge,
        });
        other.outlet.attach(nodes.other.0, Arc::new(that));
        let rows = JoinedRows {
            node: nodes.merge,
            left: (Arc::clone(&self.rows), lookups.0),
            right: (Arc::clone(&other.rows), lookups.1),
            joiner,
            store,
            old,
        };
        KTable {
            builder: builder.clone(),
            node: nodes.merge,
            outlet: out,
            rows: Arc::new(rows),
            key: self.key.clone(),
            value,
        }
    }

    /// The three operators of a join, and its store, in the order in which Kafka Streams names them.
    fn declare_join<T, W: 'static>(
        &self,
        other: &KTable<K, T>,
        materialized: Option<Materialized<K, W>>,
        left: &Lookup<K, V>,
        right: &Lookup<K, T>,
    ) -> (Nodes, Option<tidemill_data::Wire<W>>, Option<TableStore<K, W>>) {
        let mut graph = self.builder.lock();
        let value = materialized.as_ref().map(|kept| kept.value.clone());
        let store = materialized.map(|kept| {
            let index = kept.declare(&mut graph, "KTABLE-MERGE-", StoreKind::Timestamped, true);
            TableStore::new(&graph, index, kept.key, kept.value)
        });
        let merge = graph.name("KTABLE-MERGE-");
        let this = graph.processor("KTABLE-JOINTHIS-", &[self.node]);
        let that = graph.processor("KTABLE-JOINOTHER-", &[other.node]);
        let merge = graph.add(merge, NodeKind::Processor, &[this, that]);
        graph.connect(this, &right.stores);
        graph.connect(that, &left.stores);
        if let Some(store) = &store {
            graph.connect(merge, &[store.index]);
        }
        let mut sources = graph.sources_of(self.node);
        sources.extend(graph.sources_of(other.node));
        graph.copartitioned.push((merge, sources));
        let nodes = Nodes {
            this,
            other: that,
            merge,
        };
        (nodes, value, store)
    }
}

struct Nodes {
    this: NodeId,
    other: NodeId,
    merge: NodeId,
}

/// Which rows a join has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

fn inner<K, V, T, W>(
    join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
) -> impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static {
    move |key, left, right| match (left, right) {
        (Some(left), Some(right)) => join(key, left, right),
        _ => Ok(None),
    }
}

fn left<K, V, T, W>(
    join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
) -> impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static {
    move |key, left, right| left.map_or(Ok(None), |left| join(key, left, right))
}

struct Joiner<F> {
    kind: Kind,
    join: F,
}

impl<F> Joiner<F> {
    /// The row that two sides make, if the kind of join gives one; the outer `None` says that the policy dealt with a
    /// failure.
    fn row<K, V, T, W>(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &K,
        left: Option<V>,
        right: Option<T>,
    ) -> Result<Option<Option<W>>, Halt>
    where
        F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError>,
    {
        let joins = match self.kind {
            Kind::Inner => left.is_some() && right.is_some(),
            Kind::Left => left.is_some(),
            Kind::Outer => left.is_some() || right.is_some(),
        };
        if !joins {
            return Ok(Some(None));
        }
        ctx.try_call(node, || (self.join)(key, left, right))
    }
}

/// One side of a join: takes up the changes of one table and looks up rows of the other.
struct Side<K, T, W, F> {
    other: Arc<dyn Getter<K, T>>,
    joiner: Arc<Joiner<F>>,
    old: Wanted,
    merge: Arc<Merge<K, W>>,
}

struct ThisSide<K, T, W, F>(Side<K, T, W, F>);

struct OtherSide<K, T, W, F>(Side<K, T, W, F>);

impl<K: 'static, V: 'static, T: Clone + 'static, W: 'static, F> Edge<K, Change<V>> for ThisSide<K, T, W, F>
where
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        // A delete without a row on the other side takes nothing away, unless this side's row was a result by itself.
        let alone = self.0.joiner.kind != Kind::Inner;
        self.0.change(ctx, record, alone, |ctx, key, left, right| {
            self.0.joiner.row(ctx, self.0.merge.node, key, left, right)
        })
    }
}

impl<K: 'static, V: 'static, T: Clone + 'static, W: 'static, F> Edge<K, Change<T>> for OtherSide<K, V, W, F>
where
    V: Clone,
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<T>>) -> Flow {
        let alone = self.0.joiner.kind == Kind::Outer;
        self.0.change(ctx, record, alone, |ctx, key, right, left| {
            self.0.joiner.row(ctx, self.0.merge.node, key, left, right)
        })
    }
}

impl<K: 'static, T: Clone + 'static, W: 'static, F> Side<K, T, W, F> {
    fn change<V>(
        &self,
        ctx: &mut Context,
        record: Record<K, Change<V>>,
        alone: bool,
        row: impl Fn(&mut Context, &K, Option<V>, Option<T>) -> Result<Option<Option<W>>, Halt>,
    ) -> Flow {
        let Record {
            key,
            value: change,
            timestamp,
            headers,
        } = record;
        // A version of the past changes no row of now.
        if !change.latest {
            ctx.drop_record();
            return Ok(());
        }
        let other = self.other.get(ctx, self.merge.node, &key)?;
        let silent = !alone || (change.new.is_none() && change.old.is_none());
        if other.is_none() && silent {
            return Ok(());
        }
        let timestamp = other
            .as_ref()
            .map_or(timestamp, |other| timestamp.max(other.timestamp));
        let headers = match &other {
            Some(other) => with_headers_of(headers, &other.headers),
            None => headers,
        };
        let other = other.map(|other| other.value);
        let old = if self.old.is_set() {
            row(ctx, &key, change.old, other.clone())?
        } else {
            Some(None)
        };
        let new = row(ctx, &key, change.new, other)?;
        let (Some(new), Some(old)) = (new, old) else {
            return Ok(());
        };
        let record = Record {
            key,
            value: Change::new(new, old),
            timestamp,
            headers,
        };
        write_through(
            ctx,
            self.merge.node,
            self.merge.store.as_ref(),
            &self.merge.out,
            record,
        )
    }
}

/// Where both sides meet.
struct Merge<K, W> {
    node: NodeId,
    store: Option<TableStore<K, W>>,
    out: Arc<Outlet<K, Change<W>>>,
}

/// The rows of a join, made when they are asked for unless they are kept.
struct JoinedRows<K, V, T, W, F> {
    node: NodeId,
    left: (Arc<dyn Rows<K, V>>, Lookup<K, V>),
    right: (Arc<dyn Rows<K, T>>, Lookup<K, T>),
    joiner: Arc<Joiner<F>>,
    store: Option<TableStore<K, W>>,
    old: Wanted,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Rows<K, W> for JoinedRows<K, V, T, W, F>
where
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
{
    fn send_old(&self, builder: &Builder, _: bool) -> bool {
        self.left.0.send_old(builder, true);
        self.right.0.send_old(builder, true);
        self.old.set();
        true
    }

    fn versioned(&self) -> bool {
        self.store.as_ref().is_some_and(TableStore::versioned)
    }

    fn lookup(&self, _: &Builder) -> Lookup<K, W> {
        if let Some(store) = &self.store {
            return Lookup {
                getter: Arc::new(store.clone()),
                stores: vec![store.index],
            };
        }
        let getter = JoinedGetter {
            node: self.node,
            left: Arc::clone(&self.left.1.getter),
            right: Arc::clone(&self.right.1.getter),
            joiner: Arc::clone(&self.joiner),
        };
        let stores = self.left.1.stores.iter().chain(&self.right.1.stores);
        Lookup {
            getter: Arc::new(getter),
            stores: stores.copied().collect(),
        }
    }
}

struct JoinedGetter<K, V, T, F> {
    node: NodeId,
    left: Arc<dyn Getter<K, V>>,
    right: Arc<dyn Getter<K, T>>,
    joiner: Arc<Joiner<F>>,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Getter<K, W> for JoinedGetter<K, V, T, F>
where
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<W>>, Halt> {
        let left = self.left.get(ctx, node, key)?;
        let right = self.right.get(ctx, node, key)?;
        let times = (
            left.as_ref().map(|row| row.timestamp),
            right.as_ref().map(|row| row.timestamp),
        );
        let Some(timestamp) = times.0.max(times.1) else {
            return Ok(None);
        };
        let headers = match (&left, &right) {
            (Some(left), Some(right)) => with_headers_of(left.headers.clone(), &right.headers),
            (Some(row), None) => row.headers.clone(),
            (_, right) => right.as_ref().map(|row| row.headers.clone()).unwrap_or_default(),
        };
        let (left, right) = (left.map(|row| row.value), right.map(|row| row.value));
        let row = self.joiner.row(ctx, self.node, key, left, right)?.flatten();
        Ok(row.map(|value| LookedUp {
            value,
            timestamp,
            headers,
        }))
    }
}
