//! `top_n`: the greatest few of each key.

use tidemill_data::{Data, DecodeError, EncodeError, Presence, Windowed};

use super::sequence::{push_item, take_items};
use crate::{KGroupedStream, KTable, Materialized, SessionWindowedKStream, TimeWindowedKStream};

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// The `n` greatest of what `of` takes from the records of each key, the greatest first. Equal ones keep the order
    /// in which they came. They are kept together in one row, so `n` is best small.
    ///
    /// ```
    /// # use tidemill_streams::{App, Top};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Top<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().top_n(&STORE, 10, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn top_n<T: Ord + 'static>(
        self,
        store: impl Into<Materialized<K, Top<T>>>,
        n: usize,
        of: impl Fn(&K, V) -> T + Send + Sync + 'static,
    ) -> KTable<K, Top<T>> {
        self.aggregate(store, move |key, value, top: &mut Top<T>| {
            top.put(of(key, value), n);
        })
    }
}

impl<K: Clone + 'static, V: Clone + 'static> TimeWindowedKStream<K, V> {
    /// The `n` greatest of what `of` takes from the records of each key in each window, the greatest first. Equal ones keep the order
    /// in which they came. They are kept together in one row, so `n` is best small.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling, Top};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, Top<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().window(Tumbling::of(MINUTE)).top_n(&STORE, 10, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn top_n<T: Ord + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, Top<T>>>,
        n: usize,
        of: impl Fn(&K, V) -> T + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, Top<T>> {
        self.aggregate(store, move |key, value, top: &mut Top<T>| {
            top.put(of(key, value), n);
        })
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SessionWindowedKStream<K, V> {
    /// The `n` greatest of what `of` takes from the records of each key in each session, the greatest first. Equal ones keep
    /// the order in which they came. They are kept together in one row, so `n` is best small.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session, Top};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, Top<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&AMOUNTS).group_by_key().window(Session::gap(30 * MINUTE));
    /// let table = sessions.top_n(&STORE, 10, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn top_n<T: Ord + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, Top<T>>>,
        n: usize,
        of: impl Fn(&K, V) -> T + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, Top<T>> {
        self.aggregate(
            store,
            move |key, value, top: &mut Top<T>| top.put(of(key, value), n),
            move |mut a, b| {
                b.0.into_iter().for_each(|item| a.put(item, n));
                a
            },
        )
    }
}

/// The greatest few, the greatest first.
///
/// ```text
/// for each: length (4, big-endian) | bytes
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top<T>(Vec<T>);

impl<T> Default for Top<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Top<T> {
    /// The greatest few, the greatest first.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Top};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Top<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// app.stream(&AMOUNTS).group_by_key().top_n(&STORE, 2, |_, amount| amount);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// for amount in [5, 3, 5] {
    ///     test.pipe(&AMOUNTS, "a", amount, ms(1));
    /// }
    /// let row = test.row(&STORE, "a").expect("the key came").value;
    /// assert_eq!(row.items(), [5, 5]);
    /// ```
    #[must_use]
    pub fn items(&self) -> &[T] {
        &self.0
    }

    /// The greatest few, the greatest first.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Top};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Top<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// app.stream(&AMOUNTS).group_by_key().top_n(&STORE, 2, |_, amount| amount);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// for amount in [5, 3, 5] {
    ///     test.pipe(&AMOUNTS, "a", amount, ms(1));
    /// }
    /// let row = test.row(&STORE, "a").expect("the key came").value;
    /// assert_eq!(row.into_items(), [5, 5]);
    /// ```
    #[must_use]
    pub fn into_items(self) -> Vec<T> {
        self.0
    }
}

impl<T: Ord> Top<T> {
    fn put(&mut self, item: T, n: usize) {
        let at = self.0.partition_point(|known| *known >= item);
        if at < n {
            self.0.insert(at, item);
            self.0.truncate(n);
        }
    }
}

impl<T: Data> Data for Top<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        self.0
            .iter()
            .try_for_each(|item| push_item::<Self, T>(item, out))?;
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        take_items::<Self, T>(bytes).map(Self)
    }
}
