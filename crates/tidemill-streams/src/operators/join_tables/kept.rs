//! The joins of tables whose rows are kept in a store of a name.

use tidemill_data::{BoxError, StoreName};

use super::joiner::{Kind, inner, left};
use crate::KTable;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// As [`join`](Self::join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// const PEOPLE: StoreName<String, String> = StoreName::new("people");
    /// # let app = App::new("docs");
    /// app.table(&NAMES).join_as(&app.table(&CITIES), &PEOPLE, |_, name, city| format!("{name} of {city}"));
    /// # app.topology().unwrap();
    /// ```
    pub fn join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`try_join`](Self::try_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const TOTALS: Topic<String, i64> = Topic::new("totals");
    /// # const COUNTS: Topic<String, i64> = Topic::new("counts");
    /// const MEANS: StoreName<String, i64> = StoreName::new("means");
    /// # let app = App::new("docs");
    /// app.table(&TOTALS)
    ///     .try_join_as(&app.table(&COUNTS), &MEANS, |_, total, count| Ok(total.checked_div(count)));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, Some(store.into()), Kind::Inner, inner(join))
    }

    /// As [`left_join`](Self::left_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// const PEOPLE: StoreName<String, String> = StoreName::new("people");
    /// # let app = App::new("docs");
    /// app.table(&NAMES).left_join_as(&app.table(&CITIES), &PEOPLE, |_, name, city| {
    ///     format!("{name} of {}", city.unwrap_or_default())
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_left_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`try_left_join`](Self::try_left_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const AGES: Topic<String, i64> = Topic::new("ages");
    /// const ADULTS: StoreName<String, String> = StoreName::new("adults");
    /// # let app = App::new("docs");
    /// app.table(&NAMES).try_left_join_as(&app.table(&AGES), &ADULTS, |_, name, age| {
    ///     Ok(age.is_none_or(|age| age >= 18).then_some(name))
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, Some(store.into()), Kind::Left, left(join))
    }

    /// As [`outer_join`](Self::outer_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const WON: Topic<String, i64> = Topic::new("won");
    /// # const LOST: Topic<String, i64> = Topic::new("lost");
    /// const BALANCE: StoreName<String, i64> = StoreName::new("balance");
    /// # let app = App::new("docs");
    /// app.table(&WON).outer_join_as(&app.table(&LOST), &BALANCE, |_, won, lost| {
    ///     won.unwrap_or_default() - lost.unwrap_or_default()
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn outer_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, Option<V>, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_outer_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`try_outer_join`](Self::try_outer_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const OURS: Topic<String, i64> = Topic::new("ours");
    /// # const THEIRS: Topic<String, i64> = Topic::new("theirs");
    /// const DIFFERING: StoreName<String, String> = StoreName::new("differing");
    /// # let app = App::new("docs");
    /// app.table(&OURS).try_outer_join_as(&app.table(&THEIRS), &DIFFERING, |_, ours, theirs| {
    ///     Ok((ours != theirs).then(|| format!("{ours:?} here, {theirs:?} there")))
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_outer_join_as<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, Some(store.into()), Kind::Outer, join)
    }
}
