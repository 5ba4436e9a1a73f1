//! `filter`, `filter_not` of a table: a row that is not wanted is a row that went.

use tidemill_data::{BoxError, StoreName};

use crate::{KTable, Materialized};

use super::row_wise::Absent;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// The rows for which `keep` is true. A row that is no longer wanted is deleted downstream.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let in_debt = app.table(&BALANCES).filter(|_, balance| *balance < 0);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(None, move |key, value| Ok(keep(key, value)))
    }

    /// As [`filter`](Self::filter), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// const IN_DEBT: StoreName<String, i64> = StoreName::new("in-debt");
    /// # let app = App::new("docs");
    /// let in_debt = app.table(&BALANCES).filter_as(&IN_DEBT, |_, balance| *balance < 0);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn filter_as(
        &self,
        store: &StoreName<K, V>,
        keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filtered(Some(store.into()), move |key, value| Ok(keep(key, value)))
    }

    /// The rows for which `leave_out` is false.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let used = app.table(&BALANCES).filter_not(|_, balance| *balance == 0);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn filter_not(&self, leave_out: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(None, move |key, value| Ok(!leave_out(key, value)))
    }

    /// As [`filter_not`](Self::filter_not), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// const USED: StoreName<String, i64> = StoreName::new("used");
    /// # let app = App::new("docs");
    /// let used = app.table(&BALANCES).filter_not_as(&USED, |_, balance| *balance == 0);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn filter_not_as(
        &self,
        store: &StoreName<K, V>,
        leave_out: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filtered(Some(store.into()), move |key, value| Ok(!leave_out(key, value)))
    }

    /// As [`filter`](Self::filter), with a closure that may fail. A change whose row fails is handled by the policy
    /// and goes no further: downstream keeps the row as it was.
    ///
    /// ```
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, String> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let in_debt = app
    ///     .table(&BALANCES)
    ///     .try_filter(|_, balance| Ok(balance.parse::<i64>()? < 0))
    ///     .on_error(Policy::Skip);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_filter(
        &self,
        keep: impl Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.filtered(None, keep)
    }

    /// As [`try_filter`](Self::try_filter), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const BALANCES: Topic<String, String> = Topic::new("balances");
    /// const IN_DEBT: StoreName<String, String> = StoreName::new("in-debt");
    /// # let app = App::new("docs");
    /// let in_debt = app.table(&BALANCES).try_filter_as(&IN_DEBT, |_, balance| Ok(balance.parse::<i64>()? < 0));
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn try_filter_as(
        &self,
        store: &StoreName<K, V>,
        keep: impl Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.filtered(Some(store.into()), keep)
    }

    fn filtered(
        &self,
        materialized: Option<Materialized<K, V>>,
        keep: impl Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> Self {
        let filtered = self.row_wise(
            "KTABLE-FILTER-",
            Absent::Silent,
            materialized,
            move |key, value| Ok(keep(key, &value)?.then_some(value)),
        );
        KTable {
            value: self.value.clone(),
            ..filtered
        }
    }
}
