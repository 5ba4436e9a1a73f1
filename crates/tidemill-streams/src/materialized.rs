//! Where a table's rows are kept.

use tidemill_data::{Data, StoreName, Wire};
use tidemill_store::{StoreKind, StoreSpec};

use crate::graph::{Graph, StoreDecl, StoreIndex};

/// How an operator keeps its rows: under which name, in which formats.
///
/// A `&StoreName` is one; [`Materialized::unnamed`] lets the operator's place in the program name the store, which
/// then changes its name when operators are added before it.
pub struct Materialized<K, V> {
    pub(crate) name: Option<String>,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
    pub(crate) changelog: bool,
}

impl<K: Data, V: Data> Materialized<K, V> {
    /// A store named by its place in the program, with the types' own formats.
    #[must_use]
    pub fn unnamed() -> Self {
        Self {
            name: None,
            key: Wire::own(),
            value: Wire::own(),
            changelog: true,
        }
    }
}

impl<K, V> Materialized<K, V> {
    /// Keeps no changelog: the rows are lost with the machine.
    #[must_use]
    pub fn without_changelog(self) -> Self {
        Self {
            changelog: false,
            ..self
        }
    }

    /// Declares the store, with a name as Kafka Streams makes it if none was given.
    pub(crate) fn declare(
        &self,
        graph: &mut Graph,
        prefix: &str,
        kind: StoreKind,
        active: bool,
    ) -> StoreIndex {
        let name = self
            .name
            .clone()
            .unwrap_or_else(|| graph.name(&format!("{prefix}STATE-STORE-")));
        graph.store(StoreDecl {
            spec: StoreSpec::new(name, kind),
            active,
            named: self.name.is_some(),
            changelog: self.changelog,
            global_topic: None,
        })
    }
}

impl<K: 'static, V: 'static> From<&StoreName<K, V>> for Materialized<K, V> {
    fn from(name: &StoreName<K, V>) -> Self {
        Self {
            name: Some(name.name().to_owned()),
            key: name.key().clone(),
            value: name.value().clone(),
            changelog: true,
        }
    }
}
