//! `count`, `reduce`, `aggregate` of a grouped table: rows come with an adder and go with a subtractor.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Stamped, Wire};
use tidemill_store::StoreKind;

use crate::{
    Change, KGroupedTable, KTable, Materialized, Record, TopicRole,
    context::Context,
    edge::{Edge, Flow, Outlet},
    expiring::Expiring,
    failure::Halt,
    graph::{NodeId, NodeKind},
    grouped::{Wanted, stored_table},
    table_store::TableStore,
};

use super::{
    group_table::ChangeFormat,
    sink::Writer,
    source::{NullKeys, read, source},
};

impl<K: 'static, V: 'static> KGroupedTable<K, V> {
    /// Counts the rows of each group.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const INHABITANTS: StoreName<String, i64> = StoreName::new("inhabitants");
    /// # let app = App::new("docs");
    /// app.table(&CITIES).group_by(|user, city| (city, user.clone())).count(&INHABITANTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn count(self, store: impl Into<Materialized<K, i64>>) -> KTable<K, i64> {
        let first = || Some(0);
        let add = |_: &K, _, count: Option<i64>| Ok(Some(count.unwrap_or(0) + 1));
        let subtract = |_: &K, _, count: Option<i64>| Ok(Some(count.unwrap_or(0) - 1));
        self.aggregated("KTABLE-AGGREGATE-", store.into(), first, add, subtract)
    }

    /// Combines the values of each group; the first is taken as it is.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # const BY_BRANCH: StoreName<String, i64> = StoreName::new("by-branch");
    /// # let app = App::new("docs");
    /// app.table(&BALANCES)
    ///     .group_by(|account, balance| (account.split('-').next().unwrap_or("").to_owned(), balance))
    ///     .reduce(&BY_BRANCH, |sum, new| sum + new, |sum, old| sum - old);
    /// # app.topology().unwrap();
    /// ```
    pub fn reduce(
        self,
        store: impl Into<Materialized<K, V>>,
        add: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.try_reduce(
            store,
            move |row, new| Ok(add(row, new)),
            move |row, old| Ok(subtract(row, old)),
        )
    }

    /// As [`reduce`](Self::reduce), with closures that may fail: the row stays as it was.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # const TOTAL: StoreName<String, i64> = StoreName::new("total");
    /// # let app = App::new("docs");
    /// app.table(&BALANCES).group_by(|_, balance| ("all".to_owned(), balance)).try_reduce(
    ///     &TOTAL,
    ///     |sum, new| sum.checked_add(new).ok_or_else(|| "the sum is too large".into()),
    ///     |sum, old| Ok(sum - old),
    /// );
    /// # app.topology().unwrap();
    /// ```
    pub fn try_reduce(
        self,
        store: impl Into<Materialized<K, V>>,
        add: impl Fn(V, V) -> Result<V, BoxError> + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> Result<V, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, V> {
        let add = move |_: &K, new, row: Option<V>| match row {
            Some(row) => add(row, new).map(Some),
            None => Ok(Some(new)),
        };
        let subtract = move |_: &K, old, row: Option<V>| row.map(|row| subtract(row, old)).transpose();
        self.aggregated("KTABLE-REDUCE-", store.into(), || None, add, subtract)
    }

    /// Works rows into and out of the row of their group, which begins as `A::default()`.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # const TOTAL: StoreName<String, i64> = StoreName::new("total");
    /// # let app = App::new("docs");
    /// app.table(&BALANCES).group_by(|_, balance| ("all".to_owned(), balance)).aggregate(
    ///     &TOTAL,
    ///     |_, new, total| *total += new,
    ///     |_, old, total| *total -= old,
    /// );
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        add: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
        subtract: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let add = move |key: &K, value, row: &mut A| {
            add(key, value, row);
            Ok(())
        };
        let subtract = move |key: &K, value, row: &mut A| {
            subtract(key, value, row);
            Ok(())
        };
        self.try_aggregate(store, add, subtract)
    }

    /// As [`aggregate`](Self::aggregate), with closures that may fail: the row stays as it was, whatever they did to it.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # const TOTAL: StoreName<String, i64> = StoreName::new("total");
    /// # let app = App::new("docs");
    /// app.table(&BALANCES).group_by(|_, balance| ("all".to_owned(), balance)).try_aggregate(
    ///     &TOTAL,
    ///     |_, new, total: &mut i64| {
    ///         *total = total.checked_add(new).ok_or("the sum is too large")?;
    ///         Ok(())
    ///     },
    ///     |_, old, total| {
    ///         *total -= old;
    ///         Ok(())
    ///     },
    /// );
    /// # app.topology().unwrap();
    /// ```
    pub fn try_aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        add: impl Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync + 'static,
        subtract: impl Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let add = move |key: &K, value, row: Option<A>| {
            let mut row = row.unwrap_or_default();
            add(key, value, &mut row)?;
            Ok(Some(row))
        };
        let subtract = move |key: &K, value, row: Option<A>| {
            let Some(mut row) = row else { return Ok(None) };
            subtract(key, value, &mut row)?;
            Ok(Some(row))
        };
        self.try_aggregate_option(store, || Some(A::default()), add, subtract)
    }

    /// As [`aggregate`](Self::aggregate), for rows that may go: a row begins as what `first` gives, and `None` deletes
    /// it.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # const TOTAL: StoreName<String, i64> = StoreName::new("total");
    /// # let app = App::new("docs");
    /// app.table(&BALANCES).group_by(|_, balance| ("all".to_owned(), balance)).aggregate_option(
    ///     &TOTAL,
    ///     || Some(0),
    ///     |_, new, total: Option<i64>| Some(total.unwrap_or(0) + new),
    ///     |_, old, total| total.map(|total| total - old).filter(|total| *total != 0),
    /// );
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate_option<A: 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        add: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
        subtract: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let add = move |key: &K, value, row| Ok(add(key, value, row));
        let subtract = move |key: &K, value, row| Ok(subtract(key, value, row));
        self.aggregated("KTABLE-AGGREGATE-", store.into(), first, add, subtract)
    }

    /// As [`aggregate_option`](Self::aggregate_option), with closures that may fail: the row stays as it was.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # const TOTAL: StoreName<String, i64> = StoreName::new("total");
    /// # let app = App::new("docs");
    /// app.table(&BALANCES).group_by(|_, balance| ("all".to_owned(), balance)).try_aggregate_option(
    ///     &TOTAL,
    ///     || Some(0),
    ///     |_, new: i64, total: Option<i64>| Ok(total.unwrap_or(0).checked_add(new)),
    ///     |_, old, total| Ok(total.map(|total| total - old).filter(|total| *total != 0)),
    /// );
    /// # app.topology().unwrap();
    /// ```
    pub fn try_aggregate_option<A: 'static>(
        self,
        store: impl Into<Materialized<K, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        add: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
        subtract: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.aggregated("KTABLE-AGGREGATE-", store.into(), first, add, subtract)
    }

    fn aggregated<A: 'static>(
        self,
        prefix: &str,
        materialized: Materialized<K, A>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        add: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
        subtract: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let builder = self.builder.clone();
        let mut graph = builder.lock();
        let (index, ttl) =
            materialized.declare_expiring(&mut graph, "KTABLE-AGGREGATE-", StoreKind::Timestamped, true);
        let store = TableStore::new(&graph, index, materialized.key, materialized.value).expiring(ttl);
        drop(graph);
        let (parent, changes) = self.through(&store.format.name);
        let (out, old) = (Outlet::new(), Wanted::default());
        let node = builder.attach(prefix, parent, &changes, |node| TableAggregate {
            node,
            expiring: Expiring::attach(&builder, node, &store, &old, &out),
            store: store.clone(),
            first,
            add,
            subtract,
            old: old.clone(),
            out: Arc::clone(&out),
        });
        stored_table(builder, node, out, store, old)
    }

    /// The changes behind the repartition topic of this grouping.
    fn through(self, store: &str) -> (NodeId, Arc<Outlet<K, Change<V>>>) {
        let name = format!("{store}-repartition");
        let role = TopicRole::Repartition { partitions: None };
        let mut graph = self.builder.lock();
        let (sink_name, source_name) = (graph.name("KSTREAM-SINK-"), graph.name("KSTREAM-SOURCE-"));
        let topic = graph.topic(&name, role);
        let node = graph.add(sink_name, NodeKind::Sink(Some(topic)), &[self.node]);
        let cluster_name = format!("{}-{name}", graph.app);
        drop(graph);
        let value = Wire::given(ChangeFormat(self.value));
        let choose = None::<fn(&K, &Change<V>) -> i32>;
        let (key, wire) = (self.key.clone(), value.clone());
        let writer = Writer {
            node,
            topic,
            name: cluster_name,
            key,
            value: wire,
            choose,
        };
        self.outlet.attach(node.0, Arc::new(writer));
        let outlet = Outlet::new();
        let node = source(&self.builder, Some(source_name), &[(&name, role)]);
        read(&self.builder, node, &self.key, &value, &outlet, NullKeys::Drop);
        (node, outlet)
    }
}

impl<K: 'static, V: Data> KGroupedTable<K, Option<V>> {
    /// As [`reduce`](Self::reduce), for values that may be null: `None` deletes the row.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const ACCOUNTS: Topic<String, i64> = Topic::new("accounts");
    /// const PER_BANK: StoreName<String, i64> = StoreName::new("per-bank");
    /// # let app = App::new("docs");
    /// app.table(&ACCOUNTS)
    ///     .group_by(|_, balance| ("bank".to_owned(), (balance != 0).then_some(balance)))
    ///     .reduce_option(&PER_BANK, |sum, new| Some(sum + new), |sum, old| Some(sum - old).filter(|sum| *sum != 0));
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&ACCOUNTS, "a", 5, ms(1));
    /// test.pipe(&ACCOUNTS, "b", 7, ms(2));
    /// assert_eq!(test.row(&PER_BANK, "bank").map(|row| row.value), Some(12));
    /// test.pipe(&ACCOUNTS, "a", 0, ms(3));
    /// test.pipe(&ACCOUNTS, "b", 0, ms(4));
    /// assert_eq!(test.row(&PER_BANK, "bank"), None); // the last account gone, the row is gone
    /// ```
    pub fn reduce_option(
        self,
        store: impl Into<Materialized<K, V>>,
        add: impl Fn(V, V) -> Option<V> + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> Option<V> + Send + Sync + 'static,
    ) -> KTable<K, V> {
        let add = move |_: &K, new: Option<V>, row: Option<V>| match (row, new) {
            (Some(row), Some(new)) => Ok(add(row, new)),
            (row, new) => Ok(new.or(row)),
        };
        let subtract = move |_: &K, old: Option<V>, row: Option<V>| {
            Ok(row.zip(old).and_then(|(row, old)| subtract(row, old)))
        };
        self.aggregated("KTABLE-REDUCE-", store.into(), || None, add, subtract)
    }
}

struct TableAggregate<K, A, I, F, G> {
    node: NodeId,
    expiring: Option<Arc<Expiring<K, A>>>,
    store: TableStore<K, A>,
    first: I,
    add: F,
    subtract: G,
    old: Wanted,
    out: Arc<Outlet<K, Change<A>>>,
}

impl<K: 'static, V: 'static, A: 'static, I, F, G> Edge<K, Change<V>> for TableAggregate<K, A, I, F, G>
where
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
    G: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
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

impl<K: 'static, A: 'static, I, F, G> TableAggregate<K, A, I, F, G> {
    fn change<V>(
        &self,
        ctx: &mut Context,
        key_bytes: &[u8],
        record: Record<K, Change<V>>,
    ) -> Result<Option<Record<K, Change<A>>>, Halt>
    where
        I: Fn() -> Option<A> + Send + Sync,
        F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
        G: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
    {
        let Record {
            key,
            value: change,
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
        let had_row = row.is_some();
        let worked_in = ctx.try_call(self.node, || {
            let row = match (row, change.old) {
                (Some(row), Some(old)) => (self.subtract)(&key, old, Some(row))?,
                (row, _) => row,
            };
            match change.new {
                Some(new) => (self.add)(&key, new, row.or_else(&self.first)),
                None => Ok(row),
            }
        })?;
        let Some(new) = worked_in else { return Ok(None) };
        let old = if self.old.is_set() && had_row {
            self.store.get(ctx, key_bytes)?
        } else {
            None
        };
        let written = self
            .store
            .put(ctx, self.node, key_bytes, new.as_ref(), (timestamp, &headers))?;
        let change = written.change(new, old.map(|row| row.value));
        Ok(change.map(|value| Record {
            key,
            value,
            timestamp,
            headers,
        }))
    }
}
