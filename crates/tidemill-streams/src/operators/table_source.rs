//! `table`: the latest value of each key of a topic.

use std::{sync::Arc, time::Duration};

use tidemill_data::{DecodeError, EncodeError, Format, Place, Presence, StoreName, Topic, Wire};
use tidemill_store::StoreKind;

use crate::{
    App, Change, KTable, Materialized, Record, TopicRole,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    expiring::Expiring,
    graph::NodeId,
    grouped::Wanted,
    table::{Lookup, Rows},
    table_store::{Standing, TableStore, Written},
};

use super::source::{NullKeys, read, source};

impl App {
    /// A topic as a table: a record is a new row, or, with a null value, a deleted one.
    ///
    /// The rows are only kept if an operator looks them up or needs old ones. To query them, name their store: see
    /// [`table_as`](Self::table_as).
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const OUT: Topic<String, Option<String>> = Topic::new("out");
    /// const PROFILES: Topic<String, String> = Topic::new("profiles");
    ///
    /// let app = App::new("docs");
    /// app.table(&PROFILES).to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn table<K: 'static, V: 'static>(&self, topic: &Topic<K, V>) -> KTable<K, V> {
        let (key, value) = (topic.key().clone(), topic.value().clone());
        self.table_of(topic, Materialized::of(None, key, value))
    }

    /// As [`table`](Self::table), with rows kept in a store of this name, or as [`Materialized`] says.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const PROFILES: Topic<String, String> = Topic::new("profiles");
    /// const KEPT: StoreName<String, String> = StoreName::new("kept-profiles");
    /// # let app = App::new("docs");
    /// let profiles = app.table_as(&PROFILES, &KEPT);
    /// # app.topology().unwrap();
    /// ```
    pub fn table_as<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        store: impl Into<Materialized<K, V>>,
    ) -> KTable<K, V> {
        self.table_of(topic, store.into())
    }

    /// A topic as a table that keeps what its rows were before: for as long as `history` after the newest record, a
    /// lookup may ask for the row as of a time, and a join with a stream does so for each of its records.
    ///
    /// A record that comes late is a version of the past. Operators on rows see it; aggregations and joins of tables
    /// do not, since the current row stays. A record older than the history is dropped.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{HOUR, StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// const PRICE_HISTORY: StoreName<String, i64> = StoreName::new("price-history");
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &PRICE_HISTORY, 24 * HOUR);
    /// app.stream(&ORDERS).join_table(&prices, |_, pieces, price_then| pieces * price_then).to(&ORDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn table_versioned<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        store: &StoreName<K, V>,
        history: Duration,
    ) -> KTable<K, V> {
        self.table_of(topic, Materialized::from(store).versioned(history))
    }

    fn table_of<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        materialized: Materialized<K, V>,
    ) -> KTable<K, V> {
        let kept = Kept::declare(&self.builder, &format!("{}-", topic.name()), materialized);
        let node = source(&self.builder, None, &[(topic.name(), TopicRole::External)]);
        let records = Outlet::new();
        let value = nullable(topic.value());
        read(&self.builder, node, topic.key(), &value, &records, NullKeys::Drop);
        let name = self.builder.lock().name("KTABLE-SOURCE-");
        kept.table(&self.builder, name, node, &records, |value| value)
    }
}

/// The format of values of which any may be null.
pub(crate) fn nullable<V: 'static>(wire: &Wire<V>) -> Wire<Option<V>> {
    Wire::given(Nullable(wire.clone()))
}

struct Nullable<V>(Wire<V>);

impl<V: 'static> Format<Option<V>> for Nullable<V> {
    fn encode(&self, at: Place<'_>, value: &Option<V>, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        value
            .as_ref()
            .map_or(Ok(Presence::Null), |value| self.0.encode(at, value, out))
    }

    fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<Option<V>, DecodeError> {
        bytes.map(|bytes| self.0.decode(at, Some(bytes))).transpose()
    }

    fn is_null(&self, at: Place<'_>, value: &Option<V>) -> bool {
        value.as_ref().is_none_or(|value| self.0.is_null(at, value))
    }
}

/// A table's rows, kept from the start when they have a name, else once somebody asks.
pub(super) struct Kept<K, V> {
    pub(super) store: TableStore<K, V>,
    pub(super) kept: Wanted,
    pub(super) old: Wanted,
}

impl<K, V> Clone for Kept<K, V> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            kept: self.kept.clone(),
            old: self.old.clone(),
        }
    }
}

impl<K: 'static, V: 'static> Kept<K, V> {
    pub(super) fn declare(builder: &Builder, prefix: &str, materialized: Materialized<K, V>) -> Self {
        let mut graph = builder.lock();
        let named = materialized.name.is_some();
        let (index, ttl) = materialized.declare_expiring(&mut graph, prefix, StoreKind::Timestamped, named);
        let store = TableStore::new(&graph, index, materialized.key, materialized.value).expiring(ttl);
        Self::of(store, named || ttl.is_some())
    }

    pub(super) fn of(store: TableStore<K, V>, from_the_start: bool) -> Self {
        let kept = Wanted::default();
        if from_the_start {
            kept.set();
        }
        Self {
            store,
            kept,
            old: Wanted::default(),
        }
    }

    /// The table that this makes of records, whose values `split` makes to rows.
    pub(super) fn table<U: 'static>(
        self,
        builder: &Builder,
        name: String,
        parent: NodeId,
        records: &Outlet<K, U>,
        split: impl Fn(U) -> Option<V> + Send + Sync + 'static,
    ) -> KTable<K, V> {
        let mut graph = builder.lock();
        let node = graph.add(name, crate::graph::NodeKind::Processor, &[parent]);
        graph.connect(node, &[self.store.index]);
        drop(graph);
        let outlet = Outlet::new();
        let edge = TableSource {
            node,
            expiring: Expiring::attach(builder, node, &self.store, &self.old, &outlet),
            rows: self.clone(),
            split,
            out: Arc::clone(&outlet),
        };
        records.attach(node.0, Arc::new(edge));
        let (key, value) = (
            Some(self.store.format.key.clone()),
            Some(self.store.format.value.clone()),
        );
        KTable {
            builder: builder.clone(),
            node,
            outlet,
            rows: Arc::new(self),
            key,
            value,
        }
    }

    fn keep(&self, builder: &Builder) {
        self.kept.set();
        builder.lock().activate(self.store.index);
    }
}

impl<K: 'static, V: 'static> Rows<K, V> for Kept<K, V> {
    fn send_old(&self, builder: &Builder, force: bool) -> bool {
        if !force && !self.kept.is_set() {
            return false;
        }
        self.keep(builder);
        self.old.set();
        true
    }

    fn versioned(&self) -> bool {
        self.store.versioned()
    }

    fn lookup(&self, builder: &Builder) -> Lookup<K, V> {
        self.keep(builder);
        Lookup {
            getter: Arc::new(self.store.clone()),
            stores: vec![self.store.index],
        }
    }
}

struct TableSource<K, V, F> {
    node: NodeId,
    rows: Kept<K, V>,
    expiring: Option<Arc<Expiring<K, V>>>,
    split: F,
    out: Arc<Outlet<K, Change<V>>>,
}

impl<K: 'static, U: 'static, V: 'static, F: Fn(U) -> Option<V> + Send + Sync> Edge<K, U>
    for TableSource<K, V, F>
{
    fn send(&self, ctx: &mut Context, record: Record<K, U>) -> Flow {
        if let Some(expiring) = &self.expiring {
            expiring.expire(ctx)?;
        }
        let store = &self.rows.store;
        let Some(key) = store.key_bytes(ctx, self.node, &record)? else {
            return Ok(());
        };
        let Record {
            key: typed,
            value,
            timestamp,
            headers,
        } = record;
        let new = (self.split)(value);
        let mut old = None;
        let mut written = Written::Row(Standing::Latest);
        if self.rows.kept.is_set() {
            if self.rows.old.is_set() {
                old = store.get(ctx, &key)?.map(|row| row.value);
            }
            written = store.put(ctx, self.node, &key, new.as_ref(), (timestamp, &headers))?;
        }
        ctx.key = key;
        let Some(change) = written.change(new, old) else {
            return Ok(());
        };
        self.out.send(
            ctx,
            Record {
                key: typed,
                value: change,
                timestamp,
                headers,
            },
        )
    }
}
