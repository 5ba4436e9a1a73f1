//! What a join of tables adds to the graph.

use std::sync::Arc;

use tidemill_data::{BoxError, Wire};
use tidemill_store::StoreKind;

use super::{
    joiner::{Joiner, Kind},
    rows::JoinedRows,
    sides::{Merge, OtherSide, Side, ThisSide},
};
use crate::{
    KTable, Materialized,
    edge::Outlet,
    graph::{NodeId, NodeKind},
    grouped::Wanted,
    table::Lookup,
    table_store::TableStore,
};

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    pub(super) fn joined_tables<T: Clone + 'static, W: 'static>(
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
    ) -> (Nodes, Option<Wire<W>>, Option<TableStore<K, W>>) {
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
