//! `count`, `reduce`, `aggregate` over sessions: one row a key and session, until sessions become one.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Windowed, Wire};
use tidemill_store::StoreKind;

use crate::{
    Change, KGroupedStream, KStream, KTable, Materialized,
    builder::Builder,
    edge::Outlet,
    graph::{Graph, NodeId, NodeKind, Punctuated},
    grouped::{Wanted, connect},
    window_rows::{SessionRows, WindowTableRows},
    windows::{Closing, SessionWindows},
};

use super::{
    aggregate::{AGGREGATE, Naming, REDUCE},
    closer::{Closer, Emission},
    open_windows::OpenWindows,
    session_aggregate::{SessionAggregate, Sessions},
    time_windowed::OnLate,
};

/// A grouped stream cut into sessions: see [`KGroupedStream::window`].
///
/// A record that lies within the gap of sessions joins them to one: their rows go, and one row comes with the bounds of
/// all. A session is open until stream time is past its end, the gap and the grace.
#[must_use = "sessions that nothing aggregates do nothing"]
pub struct SessionWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: SessionWindows,
    emission: Emission,
    late: Option<OnLate<K, V>>,
}

impl<K, V> SessionWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, windows: SessionWindows) -> Self {
        Self {
            grouped,
            windows,
            emission: Emission::OnUpdate,
            late: None,
        }
    }

    /// Emits each session once, when it closes, instead of each of its updates.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<Windowed<String>, Option<i64>> = Topic::new("out");
    /// # const VISITS: StoreName<Windowed<String>, i64> = StoreName::new("visits");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&IN).group_by_key().window(Session::gap(30 * MINUTE));
    /// sessions.emit_on_close().count(&VISITS).to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn emit_on_close(self) -> Self {
        Self {
            emission: Emission::OnClose,
            ..self
        }
    }

    /// Gives the records that come after all their sessions have closed to `compose`, instead of only counting them.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const VISITS: StoreName<Windowed<String>, i64> = StoreName::new("visits");
    /// const LATE: Topic<String, String> = Topic::new("late");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&IN).group_by_key().window(Session::gap(30 * MINUTE));
    /// sessions.late_records(|late| late.to(&LATE)).count(&VISITS);
    /// # app.topology().unwrap();
    /// ```
    pub fn late_records(self, compose: impl FnOnce(KStream<K, V>) + 'static) -> Self {
        Self {
            late: Some(Box::new(compose)),
            ..self
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SessionWindowedKStream<K, V> {
    /// Counts the records of each session.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const VISITS: StoreName<Windowed<String>, i64> = StoreName::new("visits");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().window(Session::gap(30 * MINUTE)).count(&VISITS);
    /// # app.topology().unwrap();
    /// ```
    pub fn count(self, store: impl Into<Materialized<Windowed<K>, i64>>) -> KTable<Windowed<K>, i64> {
        self.aggregated(
            AGGREGATE,
            store.into(),
            || Some(0),
            |_, _, count| Ok(Some(count.unwrap_or(0) + 1)),
            |a, b| Ok(Some(a.unwrap_or(0) + b.unwrap_or(0))),
        )
    }

    /// Combines the values of each session; the first is taken as it is. Sessions that become one are combined alike.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// const LARGEST: StoreName<Windowed<String>, i64> = StoreName::new("largest");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().window(Session::gap(MINUTE)).reduce(&LARGEST, |a, b| a.max(b));
    /// # app.topology().unwrap();
    /// ```
    pub fn reduce(
        self,
        store: impl Into<Materialized<Windowed<K>, V>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        self.try_reduce(store, move |row, value| Ok(combine(row, value)))
    }

    /// As [`reduce`](Self::reduce), with a closure that may fail: the sessions stay as they were.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const SUMS: StoreName<Windowed<String>, i64> = StoreName::new("sums");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&IN).group_by_key().window(Session::gap(MINUTE));
    /// sessions.try_reduce(&SUMS, |sum, amount| sum.checked_add(amount).ok_or_else(|| "the sum is too large".into()));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_reduce(
        self,
        store: impl Into<Materialized<Windowed<K>, V>>,
        combine: impl Fn(V, V) -> Result<V, BoxError> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        let combine = Arc::new(combine);
        let merge = Arc::clone(&combine);
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
            move |a, b| match (a, b) {
                (Some(a), Some(b)) => merge(a, b).map(Some),
                (a, b) => Ok(a.or(b)),
            },
        )
    }

    /// Works each record into the row of its session, which begins as `A::default()`. `merge` makes one row of those
    /// of two sessions, the earlier one first.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const LENGTHS: StoreName<Windowed<String>, i64> = StoreName::new("lengths");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&IN).group_by_key().window(Session::gap(30 * MINUTE));
    /// sessions.aggregate(&LENGTHS, |_, text, sum| *sum += text.len() as i64, |a, b| a + b);
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        work_in: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
        merge: impl Fn(A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.try_aggregate(
            store,
            move |key, value, row| {
                work_in(key, value, row);
                Ok(())
            },
            merge,
        )
    }

    /// As [`aggregate`](Self::aggregate), with a closure that may fail: the sessions stay as they were.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const SUMS: StoreName<Windowed<String>, i64> = StoreName::new("sums");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&IN).group_by_key().window(Session::gap(30 * MINUTE));
    /// sessions.try_aggregate(&SUMS, |_, text, sum: &mut i64| Ok(*sum += text.parse::<i64>()?), |a, b| a + b);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_aggregate<A: Default + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        work_in: impl Fn(&K, V, &mut A) -> Result<(), BoxError> + Send + Sync + 'static,
        merge: impl Fn(A, A) -> A + Send + Sync + 'static,
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
            move |a, b| match (a, b) {
                (Some(a), Some(b)) => Ok(Some(merge(a, b))),
                (a, b) => Ok(a.or(b)),
            },
        )
    }

    /// As [`aggregate`](Self::aggregate), for rows that may go: a session begins as what `first` gives, and `None`
    /// deletes its row.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LAST: StoreName<Windowed<String>, String> = StoreName::new("last");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&IN).group_by_key().window(Session::gap(30 * MINUTE));
    /// sessions.aggregate_option(&LAST, || None, |_, event, _| (event != "left").then_some(event), |a, b| b.or(a));
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate_option<A: 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
        merge: impl Fn(Option<A>, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let work_in = move |key: &K, value, row| Ok(work_in(key, value, row));
        let merge = move |a, b| Ok(merge(a, b));
        self.aggregated(AGGREGATE, store.into(), first, work_in, merge)
    }

    fn aggregated<A: 'static>(
        self,
        name: Naming,
        materialized: Materialized<Windowed<K>, A>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
        merge: impl Fn(Option<A>, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
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
        let aggregation = SessionAggregation {
            windows: self.windows,
            emission: self.emission,
            store: store.clone(),
            old: old.clone(),
            late: self.late,
        };
        let outlet = aggregation.attach(stream, (node, value), first, work_in, merge);
        table(builder, node, outlet, store, old)
    }
}

impl<K: Clone + 'static, V: Data + Clone> SessionWindowedKStream<K, Option<V>> {
    /// As [`reduce`](Self::reduce), for a stream with nulls, which reach the closure. `None` deletes the row.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, Option<i64>> = Topic::new("in");
    /// # const SUMS: StoreName<Windowed<String>, i64> = StoreName::new("sums");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&IN).group_by_key().window(Session::gap(MINUTE));
    /// sessions.reduce_option(&SUMS, |sum, value| Some(sum + value?));
    /// # app.topology().unwrap();
    /// ```
    pub fn reduce_option(
        self,
        store: impl Into<Materialized<Windowed<K>, V>>,
        combine: impl Fn(V, Option<V>) -> Option<V> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        let combine = Arc::new(combine);
        let merge = Arc::clone(&combine);
        self.aggregated(
            REDUCE,
            store.into(),
            || None,
            move |_, value, row| match row {
                Some(row) => Ok(combine(row, value)),
                None => Ok(value),
            },
            move |a, b| match a {
                Some(a) => Ok(merge(a, b)),
                None => Ok(b),
            },
        )
    }
}

/// Declares the store of an aggregation over sessions.
pub(super) fn declare<K: 'static, A: 'static>(
    graph: &mut Graph,
    prefix: &str,
    windows: &SessionWindows,
    key: &Wire<K>,
    materialized: Materialized<Windowed<K>, A>,
) -> SessionRows<K, A> {
    let retention_ms = materialized.window_retention_ms(
        graph,
        windows.closes_after_ms(),
        windows.retention_ms(graph.forgetting),
    );
    let index = materialized.declare(graph, prefix, StoreKind::Session { retention_ms }, true);
    SessionRows::new(graph, index, key.clone(), materialized.value, retention_ms)
}

/// An aggregation over sessions, to be attached to a stream.
pub(super) struct SessionAggregation<K, V, A> {
    pub(super) windows: SessionWindows,
    pub(super) emission: Emission,
    pub(super) store: SessionRows<K, A>,
    pub(super) old: Wanted,
    pub(super) late: Option<OnLate<K, V>>,
}

impl<K: Clone + 'static, V: Clone + 'static, A: 'static> SessionAggregation<K, V, A> {
    pub(super) fn attach(
        self,
        stream: KStream<K, V>,
        (node, value): (NodeId, Wire<V>),
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        work_in: impl Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
        merge: impl Fn(Option<A>, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync + 'static,
    ) -> Arc<Outlet<Windowed<K>, Change<A>>> {
        let builder = stream.builder.clone();
        let out = Outlet::new();
        let late = self.late.map(|compose| (compose, Outlet::like(&stream.outlet)));
        let mut graph = builder.lock();
        graph.node(node).closing = Some(Closing {
            grace_ms: self.windows.closes_after_ms(),
            ..self.windows.closing
        });
        let forgetting = graph.forgetting;
        let open = OpenWindows::declare(&mut graph, node, self.emission);
        let closer = Closer::declare(&mut graph, node, self.windows.closing, self.emission);
        let called = closer.closes_when_idle();
        let key = self.store.format.key.clone();
        let aggregate = Arc::new(SessionAggregate {
            node,
            windows: self.windows,
            store: self.store,
            first,
            work_in,
            merge,
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
        stream.outlet.attach(node.0, Arc::new(Sessions(aggregate)));
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

/// The table of an aggregation over sessions.
pub(super) fn table<K: 'static, A: 'static>(
    builder: Builder,
    node: NodeId,
    outlet: Arc<Outlet<Windowed<K>, Change<A>>>,
    store: SessionRows<K, A>,
    old: Wanted,
) -> KTable<Windowed<K>, A> {
    let index = store.index;
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
