//! `map_values` of a table: another value for each row.

use std::sync::Arc;

use tidemill_data::{Stamped, StoreName};
use tidemill_store::StoreKind;

use crate::{
    Change, KTable, Materialized, Record,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::{NodeId, NodeKind},
    grouped::Wanted,
    table::{Getter, Lookup, Rows},
    table_store::TableStore,
};

use super::table_filter::write_through;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Makes each row's value anew. A row that went stays gone: `change` never sees it.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let in_cents = app.table(&BALANCES).map_values(|_, euros| euros * 100);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn map_values<W: 'static>(
        &self,
        change: impl Fn(&K, V) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(None, move |key, value| Some(change(key, value)))
    }

    /// As [`map_values`](Self::map_values), with rows kept in a store of this name.
    #[must_use]
    pub fn map_values_as<W: 'static>(
        &self,
        store: &StoreName<K, W>,
        change: impl Fn(&K, V) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(Some(store.into()), move |key, value| Some(change(key, value)))
    }

    /// As [`map_values`](Self::map_values), for rows that may go: `None` deletes the row downstream.
    #[must_use]
    pub fn map_values_option<W: 'static>(
        &self,
        change: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(None, change)
    }

    /// As [`map_values_option`](Self::map_values_option), with rows kept in a store of this name.
    #[must_use]
    pub fn map_values_option_as<W: 'static>(
        &self,
        store: &StoreName<K, W>,
        change: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(Some(store.into()), change)
    }

    fn mapped<W: 'static>(
        &self,
        materialized: Option<Materialized<K, W>>,
        change: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.outlet.fan_out();
        let mut graph = self.builder.lock();
        let name = graph.name("KTABLE-MAPVALUES-");
        let node = graph.add(name, NodeKind::Processor, &[self.node]);
        let value = materialized.as_ref().map(|kept| kept.value.clone());
        let store = materialized.map(|kept| {
            let index = kept.declare(&mut graph, "", StoreKind::Timestamped, true);
            graph.connect(node, &[index]);
            TableStore::new(&graph, index, kept.key, kept.value)
        });
        drop(graph);
        let outlet = Outlet::new();
        let map = Arc::new(TableMap {
            node,
            change,
            store,
            old: Wanted::default(),
            parent: Arc::clone(&self.rows),
            out: Arc::clone(&outlet),
        });
        self.outlet.attach(
            node.0,
            Arc::<TableMap<K, V, W, _>>::clone(&map) as Arc<dyn Edge<K, Change<V>>>,
        );
        let key = self.key.clone();
        KTable {
            builder: self.builder.clone(),
            node,
            outlet,
            rows: Arc::new(MapRows(map)),
            key,
            value,
        }
    }
}

struct TableMap<K, V, W, F> {
    node: NodeId,
    change: F,
    store: Option<TableStore<K, W>>,
    old: Wanted,
    parent: Arc<dyn Rows<K, V>>,
    out: Arc<Outlet<K, Change<W>>>,
}

impl<K: 'static, V: 'static, W: 'static, F: Fn(&K, V) -> Option<W> + Send + Sync> TableMap<K, V, W, F> {
    /// The value made anew; the outer `None` says that the policy dealt with a failure.
    fn made(&self, ctx: &mut Context, key: &K, value: Option<V>) -> Result<Option<Option<W>>, Halt> {
        match value {
            Some(value) => ctx.call(self.node, || (self.change)(key, value)),
            None => Ok(Some(None)),
        }
    }
}

impl<K: 'static, V: 'static, W: 'static, F> Edge<K, Change<V>> for TableMap<K, V, W, F>
where
    F: Fn(&K, V) -> Option<W> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        let Record {
            key,
            value: change,
            timestamp,
            headers,
        } = record;
        let Some(new) = self.made(ctx, &key, change.new)? else {
            return Ok(());
        };
        let old = match (&self.store, self.old.is_set()) {
            (_, false) => Some(None),
            (Some(store), true) => Some(Getter::get(store, ctx, self.node, &key)?.map(|row| row.value)),
            (None, true) => self.made(ctx, &key, change.old)?,
        };
        let Some(old) = old else { return Ok(()) };
        let record = Record {
            key,
            value: Change {
                new,
                old,
                latest: change.latest,
            },
            timestamp,
            headers,
        };
        write_through(ctx, self.node, self.store.as_ref(), &self.out, record)
    }
}

struct MapRows<K, V, W, F>(Arc<TableMap<K, V, W, F>>);

impl<K: 'static, V: 'static, W: 'static, F> Rows<K, W> for MapRows<K, V, W, F>
where
    F: Fn(&K, V) -> Option<W> + Send + Sync + 'static,
{
    fn send_old(&self, builder: &Builder, force: bool) -> bool {
        if self.0.store.is_some() || self.0.parent.send_old(builder, force) {
            self.0.old.set();
        }
        self.0.old.is_set()
    }

    fn lookup(&self, builder: &Builder) -> Lookup<K, W> {
        if let Some(store) = &self.0.store {
            return Lookup {
                getter: Arc::new(store.clone()),
                stores: vec![store.index],
            };
        }
        let parent = self.0.parent.lookup(builder);
        let getter = MapGetter {
            map: Arc::clone(&self.0),
            parent: parent.getter,
        };
        Lookup {
            getter: Arc::new(getter),
            stores: parent.stores,
        }
    }
}

struct MapGetter<K, V, W, F> {
    map: Arc<TableMap<K, V, W, F>>,
    parent: Arc<dyn Getter<K, V>>,
}

impl<K: 'static, V: 'static, W: 'static, F> Getter<K, W> for MapGetter<K, V, W, F>
where
    F: Fn(&K, V) -> Option<W> + Send + Sync,
{
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<Stamped<W>>, Halt> {
        let Some(row) = self.parent.get(ctx, node, key)? else {
            return Ok(None);
        };
        let made = self.map.made(ctx, key, Some(row.value))?.flatten();
        Ok(made.map(|value| Stamped::new(value, row.timestamp)))
    }
}
