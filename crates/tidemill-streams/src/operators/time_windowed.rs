//! `count`, `reduce`, `aggregate` over tumbling, hopping and sliding windows: one row a key and window.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Windowed, Wire};
use tidemill_store::{StoreKind, WindowValues};

use crate::{
    Change, KGroupedStream, KStream, KTable, Materialized,
    builder::Builder,
    edge::Outlet,
    graph::{Graph, NodeId, NodeKind, Punctuated, StoreIndex},
    grouped::{Wanted, connect},
    window_rows::{WindowRows, WindowTableRows},
    windows::{Shape, TimeWindows},
};

use super::{
    aggregate::{AGGREGATE, Naming, REDUCE},
    closer::{Closer, Emission},
    open_windows::OpenWindows,
    sliding_aggregate::Sliding,
    window_aggregate::{Stepping, WindowAggregate},
};

/// A grouped stream cut into windows of a fixed size: see [`KGroupedStream::window`].
///
/// A record counts in a window that is still open: one whose end, and grace after it, stream time has not reached.
/// Stream time is the largest timestamp the operator has taken in, of any key.
#[must_use = "windows that nothing aggregates do nothing"]
pub struct TimeWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: TimeWindows,
    emission: Emission,
    late: Option<OnLate<K, V>>,
}

/// What composes the operators behind late records.
pub(super) type OnLate<K, V> = Box<dyn FnOnce(KStream<K, V>)>;

impl<K, V> TimeWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, windows: TimeWindows) -> Self {
        Self {
            grouped,
            windows,
            emission: Emission::OnUpdate,
            late: None,
        }
    }

    /// Emits each window once, when it closes, instead of each of its updates.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<Windowed<String>, Option<i64>> = Topic::new("out");
    /// # const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// let per_minute = app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE)).emit_on_close().count(&COUNTS);
    /// per_minute.to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn emit_on_close(self) -> Self {
        Self {
            emission: Emission::OnClose,
            ..self
        }
    }

    /// Gives the records that come when all their windows have closed to `compose`, instead of only counting them.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    /// const LATE: Topic<String, String> = Topic::new("late");
    /// # let app = App::new("docs");
    /// let windows = app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE));
    /// windows.late_records(|late| late.to(&LATE)).count(&COUNTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn late_records(self, compose: impl FnOnce(KStream<K, V>) + 'static) -> Self {
        Self {
            late: Some(Box::new(compose)),
            ..self
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> TimeWindowedKStream<K, V> {
    /// Counts the records of each key and window.
    ///
    /// ```
    /// # use tidemill_streams::{App, Hopping};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().window(Hopping::of(5 * MINUTE, MINUTE)).count(&COUNTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn count(self, store: impl Into<Materialized<Windowed<K>, i64>>) -> KTable<Windowed<K>, i64> {
        self.aggregated(
            AGGREGATE,
            store.into(),
            || Some(0),
            |_, _, count| Ok(Some(count.unwrap_or(0) + 1)),
        )
    }

    /// Combines the values of each key and window; the first is taken as it is.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// const LARGEST: StoreName<Windowed<String>, i64> = StoreName::new("largest");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE)).reduce(&LARGEST, |a, b| a.max(b));
    /// # app.topology().unwrap();
    /// ```
    pub fn reduce(
        self,
        store: impl Into<Materialized<Windowed<K>, V>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        self.try_reduce(store, move |row, value| Ok(combine(row, value)))
    }

    /// As [`reduce`](Self::reduce), with a closure that may fail: the row stays as it was.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const SUMS: StoreName<Windowed<String>, i64> = StoreName::new("sums");
    /// # let app = App::new("docs");
    /// let windows = app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE));
    /// windows.try_reduce(&SUMS, |a, b| a.checked_add(b).ok_or_else(|| "too large".into()));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_reduce(
        self,
        store: impl Into<Materialized<Windowed<K>, V>>,
        combine: impl Fn(V, V) -> Result<V, BoxError> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        self.aggregated(
            REDUCE,
            store.into(),
            || None,
            move |_, value, row| match row {
                Some(row) => combine(row, value).map(Some),
                None => Ok(Some(value)),
            },
        )
    }

    /// Works each record into the row of its key and window, which begins as `A::default()`.
    ///
    /// ```
    /// # use tidemill_streams::{App, Sliding};
    /// # use tidemill_data::{SECOND, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const LENGTHS: StoreName<Windowed<String>, i64> = StoreName::new("lengths");
    /// # let app = App::new("docs");
    /// let windows = app.stream(&IN).group_by_key().window(Sliding::within(10 * SECOND));
    /// windows.aggregate(&LENGTHS, |_, text, sum| *sum += text.len() as i64);
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        work_in: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.try_aggregate(store, move |key, value, row| {
            work_in(key, value, row);
            Ok(())
        })
    }

    /// As [`aggregate`](Self::aggregate), with a closure that may fail: the row stays as it was.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const SUMS: StoreName<Windowed<String>, i64> = StoreName::new("sums");
    /// # let app = App::new("docs");
    /// let windows = app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE));
    /// windows.try_aggregate(&SUMS, |_, text, sum: &mut i64| Ok(*sum += text.parse::<i64>()?));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        work_in: impl Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.aggregated(
            AGGREGATE,
            store.into(),
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
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OPEN: StoreName<Windowed<String>, String> = StoreName::new("open");
    /// # let app = App::new("docs");
    /// let windows = app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE));
    /// windows.aggregate_option(&OPEN, || None, |_, event, _| (event != "closed").then_some(event));
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate_option<A: 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.aggregated(AGGREGATE, store.into(), first, move |key, value, row| {
            Ok(work_in(key, value, row))
        })
    }

    fn aggregated<A: 'static>(
        self,
        name: Naming,
        materialized: Materialized<Windowed<K>, A>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let builder = self.grouped.stream.builder.clone();
        let (key, value) = (self.grouped.key.clone(), self.grouped.value.clone());
        let mut graph = builder.lock();
        let store = declare(&mut graph, name.store, &self.windows, &key, materialized);
        let name = graph.name(name.node);
        drop(graph);
        let stream = self.grouped.together(&store.format.name);
        let node = builder.lock().add(name, NodeKind::Processor, &[stream.node]);
        connect(&builder, node, &[store.index]);
        let old = Wanted::default();
        let aggregation = TimeAggregation {
            windows: self.windows,
            emission: self.emission,
            store: store.clone(),
            old: old.clone(),
            late: self.late,
        };
        let outlet = aggregation.attach(stream, node, value, first, work_in);
        table(builder, node, outlet, store, old)
    }
}

impl<K: Clone + 'static, V: Data + Clone> TimeWindowedKStream<K, Option<V>> {
    /// As [`reduce`](Self::reduce), for a stream with nulls, which reach the closure: only sliding windows drop them.
    /// `None` deletes the row.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, Option<i64>> = Topic::new("in");
    /// # const SUMS: StoreName<Windowed<String>, i64> = StoreName::new("sums");
    /// # let app = App::new("docs");
    /// let windows = app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE));
    /// windows.reduce_option(&SUMS, |sum, value| Some(sum + value?));
    /// # app.topology().unwrap();
    /// ```
    pub fn reduce_option(
        self,
        store: impl Into<Materialized<Windowed<K>, V>>,
        combine: impl Fn(V, Option<V>) -> Option<V> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        self.aggregated(
            REDUCE,
            store.into(),
            || None,
            move |_, value, row| match row {
                Some(row) => Ok(combine(row, value)),
                None => Ok(value),
            },
        )
    }
}

/// Declares the store of a windowed aggregation.
pub(super) fn declare<K: 'static, A: 'static>(
    graph: &mut Graph,
    prefix: &str,
    windows: &TimeWindows,
    key: &Wire<K>,
    materialized: Materialized<Windowed<K>, A>,
) -> WindowRows<K, A> {
    graph.problems.extend(windows.problem());
    let retention_ms = materialized.window_retention_ms(
        graph,
        windows.retention_ms_min(),
        windows.retention_ms(graph.forgetting),
    );
    let kind = StoreKind::Window {
        retention_ms,
        values: WindowValues::Timestamped,
    };
    let index = materialized.declare(graph, prefix, kind, true);
    WindowRows::new(
        graph,
        index,
        key.clone(),
        materialized.value,
        (windows.size_ms(), retention_ms),
    )
}

/// An aggregation over windows of a fixed size, to be attached to a stream.
pub(super) struct TimeAggregation<K, V, A> {
    pub(super) windows: TimeWindows,
    pub(super) emission: Emission,
    pub(super) store: WindowRows<K, A>,
    pub(super) old: Wanted,
    pub(super) late: Option<OnLate<K, V>>,
}

impl<K: Clone + 'static, V: Clone + 'static, A: 'static> TimeAggregation<K, V, A> {
    pub(super) fn attach(
        self,
        stream: KStream<K, V>,
        node: NodeId,
        nulls: Wire<V>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> Arc<Outlet<Windowed<K>, Change<A>>> {
        let builder = stream.builder.clone();
        let out = Outlet::new();
        let late = self.late.map(|compose| (compose, Outlet::like(&stream.outlet)));
        let mut graph = builder.lock();
        graph.node(node).closing = Some(self.windows.closing);
        let forgetting = graph.forgetting;
        let open = OpenWindows::declare(&mut graph, node, self.emission);
        let closer = Closer::declare(&mut graph, node, self.windows.closing, self.emission);
        let called = closer.closes_when_idle();
        let key = self.store.format.key.clone();
        let aggregate = Arc::new(WindowAggregate {
            node,
            windows: self.windows,
            store: self.store,
            first,
            work_in,
            closer,
            forgetting,
            open,
            late: late.as_ref().map(|(_, outlet)| Arc::clone(outlet)),
            old: self.old,
            out: Arc::clone(&out),
        });
        if called {
            let aggregate = Arc::clone(&aggregate) as Arc<dyn Punctuated>;
            graph.punctuated.push((node, aggregate));
        }
        drop(graph);
        let value = nulls.clone();
        match self.windows.shape {
            Shape::Stepping { advance_ms, .. } => {
                // A problem of the topology says that an advance of 0 is none.
                let advance_ms = advance_ms.max(1);
                let stepping = Stepping {
                    aggregate,
                    advance_ms,
                };
                stream.outlet.attach(node.0, Arc::new(stepping));
            }
            Shape::Sliding { difference_ms } => {
                let sliding = Sliding {
                    aggregate,
                    difference_ms,
                    nulls,
                };
                stream.outlet.attach(node.0, Arc::new(sliding));
            }
        }
        if let Some((compose, outlet)) = late {
            let (key, value) = (Some(key), Some(value));
            compose(KStream {
                key,
                value,
                ..KStream::new(builder, node, outlet)
            });
        }
        out
    }
}

/// The table of a windowed aggregation.
pub(super) fn table<K: 'static, A: 'static>(
    builder: Builder,
    node: NodeId,
    outlet: Arc<Outlet<Windowed<K>, Change<A>>>,
    store: WindowRows<K, A>,
    old: Wanted,
) -> KTable<Windowed<K>, A> {
    let index: StoreIndex = store.index;
    let (key, value) = (Some(store.key_wire()), Some(store.format.value.clone()));
    KTable {
        builder,
        node,
        outlet,
        rows: Arc::new(WindowTableRows {
            getter: store,
            index,
            old,
        }),
        key,
        value,
    }
}
