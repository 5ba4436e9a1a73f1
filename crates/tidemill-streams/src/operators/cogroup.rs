//! `cogroup`: several grouped streams worked into one table, each in its own way.

use std::sync::Arc;

use tidemill_data::{BoxError, Windowed, Wire};
use tidemill_store::StoreKind;

use crate::{
    Change, CogroupWindowKind, KGroupedStream, KStream, KTable, Materialized,
    builder::Builder,
    edge::{Outlet, PassOn},
    expiring::Expiring,
    graph::{NodeId, NodeKind, StoreIndex},
    grouped::{StoredRows, Wanted},
    table_store::TableStore,
};

use super::{aggregate::Aggregate, session_windowed::SessionAggregation, time_windowed::TimeAggregation};

/// What a row begins as.
pub(super) type First<A> = Arc<dyn Fn() -> Option<A> + Send + Sync>;
/// How two rows become one.
pub(super) type Merge<A> = Arc<dyn Fn(Option<A>, Option<A>) -> Option<A> + Send + Sync>;
type WorkIn<K, V, A> = Arc<dyn Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync>;

/// Grouped streams that become one table: see [`KGroupedStream::cogroup`].
#[must_use = "a grouping that nothing aggregates does nothing"]
pub struct CogroupedKStream<K, A> {
    builder: Builder,
    key: Wire<K>,
    sides: Vec<Box<dyn Side<K, A>>>,
}

impl<K: Clone + 'static, V: Clone + 'static> KGroupedStream<K, V> {
    /// Begins a table that several grouped streams are worked into, this one by `work_in`.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// const BALANCES: StoreName<String, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// let orders = app.stream(&ORDERS).group_by_key();
    /// let refunds = app.stream(&REFUNDS).group_by_key();
    /// orders
    ///     .cogroup(|_, amount, balance: &mut i64| *balance -= amount)
    ///     .cogroup(refunds, |_, amount, balance| *balance += amount)
    ///     .aggregate(&BALANCES);
    /// # app.topology().unwrap();
    /// ```
    pub fn cogroup<A: Default + 'static>(
        self,
        work_in: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> CogroupedKStream<K, A> {
        CogroupedKStream::none(&self).cogroup(self, work_in)
    }

    /// As [`cogroup`](Self::cogroup), for rows that may go: `None` deletes a row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const LOGINS: Topic<String, String> = Topic::new("logins");
    /// # const LOGOUTS: Topic<String, String> = Topic::new("logouts");
    /// const HERE: StoreName<String, String> = StoreName::new("here");
    /// # let app = App::new("docs");
    /// let logins = app.stream(&LOGINS).group_by_key();
    /// let logouts = app.stream(&LOGOUTS).group_by_key();
    /// logins
    ///     .cogroup_option(|_, place, _| Some(place))
    ///     .cogroup_option(logouts, |_, _, _| None)
    ///     .aggregate_option(&HERE, || None);
    /// # app.topology().unwrap();
    /// ```
    pub fn cogroup_option<A: 'static>(
        self,
        work_in: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> CogroupedKStream<K, A> {
        CogroupedKStream::none(&self).cogroup_option(self, work_in)
    }
}

impl<K: Clone + 'static, A: 'static> CogroupedKStream<K, A> {
    fn none<V>(first: &KGroupedStream<K, V>) -> Self {
        Self {
            builder: first.stream.builder.clone(),
            key: first.key.clone(),
            sides: Vec::new(),
        }
    }

    /// Works another grouped stream into the table, by `work_in`.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// # const BALANCES: StoreName<String, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// # let orders = app.stream(&ORDERS).group_by_key();
    /// # let refunds = app.stream(&REFUNDS).group_by_key();
    /// let spent = orders.cogroup(|_, amount, balance: &mut i64| *balance -= amount);
    /// spent.cogroup(refunds, |_, amount, balance| *balance += amount).aggregate(&BALANCES);
    /// # app.topology().unwrap();
    /// ```
    pub fn cogroup<V: Clone + 'static>(
        self,
        grouped: KGroupedStream<K, V>,
        work_in: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> Self
    where
        A: Default,
    {
        self.cogroup_option(grouped, move |key, value, row| {
            let mut row = row.unwrap_or_default();
            work_in(key, value, &mut row);
            Some(row)
        })
    }

    /// As [`cogroup`](Self::cogroup), for rows that may go: `None` deletes a row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// # const BALANCES: StoreName<String, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// # let orders = app.stream(&ORDERS).group_by_key();
    /// # let refunds = app.stream(&REFUNDS).group_by_key();
    /// let last = orders.cogroup_option(|_, amount, _| Some(amount));
    /// last.cogroup_option(refunds, |_, _, _| None).aggregate_option(&BALANCES, || None);
    /// # app.topology().unwrap();
    /// ```
    pub fn cogroup_option<V: Clone + 'static>(
        self,
        grouped: KGroupedStream<K, V>,
        work_in: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> Self {
        self.try_cogroup_option(grouped, move |key, value, row| Ok(work_in(key, value, row)))
    }

    /// As [`cogroup_option`](Self::cogroup_option), with a closure that may fail: the row stays as it was.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// # const TEXTS: Topic<String, String> = Topic::new("texts");
    /// const SUMS: StoreName<String, i64> = StoreName::new("sums");
    /// # let app = App::new("docs");
    /// let texts = app.stream(&TEXTS).group_by_key();
    /// app.stream(&AMOUNTS)
    ///     .group_by_key()
    ///     .cogroup(|_, amount, sum: &mut i64| *sum += amount)
    ///     .try_cogroup_option(texts, |_, text, sum| Ok(Some(sum.unwrap_or(0) + text.parse::<i64>()?)))
    ///     .aggregate(&SUMS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_cogroup_option<V: Clone + 'static>(
        mut self,
        grouped: KGroupedStream<K, V>,
        work_in: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.sides.push(Box::new(Grouped {
            grouped,
            work_in: Arc::new(work_in),
        }));
        self
    }

    /// Cuts all streams into the same windows.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// const BALANCES: StoreName<Windowed<String>, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// let orders = app.stream(&ORDERS).group_by_key();
    /// let refunds = app.stream(&REFUNDS).group_by_key();
    /// orders
    ///     .cogroup(|_, amount, balance: &mut i64| *balance -= amount)
    ///     .cogroup(refunds, |_, amount, balance| *balance += amount)
    ///     .window(Tumbling::of(MINUTE))
    ///     .aggregate(&BALANCES);
    /// # app.topology().unwrap();
    /// ```
    pub fn window<W: CogroupWindowKind>(self, windows: W) -> W::Stream<K, A> {
        windows.of_cogrouped(self)
    }

    /// Makes the table; a row begins as `A::default()`. Records with a null key or value are dropped.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// # const BALANCES: StoreName<String, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// # let orders = app.stream(&ORDERS).group_by_key();
    /// # let refunds = app.stream(&REFUNDS).group_by_key();
    /// let spent = orders.cogroup(|_, amount, balance: &mut i64| *balance -= amount);
    /// let balances = spent.cogroup(refunds, |_, amount, balance| *balance += amount).aggregate(&BALANCES);
    /// let in_debt = balances.filter(|_, balance| *balance < 0);
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate(self, store: impl Into<Materialized<K, A>>) -> KTable<K, A>
    where
        A: Default,
    {
        self.aggregate_option(store, || Some(A::default()))
    }

    /// As [`aggregate`](Self::aggregate); a row begins as what `first` gives.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// # const BALANCES: StoreName<String, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// # let orders = app.stream(&ORDERS).group_by_key();
    /// # let refunds = app.stream(&REFUNDS).group_by_key();
    /// # let _ = refunds;
    /// let spent = orders.cogroup(|_, amount, balance: &mut i64| *balance -= amount);
    /// spent.aggregate_option(&BALANCES, || Some(100));
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate_option(
        self,
        store: impl Into<Materialized<K, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let materialized = store.into();
        let builder = self.builder.clone();
        let mut graph = builder.lock();
        let (index, ttl) = materialized.declare_expiring(&mut graph, COGROUP, StoreKind::Timestamped, true);
        let store = TableStore::new(&graph, index, materialized.key, materialized.value).expiring(ttl);
        drop(graph);
        let (first, old): (First<A>, _) = (Arc::new(first), Wanted::default());
        let merged: Merged<K, K, A> = self.merge(index, &store.format.name);
        // One operator lets the rows of all go: the one where they meet.
        let expiring = Expiring::attach(&builder, merged.node, &store, &old, &merged.outlet);
        let (node, outlet) = merged.attach(|side, node| {
            let aggregation = RowsOfAny {
                store: store.clone(),
                old: old.clone(),
                expiring: expiring.clone(),
            };
            side.aggregate(node, aggregation, Arc::clone(&first))
        });
        let (key, value) = (Some(store.format.key.clone()), Some(store.format.value.clone()));
        KTable {
            builder,
            node,
            outlet,
            rows: Arc::new(StoredRows { store, old }),
            key,
            value,
        }
    }

    /// One aggregation a stream, all on one store, whose changes become one stream of changes.
    pub(super) fn merge<L: 'static>(self, index: StoreIndex, store: &str) -> Merged<K, L, A> {
        let builder = self.builder;
        let mut repartitioned = 0;
        let mut placed = Vec::with_capacity(self.sides.len());
        for side in self.sides {
            // Each stream needs a repartition topic of its own; the first has the name that Kafka Streams gives.
            let name = match repartitioned {
                0 => store.to_owned(),
                more => format!("{store}-{}", more + 1),
            };
            repartitioned += usize::from(side.is_repartitioned());
            placed.push(side.place(&name));
        }
        let mut graph = builder.lock();
        let parents: Vec<NodeId> = placed.iter().map(|side| side.parent()).collect();
        let nodes: Vec<NodeId> = parents
            .iter()
            .map(|parent| graph.processor(COGROUP, &[*parent]))
            .collect();
        nodes.iter().for_each(|node| graph.connect(*node, &[index]));
        let merge = graph.name("COGROUPKSTREAM-MERGE-");
        let merge = graph.add(merge, NodeKind::Processor, &nodes);
        let mut sources: Vec<NodeId> = parents
            .iter()
            .flat_map(|parent| graph.sources_of(*parent))
            .collect();
        sources.sort_unstable();
        sources.dedup();
        graph.copartitioned.push((merge, sources));
        Merged {
            sides: placed.into_iter().zip(nodes).collect(),
            node: merge,
            outlet: Outlet::new(),
        }
    }

    pub(super) fn builder(&self) -> Builder {
        self.builder.clone()
    }

    pub(super) fn key(&self) -> &Wire<K> {
        &self.key
    }
}

/// The prefix of the names that Kafka Streams makes.
pub(super) const COGROUP: &str = "COGROUPKSTREAM-AGGREGATE-";

/// One of the streams, whatever its values are.
trait Side<K, A> {
    fn is_repartitioned(&self) -> bool;

    /// Brings equal keys together, if need be behind a repartition topic.
    fn place(self: Box<Self>, name: &str) -> Box<dyn Placed<K, A>>;
}

/// One of the streams with equal keys together.
pub(super) trait Placed<K, A> {
    fn parent(&self) -> NodeId;

    fn aggregate(
        self: Box<Self>,
        node: NodeId,
        aggregation: RowsOfAny<K, A>,
        first: First<A>,
    ) -> Arc<Outlet<K, Change<A>>>;

    fn aggregate_windows(
        self: Box<Self>,
        node: NodeId,
        aggregation: WindowsOfAny<K, A>,
        first: First<A>,
    ) -> Arc<Outlet<Windowed<K>, Change<A>>>;
}

/// The streams with their operators, and where their changes meet.
pub(super) struct Merged<K, L, A> {
    sides: Vec<(Box<dyn Placed<K, A>>, NodeId)>,
    node: NodeId,
    outlet: Arc<Outlet<L, Change<A>>>,
}

impl<K, L: 'static, A: 'static> Merged<K, L, A> {
    /// Gives each stream its aggregation; the operator where they meet, and what it gives.
    pub(super) fn attach(
        self,
        attach: impl Fn(Box<dyn Placed<K, A>>, NodeId) -> Arc<Outlet<L, Change<A>>>,
    ) -> (NodeId, Arc<Outlet<L, Change<A>>>) {
        for (side, node) in self.sides {
            let changes = attach(side, node);
            changes.attach(self.node.0, Arc::new(PassOn(Arc::clone(&self.outlet))));
        }
        (self.node, self.outlet)
    }
}

/// The rows that all streams work into.
pub(super) struct RowsOfAny<K, A> {
    store: TableStore<K, A>,
    old: Wanted,
    expiring: Option<Arc<Expiring<K, A>>>,
}

/// What windows are aggregated, for values of any type.
pub(super) enum WindowsOfAny<K, A> {
    Time(
        crate::windows::TimeWindows,
        crate::window_rows::WindowRows<K, A>,
        Wanted,
    ),
    Sessions(
        crate::windows::SessionWindows,
        crate::window_rows::SessionRows<K, A>,
        Wanted,
        Merge<A>,
    ),
}

struct Grouped<K, V, A> {
    grouped: KGroupedStream<K, V>,
    work_in: WorkIn<K, V, A>,
}

impl<K: Clone + 'static, V: Clone + 'static, A: 'static> Side<K, A> for Grouped<K, V, A> {
    fn is_repartitioned(&self) -> bool {
        self.grouped.stream.key_changed
    }

    fn place(self: Box<Self>, name: &str) -> Box<dyn Placed<K, A>> {
        let nulls = self.grouped.value.clone();
        Box::new(Together {
            stream: self.grouped.together(name),
            nulls,
            work_in: self.work_in,
        })
    }
}

struct Together<K, V, A> {
    stream: KStream<K, V>,
    nulls: Wire<V>,
    work_in: WorkIn<K, V, A>,
}

impl<K: Clone + 'static, V: Clone + 'static, A: 'static> Placed<K, A> for Together<K, V, A> {
    fn parent(&self) -> NodeId {
        self.stream.node
    }

    fn aggregate(
        self: Box<Self>,
        node: NodeId,
        aggregation: RowsOfAny<K, A>,
        first: First<A>,
    ) -> Arc<Outlet<K, Change<A>>> {
        let out = Outlet::new();
        let work_in = self.work_in;
        let aggregate = Aggregate {
            expiring: aggregation.expiring,
            node,
            nulls: self.nulls,
            store: aggregation.store,
            first: move || first(),
            work_in: move |key: &K, value, row| work_in(key, value, row),
            old: aggregation.old,
            out: Arc::clone(&out),
        };
        self.stream.outlet.attach(node.0, Arc::new(aggregate));
        out
    }

    fn aggregate_windows(
        self: Box<Self>,
        node: NodeId,
        aggregation: WindowsOfAny<K, A>,
        first: First<A>,
    ) -> Arc<Outlet<Windowed<K>, Change<A>>> {
        use super::closer::Emission::OnUpdate as emission;
        let work_in = self.work_in;
        let work_in = move |key: &K, value, row| work_in(key, value, row);
        let first = move || first();
        match aggregation {
            WindowsOfAny::Time(windows, store, old) => {
                let late = None;
                let aggregation = TimeAggregation {
                    windows,
                    emission,
                    store,
                    old,
                    late,
                };
                aggregation.attach(self.stream, node, self.nulls, first, work_in)
            }
            WindowsOfAny::Sessions(windows, store, old, merge) => {
                let late = None;
                let aggregation = SessionAggregation {
                    windows,
                    emission,
                    store,
                    old,
                    late,
                };
                let merge = move |a, b| Ok(merge(a, b));
                aggregation.attach(self.stream, (node, self.nulls), first, work_in, merge)
            }
        }
    }
}
