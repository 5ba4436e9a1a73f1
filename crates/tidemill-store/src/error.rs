//! What goes wrong with state.

use crate::Family;

/// A read or write of state that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database under the stores failed.
    #[error("{operation} of the state in {place}: {source}")]
    Backend {
        /// What was asked for, as a verb: `get`, `write`.
        operation: &'static str,
        /// The database's path.
        place: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Rows did not reach the database, for which there may be no room. None of them did, and nothing else changed.
    #[error("store {}: {source}", .stores.join(", "))]
    NotWritten {
        /// The stores that had rows to write.
        stores: Vec<String>,
        /// What the database said.
        source: Box<StoreError>,
    },
    /// The database was opened without a family for this store.
    #[error("the database has no family named {name:?}")]
    NoFamily {
        /// The store's name.
        name: String,
    },
    /// A family that the database does not have.
    #[error("the database has no {0:?}")]
    UnknownFamily(Family),
    /// A row that no store of its kind writes.
    #[error("the state holds {what}")]
    Corrupt {
        /// What is wrong with the row.
        what: &'static str,
    },
}
