//! `min`, `max`: the least and the greatest of each key.

use tidemill_data::Windowed;

use crate::{KGroupedStream, KTable, Materialized, SessionWindowedKStream, TimeWindowedKStream};

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// The least of what `of` takes from the records of each key. Of what cannot be compared, such as a NaN, the
    /// earlier stays.
    ///
    /// ```
    /// # use tidemill_streams::{App};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().min(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn min<N: PartialOrd + 'static>(
        self,
        store: impl Into<Materialized<K, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<K, N> {
        let work_in = move |key: &K, value, known| least(known, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in)
    }

    /// The greatest of what `of` takes from the records of each key. Of what cannot be compared, such as a NaN, the
    /// earlier stays.
    ///
    /// ```
    /// # use tidemill_streams::{App};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().max(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn max<N: PartialOrd + 'static>(
        self,
        store: impl Into<Materialized<K, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<K, N> {
        let work_in = move |key: &K, value, known| greatest(known, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> TimeWindowedKStream<K, V> {
    /// The least of what `of` takes from the records of each key in each window. Of what cannot be compared, such as a NaN, the
    /// earlier stays.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().window(Tumbling::of(MINUTE)).min(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn min<N: PartialOrd + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, N> {
        let work_in = move |key: &K, value, known| least(known, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in)
    }

    /// The greatest of what `of` takes from the records of each key in each window. Of what cannot be compared, such as a NaN, the
    /// earlier stays.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().window(Tumbling::of(MINUTE)).max(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn max<N: PartialOrd + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, N> {
        let work_in = move |key: &K, value, known| greatest(known, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SessionWindowedKStream<K, V> {
    /// The least of what `of` takes from the records of each key in each session. Of what cannot be compared, such as a
    /// NaN, the earlier stays.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&AMOUNTS).group_by_key().window(Session::gap(30 * MINUTE));
    /// let table = sessions.min(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn min<N: PartialOrd + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, N> {
        let work_in = move |key: &K, value, known| least(known, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in, least)
    }

    /// The greatest of what `of` takes from the records of each key in each session. Of what cannot be compared, such as a
    /// NaN, the earlier stays.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, i64> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&AMOUNTS).group_by_key().window(Session::gap(30 * MINUTE));
    /// let table = sessions.max(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn max<N: PartialOrd + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, N>>,
        of: impl Fn(&K, V) -> N + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, N> {
        let work_in = move |key: &K, value, known| greatest(known, Some(of(key, value)));
        self.aggregate_option(store, || None, work_in, greatest)
    }
}

/// The lesser of two, the first if they are equal; either may be missing.
fn least<N: PartialOrd>(known: Option<N>, new: Option<N>) -> Option<N> {
    match (known, new) {
        (Some(known), Some(new)) => Some(if new < known { new } else { known }),
        (known, new) => known.or(new),
    }
}

/// The greater of two, the first if they are equal; either may be missing.
fn greatest<N: PartialOrd>(known: Option<N>, new: Option<N>) -> Option<N> {
    match (known, new) {
        (Some(known), Some(new)) => Some(if new > known { new } else { known }),
        (known, new) => known.or(new),
    }
}
