//! `count`, `reduce`, `aggregate` of a grouped stream: one row a key, changed by each record.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Headers, Place, Stamped, Wire};
use tidemill_store::StoreKind;

use crate::{
    Change, KGroupedStream, KTable, Materialized, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    expiring::Expiring,
    failure::Halt,
    graph::{NodeId, NodeKind},
    grouped::{Wanted, stored_table},
    table_store::TableStore,
};

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// Counts the records of each key. Records with a null key or value are dropped.
    ///
    /// ```
    /// # use tidemill_streams::{App, Materialized};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, Option<i64>> = Topic::new("out");
    /// const VISITS: StoreName<String, i64> = StoreName::new("visits");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().count(&VISITS).to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn count(self, store: impl Into<Materialized<K, i64>>) -> KTable<K, i64> {
        self.aggregated(
            AGGREGATE,
            store.into(),
            || Some(0),
            |_, _, count| Ok(Some(count.unwrap_or(0) + 1)),
        )
    }

    /// Combines the values of each key; the first is taken as it is. Records with a null key or value are dropped.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// const LARGEST: StoreName<String, i64> = StoreName::new("largest");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().reduce(&LARGEST, |largest, amount| largest.max(amount));
    /// # app.topology().unwrap();
    /// ```
    pub fn reduce(
        self,
        store: impl Into<Materialized<K, V>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.try_reduce(store, move |row, value| Ok(combine(row, value)))
    }

    /// As [`reduce`](Self::reduce), with a closure that may fail: the row stays as it was.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const SUM: StoreName<String, i64> = StoreName::new("sum");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .group_by_key()
    ///     .try_reduce(&SUM, |sum, amount| sum.checked_add(amount).ok_or_else(|| "the sum is too large".into()));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_reduce(
        self,
        store: impl Into<Materialized<K, V>>,
        combine: impl Fn(V, V) -> Result<V, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.aggregated(
            REDUCE,
            store.into(),
            || None,
            move |_, value, row| {
                Ok(Some(match row {
                    Some(row) => combine(row, value)?,
                    None => value,
                }))
            },
        )
    }

    /// Works each record into the row of its key, which begins as `A::default()`. Records with a null key or value
    /// are dropped.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const LENGTHS: StoreName<String, i64> = StoreName::new("lengths");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().aggregate(&LENGTHS, |_, text, sum| *sum += text.len() as i64);
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        work_in: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.try_aggregate(store, move |key, value, row| {
            work_in(key, value, row);
            Ok(())
        })
    }

    /// As [`aggregate`](Self::aggregate), with a closure that may fail: the row stays as it was, whatever the closure did
    /// to it.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const SUM: StoreName<String, i64> = StoreName::new("sum");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().try_aggregate(&SUM, |_, text, sum| {
    ///     *sum += text.parse::<i64>()?;
    ///     Ok(())
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        work_in: impl Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.try_aggregate_option(
            store,
            || Some(A::default()),
            move |key, value, row| {
                let mut row = row.unwrap_or_default();
                work_in(key, value, &mut row)?;
                Ok(Some(row))
            },
        )
    }

    /// As [`aggregate`](Self::aggregate), for rows that may go: a row begins as what `first` gives, and `None` deletes
    /// it.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const OPEN: StoreName<String, String> = StoreName::new("open");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().aggregate_option(
    ///     &OPEN,
    ///     || None,
    ///     |_, event, _| (event != "closed").then_some(event),
    /// );
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate_option<A: 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.try_aggregate_option(store, first, move |key, value, row| Ok(work_in(key, value, row)))
    }

    /// As [`aggregate_option`](Self::aggregate_option), with a closure that may fail: the row stays as it was.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LEFT: StoreName<String, i64> = StoreName::new("left");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().try_aggregate_option(
    ///     &LEFT,
    ///     || Some(100),
    ///     |_, used, left| Ok(Some(left.unwrap_or(0) - used.parse::<i64>()?).filter(|left| *left > 0)),
    /// );
    /// # app.topology().unwrap();
    /// ```
    pub fn try_aggregate_option<A: 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.aggregated(AGGREGATE, store.into(), first, work_in)
    }

    fn aggregated<A: 'static>(
        self,
        name: Naming,
        materialized: Materialized<K, A>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let builder = self.stream.builder.clone();
        let nulls = self.value.clone();
        let mut graph = builder.lock();
        let (index, ttl) =
            materialized.declare_expiring(&mut graph, name.store, StoreKind::Timestamped, true);
        let store = TableStore::new(&graph, index, materialized.key, materialized.value).expiring(ttl);
        let name = graph.name(name.node);
        drop(graph);
        let stream = self.together(&store.format.name);
        let node = builder.lock().add(name, NodeKind::Processor, &[stream.node]);
        let (out, old) = (Outlet::new(), Wanted::default());
        let aggregate = Aggregate {
            node,
            nulls,
            store: store.clone(),
            first,
            work_in,
            expiring: Expiring::attach(&builder, node, &store, &old, &out),
            old: old.clone(),
            out: Arc::clone(&out),
        };
        stream.outlet.attach(node.0, Arc::new(aggregate));
        stored_table(builder, node, out, store, old)
    }
}

impl<K: 'static, V: Data> KGroupedStream<K, Option<V>> {
    /// As [`reduce`](Self::reduce), for a stream with nulls: `None` deletes the row. Records with a null key or value
    /// are dropped.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, Option<i64>> = Topic::new("in");
    /// # const LEFT: StoreName<String, i64> = StoreName::new("left");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().reduce_option(&LEFT, |left, used| Some(left - used).filter(|left| *left > 0));
    /// # app.topology().unwrap();
    /// ```
    pub fn reduce_option(
        self,
        store: impl Into<Materialized<K, V>>,
        combine: impl Fn(V, V) -> Option<V> + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.aggregated(
            REDUCE,
            store.into(),
            || None,
            move |_, value, row| match (row, value) {
                (Some(row), Some(value)) => Ok(combine(row, value)),
                (row, value) => Ok(value.or(row)),
            },
        )
    }
}

/// The prefixes of the names that Kafka Streams makes.
pub(super) struct Naming {
    pub(super) store: &'static str,
    pub(super) node: &'static str,
}

pub(super) const AGGREGATE: Naming = Naming {
    store: "KSTREAM-AGGREGATE-",
    node: "KSTREAM-AGGREGATE-",
};
pub(super) const REDUCE: Naming = Naming {
    store: "KSTREAM-REDUCE-",
    node: "KSTREAM-REDUCE-",
};

pub(super) struct Aggregate<K, V, A, I, F> {
    pub(super) node: NodeId,
    pub(super) nulls: Wire<V>,
    pub(super) store: TableStore<K, A>,
    pub(super) first: I,
    pub(super) work_in: F,
    pub(super) expiring: Option<Arc<Expiring<K, A>>>,
    pub(super) old: Wanted,
    pub(super) out: Arc<Outlet<K, Change<A>>>,
}

impl<K: 'static, V: 'static, A: 'static, I, F> Edge<K, V> for Aggregate<K, V, A, I, F>
where
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        if self
            .nulls
            .is_null(Place::value("", &Headers::new()), &record.value)
        {
            ctx.drop_record();
            return Ok(());
        }
        if let Some(expiring) = &self.expiring {
            expiring.expire(ctx)?;
        }
        let Some(key) = self.store.key_bytes(ctx, self.node, &record)? else {
            return Ok(());
        };
        let changed = self.change(ctx, &key, record);
        ctx.key = key;
        match changed? {
            Some(record) => self.out.send(ctx, record),
            None => Ok(()),
        }
    }
}

impl<K: 'static, V: 'static, A: 'static, I, F> Aggregate<K, V, A, I, F>
where
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn change(
        &self,
        ctx: &mut Context,
        key_bytes: &[u8],
        record: Record<K, V>,
    ) -> Result<Option<Record<K, Change<A>>>, Halt> {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        let (row, timestamp) = match self.store.get(ctx, key_bytes)? {
            Some(Stamped {
                value,
                timestamp: before,
            }) => (Some(value), timestamp.max(before)),
            None => (None, timestamp),
        };
        // Kafka Streams gives the initial value as the old one where there was no row.
        let old = match (self.old.is_set(), &row) {
            (false, _) => None,
            (true, Some(_)) => self.store.get(ctx, key_bytes)?.map(|row| row.value),
            (true, None) => match ctx.call(self.node, &self.first)? {
                Some(first) => first,
                None => return Ok(None),
            },
        };
        let worked_in = ctx.try_call(self.node, || {
            (self.work_in)(&key, value, row.or_else(&self.first))
        })?;
        let Some(new) = worked_in else { return Ok(None) };
        let written = self
            .store
            .put(ctx, self.node, key_bytes, new.as_ref(), (timestamp, &headers))?;
        let change = written.change(new, old);
        Ok(change.map(|value| Record {
            key,
            value,
            timestamp,
            headers,
        }))
    }
}
