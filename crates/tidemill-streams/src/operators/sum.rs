//! `sum`: what the records of each key add up to.

use std::ops::Add;

use tidemill_data::Windowed;

use crate::{KGroupedStream, KTable, Materialized, SessionWindowedKStream, TimeWindowedKStream};

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// What the records of each key add up to, of a number that `of` takes from each.
    ///
    /// ```
    /// # use tidemill_streams::{App};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().sum(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn sum<N: Add<Output = N> + 'static>(
        self,
        store: impl Into<Materialized<K, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<K, N> {
        let work_in = move |key: &K, value, sum| add(sum, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> TimeWindowedKStream<K, V> {
    /// What the records of each key add up to in each window, of a number that `of` takes from each.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().window(Tumbling::of(MINUTE)).sum(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn sum<N: Add<Output = N> + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, N> {
        let work_in = move |key: &K, value, sum| add(sum, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SessionWindowedKStream<K, V> {
    /// What the records of each key add up to in each session, of a number that `of` takes from each.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&AMOUNTS).group_by_key().window(Session::gap(30 * MINUTE));
    /// let table = sessions.sum(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn sum<N: Add<Output = N> + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, N> {
        let work_in = move |key: &K, value, sum| add(sum, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in, add)
    }
}

/// The sum of two, of which either may be missing.
fn add<N: Add<Output = N>>(sum: Option<N>, number: Option<N>) -> Option<N> {
    match (sum, number) {
        (Some(sum), Some(number)) => Some(sum + number),
        (sum, number) => sum.or(number),
    }
}
