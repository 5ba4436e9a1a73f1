//! `aggregate` of cogrouped streams in windows.

use std::sync::Arc;

use tidemill_data::Windowed;

use crate::{
    CogroupedKStream, KTable, Materialized,
    grouped::Wanted,
    windows::{SessionWindows, TimeWindows},
};

use super::{
    cogroup::{COGROUP, First, Merge, WindowsOfAny},
    session_windowed, time_windowed,
};

/// Cogrouped streams in windows of a fixed size: see [`CogroupedKStream::window`].
#[must_use = "windows that nothing aggregates do nothing"]
pub struct TimeWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    windows: TimeWindows,
}

impl<K, A> TimeWindowedCogroupedKStream<K, A> {
    pub(crate) fn new(cogrouped: CogroupedKStream<K, A>, windows: TimeWindows) -> Self {
        Self { cogrouped, windows }
    }
}

impl<K: Clone + 'static, A: 'static> TimeWindowedCogroupedKStream<K, A> {
    /// Makes the table; a row begins as `A::default()`.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// # const BALANCES: StoreName<Windowed<String>, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// # let orders = app.stream(&ORDERS).group_by_key();
    /// # let refunds = app.stream(&REFUNDS).group_by_key();
    /// let spent = orders.cogroup(|_, amount, balance: &mut i64| *balance -= amount);
    /// let balances = spent.cogroup(refunds, |_, amount, balance| *balance += amount);
    /// balances.window(Tumbling::of(MINUTE)).aggregate(&BALANCES);
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate(self, store: impl Into<Materialized<Windowed<K>, A>>) -> KTable<Windowed<K>, A>
    where
        A: Default,
    {
        self.aggregate_option(store, || Some(A::default()))
    }

    /// As [`aggregate`](Self::aggregate); a row begins as what `first` gives.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// # const BALANCES: StoreName<Windowed<String>, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// # let orders = app.stream(&ORDERS).group_by_key();
    /// # let refunds = app.stream(&REFUNDS).group_by_key();
    /// # let _ = refunds;
    /// let spent = orders.cogroup(|_, amount, balance: &mut i64| *balance -= amount);
    /// spent.window(Tumbling::of(MINUTE)).aggregate_option(&BALANCES, || Some(100));
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate_option(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let builder = self.cogrouped.builder();
        let mut graph = builder.lock();
        let key = self.cogrouped.key();
        let store = time_windowed::declare(&mut graph, COGROUP, &self.windows, key, store.into());
        drop(graph);
        let (first, old): (First<A>, _) = (Arc::new(first), Wanted::default());
        let (node, outlet) = self
            .cogrouped
            .merge(store.index, &store.format.name)
            .attach(|side, node| {
                let aggregation = WindowsOfAny::Time(self.windows, store.clone(), old.clone());
                side.aggregate_windows(node, aggregation, Arc::clone(&first))
            });
        time_windowed::table(builder, node, outlet, store, old)
    }
}

/// Cogrouped streams in sessions: see [`CogroupedKStream::window`].
#[must_use = "sessions that nothing aggregates do nothing"]
pub struct SessionWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    windows: SessionWindows,
}

impl<K, A> SessionWindowedCogroupedKStream<K, A> {
    pub(crate) fn new(cogrouped: CogroupedKStream<K, A>, windows: SessionWindows) -> Self {
        Self { cogrouped, windows }
    }
}

impl<K: Clone + 'static, A: 'static> SessionWindowedCogroupedKStream<K, A> {
    /// Makes the table; a session begins as `A::default()`. `merge` makes one row of those of two sessions, the earlier
    /// one first.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const CLICKS: Topic<String, i64> = Topic::new("clicks");
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// const VISITS: StoreName<Windowed<String>, i64> = StoreName::new("visits");
    /// # let app = App::new("docs");
    /// let orders = app.stream(&ORDERS).group_by_key();
    /// app.stream(&CLICKS)
    ///     .group_by_key()
    ///     .cogroup(|_, _, score: &mut i64| *score += 1)
    ///     .cogroup(orders, |_, amount, score| *score += amount)
    ///     .window(Session::gap(30 * MINUTE))
    ///     .aggregate(&VISITS, |a, b| a + b);
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        merge: impl Fn(A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A>
    where
        A: Default,
    {
        self.aggregate_option(
            store,
            || Some(A::default()),
            move |a, b| match (a, b) {
                (Some(a), Some(b)) => Some(merge(a, b)),
                (a, b) => a.or(b),
            },
        )
    }

    /// As [`aggregate`](Self::aggregate), for rows that may go; a session begins as what `first` gives.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const REFUNDS: Topic<String, i64> = Topic::new("refunds");
    /// # const BALANCES: StoreName<Windowed<String>, i64> = StoreName::new("balances");
    /// # let app = App::new("docs");
    /// # let orders = app.stream(&ORDERS).group_by_key();
    /// # let refunds = app.stream(&REFUNDS).group_by_key();
    /// let last = orders.cogroup_option(|_, amount, _| Some(amount));
    /// let last = last.cogroup_option(refunds, |_, _, _| None).window(Session::gap(MINUTE));
    /// last.aggregate_option(&BALANCES, || None, |a, b| b.or(a));
    /// # app.topology().unwrap();
    /// ```
    pub fn aggregate_option(
        self,
        store: impl Into<Materialized<Windowed<K>, A>>,
        first: impl Fn() -> Option<A> + Send + Sync + 'static,
        merge: impl Fn(Option<A>, Option<A>) -> Option<A> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let builder = self.cogrouped.builder();
        let mut graph = builder.lock();
        let key = self.cogrouped.key();
        let store = session_windowed::declare(&mut graph, COGROUP, &self.windows, key, store.into());
        drop(graph);
        let (first, old): (First<A>, _) = (Arc::new(first), Wanted::default());
        let merge: Merge<A> = Arc::new(merge);
        let (node, outlet) = self
            .cogrouped
            .merge(store.index, &store.format.name)
            .attach(|side, node| {
                let (store, old, merge) = (store.clone(), old.clone(), Arc::clone(&merge));
                let aggregation = WindowsOfAny::Sessions(self.windows, store, old, merge);
                side.aggregate_windows(node, aggregation, Arc::clone(&first))
            });
        session_windowed::table(builder, node, outlet, store, old)
    }
}
