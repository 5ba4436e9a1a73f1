//! `KTable`: a table of the latest value of each key, as a handle to compose operators on.

use std::sync::Arc;

use tidemill_data::{Headers, Stamped, Timestamp, Wire};

use crate::{
    Change,
    builder::Builder,
    context::Context,
    edge::Outlet,
    failure::{Halt, Policy},
    graph::{NodeId, StoreIndex},
};

/// A table of the latest value of each key.
///
/// Operators on a table read its changes, row by row. A table may be read by several.
pub struct KTable<K, V> {
    pub(crate) builder: Builder,
    pub(crate) node: NodeId,
    pub(crate) outlet: Arc<Outlet<K, Change<V>>>,
    pub(crate) rows: Arc<dyn Rows<K, V>>,
    pub(crate) key: Option<Wire<K>>,
    pub(crate) value: Option<Wire<V>>,
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            builder: self.builder.clone(),
            node: self.node,
            outlet: Arc::clone(&self.outlet),
            rows: Arc::clone(&self.rows),
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

/// What an operator that makes a table offers to those that read it.
pub(crate) trait Rows<K, V>: Send + Sync {
    /// Asks for old values in changes. With `force`, by keeping rows that are not kept yet; without, only if they
    /// are there anyway. Whether changes now have them.
    fn send_old(&self, builder: &Builder, force: bool) -> bool;

    /// Whether changes may be of the past: the rows are kept in a store of versions, or made of such rows.
    fn versioned(&self) -> bool {
        false
    }

    /// How to look up rows. What has to be kept for that is kept from now on.
    fn lookup(&self, builder: &Builder) -> Lookup<K, V>;
}

/// How to look up rows of a table, and the stores that are read for it.
pub(crate) struct Lookup<K, V> {
    pub(crate) getter: Arc<dyn Getter<K, V>>,
    pub(crate) stores: Vec<StoreIndex>,
}

/// A row that was looked up.
pub(crate) struct LookedUp<V> {
    pub(crate) value: V,
    pub(crate) timestamp: Timestamp,
    /// Its headers, where the app preserves them.
    pub(crate) headers: Headers,
}

impl<V> LookedUp<V> {
    pub(crate) fn new(row: Stamped<V>, headers: Headers) -> Self {
        Self {
            value: row.value,
            timestamp: row.timestamp,
            headers,
        }
    }
}

/// Reads one row.
pub(crate) trait Getter<K, V>: Send + Sync {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<V>>, Halt>;

    /// The row as it was at a time, where versions are kept; else as it is.
    fn get_as_of(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &K,
        _at: Timestamp,
    ) -> Result<Option<LookedUp<V>>, Halt> {
        self.get(ctx, node, key)
    }
}

impl<K: 'static, V: 'static> KTable<K, V> {
    /// What happens to records that fail in the operator that made this table, instead of the app's policy.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const TEXTS: Topic<String, String> = Topic::new("texts");
    /// const NUMBERS: StoreName<String, i64> = StoreName::new("numbers");
    /// # let app = App::new("docs");
    /// let texts = app.table(&TEXTS);
    /// let _ = texts.try_map_values_as(&NUMBERS, |_, text| Ok(text.parse::<i64>()?)).on_error(Policy::Skip);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&TEXTS, "a", "no number", ms(1));
    /// test.pipe(&TEXTS, "b", "7", ms(2));
    /// assert_eq!(test.rows(&NUMBERS).len(), 1);
    /// ```
    #[must_use]
    pub fn on_error(self, policy: Policy) -> Self {
        self.builder.lock().node(self.node).policy = Some(policy);
        self
    }
}
