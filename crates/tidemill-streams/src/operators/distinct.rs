//! `distinct`: the different values of each key.

use std::collections::BTreeSet;

use tidemill_data::{Data, DecodeError, EncodeError, Presence, Windowed};

use super::sequence::{push_item, take_items};
use crate::{KGroupedStream, KTable, Materialized, SessionWindowedKStream, TimeWindowedKStream};

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// The different values that `of` takes from the records of each key: see [`Distinct::len`]. They are kept together in
    /// one row, so there are best few of them.
    ///
    /// ```
    /// # use tidemill_streams::{App, Distinct};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Distinct<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().distinct(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn distinct<T: Ord + 'static>(
        self,
        store: impl Into<Materialized<K, Distinct<T>>>,
        of: impl Fn(&K, V) -> T + Send + Sync + 'static,
    ) -> KTable<K, Distinct<T>> {
        self.aggregate(store, move |key, value, distinct: &mut Distinct<T>| {
            distinct.0.insert(of(key, value));
        })
    }
}

impl<K: Clone + 'static, V: Clone + 'static> TimeWindowedKStream<K, V> {
    /// The different values that `of` takes from the records of each key in each window: see [`Distinct::len`]. They are kept together in
    /// one row, so there are best few of them.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling, Distinct};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, Distinct<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().window(Tumbling::of(MINUTE)).distinct(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn distinct<T: Ord + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, Distinct<T>>>,
        of: impl Fn(&K, V) -> T + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, Distinct<T>> {
        self.aggregate(store, move |key, value, distinct: &mut Distinct<T>| {
            distinct.0.insert(of(key, value));
        })
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SessionWindowedKStream<K, V> {
    /// The different values that `of` takes from the records of each key in each session: see [`Distinct::len`]. They are kept
    /// together in one row, so there are best few of them.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session, Distinct};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, Distinct<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&AMOUNTS).group_by_key().window(Session::gap(30 * MINUTE));
    /// let table = sessions.distinct(&STORE, |_, amount| amount);
    /// # app.topology().unwrap();
    /// ```
    pub fn distinct<T: Ord + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, Distinct<T>>>,
        of: impl Fn(&K, V) -> T + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, Distinct<T>> {
        self.aggregate(
            store,
            move |key, value, distinct: &mut Distinct<T>| {
                distinct.0.insert(of(key, value));
            },
            |mut a, b| {
                a.0.extend(b.0);
                a
            },
        )
    }
}

/// Different values, in their order.
///
/// ```text
/// for each: length (4, big-endian) | bytes
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct<T>(BTreeSet<T>);

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T> Distinct<T> {
    /// How many there are.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Distinct};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Distinct<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// app.stream(&AMOUNTS).group_by_key().distinct(&STORE, |_, amount| amount);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// for amount in [5, 3, 5] {
    ///     test.pipe(&AMOUNTS, "a", amount, ms(1));
    /// }
    /// let row = test.row(&STORE, "a").expect("the key came").value;
    /// assert_eq!(row.len(), 2);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    ///
    /// ```
    /// # use tidemill_streams::Distinct;
    /// assert!(Distinct::<i64>::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// They themselves, in their order.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Distinct};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Distinct<i64>> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// app.stream(&AMOUNTS).group_by_key().distinct(&STORE, |_, amount| amount);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// for amount in [5, 3, 5] {
    ///     test.pipe(&AMOUNTS, "a", amount, ms(1));
    /// }
    /// let row = test.row(&STORE, "a").expect("the key came").value;
    /// assert_eq!(row.iter().collect::<Vec<_>>(), [&3, &5]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T: Data + Ord> Data for Distinct<T> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        self.0
            .iter()
            .try_for_each(|item| push_item::<Self, T>(item, out))?;
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        Ok(Self(take_items::<Self, T>(bytes)?.into_iter().collect()))
    }
}
