//! `map_values` of a table: another value for each row.

use tidemill_data::{BoxError, StoreName};

use crate::{KTable, Materialized};

use super::row_wise::Absent;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Makes each row's value anew. A row that went stays gone: `change` never sees it.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let in_cents = app.table(&BALANCES).map_values(|_, euros| euros * 100);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn map_values<W: 'static>(
        &self,
        change: impl Fn(&K, V) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(None, move |key, value| Ok(Some(change(key, value))))
    }

    /// As [`map_values`](Self::map_values), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// const CENTS: StoreName<String, i64> = StoreName::new("cents");
    /// # let app = App::new("docs");
    /// let in_cents = app.table(&BALANCES).map_values_as(&CENTS, |_, euros| euros * 100);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn map_values_as<W: 'static>(
        &self,
        store: &StoreName<K, W>,
        change: impl Fn(&K, V) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(Some(store.into()), move |key, value| Ok(Some(change(key, value))))
    }

    /// As [`map_values`](Self::map_values), for rows that may go: `None` deletes the row downstream.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let in_cents = app.table(&BALANCES).map_values_option(|_, euros| euros.checked_mul(100));
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn map_values_option<W: 'static>(
        &self,
        change: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(None, move |key, value| Ok(change(key, value)))
    }

    /// As [`map_values_option`](Self::map_values_option), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// const CENTS: StoreName<String, i64> = StoreName::new("cents");
    /// # let app = App::new("docs");
    /// let in_cents = app.table(&BALANCES).map_values_option_as(&CENTS, |_, euros| euros.checked_mul(100));
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn map_values_option_as<W: 'static>(
        &self,
        store: &StoreName<K, W>,
        change: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(Some(store.into()), move |key, value| Ok(change(key, value)))
    }

    /// As [`map_values`](Self::map_values), with a closure that may fail. A change whose row fails is handled by the
    /// policy and goes no further: downstream keeps the row as it was.
    ///
    /// ```
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, String> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let balances = app
    ///     .table(&BALANCES)
    ///     .try_map_values(|_, balance| Ok(balance.parse::<i64>()?))
    ///     .on_error(Policy::Skip);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_map_values<W: 'static>(
        &self,
        change: impl Fn(&K, V) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(None, move |key, value| change(key, value).map(Some))
    }

    /// As [`try_map_values`](Self::try_map_values), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, String> = Topic::new("balances");
    /// const PARSED: StoreName<String, i64> = StoreName::new("parsed");
    /// # let app = App::new("docs");
    /// let balances = app.table(&BALANCES).try_map_values_as(&PARSED, |_, balance| Ok(balance.parse()?));
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_map_values_as<W: 'static>(
        &self,
        store: &StoreName<K, W>,
        change: impl Fn(&K, V) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.mapped(Some(store.into()), move |key, value| change(key, value).map(Some))
    }

    fn mapped<W: 'static>(
        &self,
        materialized: Option<Materialized<K, W>>,
        change: impl Fn(&K, V) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.row_wise("KTABLE-MAPVALUES-", Absent::Told, materialized, change)
    }
}
