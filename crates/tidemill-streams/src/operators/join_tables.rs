//! `join`, `left_join`, `outer_join` of tables: the rows of two tables under one key.
//!
//! A join is three operators, as Kafka Streams names them: one takes up the changes of this table (`JOINTHIS`), one
//! those of the other (`JOINOTHER`), and both end in `MERGE`, which keeps the rows if they are kept.

use tidemill_data::BoxError;

use crate::KTable;
use joiner::{Kind, inner, left};

mod declare;
mod joiner;
mod kept;
mod rows;
mod sides;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// The rows whose key both tables have. A change of either table changes the row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let people = app.table(&NAMES).join(&app.table(&CITIES), |_, name, city| format!("{name} of {city}"));
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`join`](Self::join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const TOTALS: Topic<String, i64> = Topic::new("totals");
    /// # const COUNTS: Topic<String, i64> = Topic::new("counts");
    /// # let app = App::new("docs");
    /// let means = app.table(&TOTALS).try_join(&app.table(&COUNTS), |_, total, count| match count {
    ///     0 => Ok(None),
    ///     count if count < 0 => Err("a negative count".into()),
    ///     count => Ok(Some(total / count)),
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, None, Kind::Inner, inner(join))
    }

    /// All rows of this table, each with the other table's row of the same key if there is one.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # let app = App::new("docs");
    /// let people = app.table(&NAMES).left_join(&app.table(&CITIES), |_, name, city| match city {
    ///     Some(city) => format!("{name} of {city}"),
    ///     None => name,
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn left_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_left_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`left_join`](Self::left_join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const AGES: Topic<String, i64> = Topic::new("ages");
    /// # let app = App::new("docs");
    /// let adults = app.table(&NAMES).try_left_join(&app.table(&AGES), |_, name, age| match age {
    ///     Some(age) if age < 0 => Err("a negative age".into()),
    ///     Some(age) if age < 18 => Ok(None),
    ///     _ => Ok(Some(name)),
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_left_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, None, Kind::Left, left(join))
    }

    /// The rows whose key at least one of the tables has.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const WON: Topic<String, i64> = Topic::new("won");
    /// # const LOST: Topic<String, i64> = Topic::new("lost");
    /// # let app = App::new("docs");
    /// let balance = app.table(&WON).outer_join(&app.table(&LOST), |_, won, lost| {
    ///     won.unwrap_or_default() - lost.unwrap_or_default()
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn outer_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, Option<V>, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_outer_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`outer_join`](Self::outer_join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const OURS: Topic<String, i64> = Topic::new("ours");
    /// # const THEIRS: Topic<String, i64> = Topic::new("theirs");
    /// # let app = App::new("docs");
    /// let differing = app.table(&OURS).try_outer_join(&app.table(&THEIRS), |key, ours, theirs| {
    ///     if key.is_empty() {
    ///         return Err("a row without a name".into());
    ///     }
    ///     Ok((ours != theirs).then(|| format!("{ours:?} here, {theirs:?} there")))
    /// });
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_outer_join<T: Clone + 'static, W: 'static>(
        &self,
        other: &KTable<K, T>,
        join: impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_tables(other, None, Kind::Outer, join)
    }
}
