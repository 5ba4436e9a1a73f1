//! Transactions: records and offsets that become visible together or not at all.

use crate::{Committed, GroupMetadata, TopicPartition, TransportError, Writer};

/// A producer of transactions, from [`Transport::transactional_writer`](crate::Transport::transactional_writer).
///
/// ```text
///   begin → send … → send_offsets → commit
///                └── any error ──→ abort → begin …
/// ```
///
/// Records are sent by the methods of [`Writer`], between [`begin`](Self::begin) and [`commit`](Self::commit) only. When one
/// of those fails, [`abort`](Self::abort) says whether the writer can go on.
pub trait TransactionalWriter: Writer {
    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), TransactionError>;

    /// Adds offsets of a group's next records to the transaction. `group` is refused as [`TransactionError::Abortable`]
    /// when the group has moved on from it.
    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> Result<(), TransactionError>;

    /// Waits until all records are acknowledged, and makes the transaction visible.
    fn commit(&mut self) -> Result<(), TransactionError>;

    /// Ends the transaction without a trace for readers of committed records; none being open is no error.
    fn abort(&mut self) -> Result<(), TransactionError>;
}

/// Why a step of a transaction was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Another producer has this `transactional.id` now, or the broker has given the transaction up. Nothing of the
    /// open transaction becomes visible, and this writer can do nothing more.
    #[error("transactional.id {id} was fenced: {reason}")]
    Fenced {
        /// The `transactional.id`.
        id: String,
        /// What the client or broker said.
        reason: String,
    },
    /// This transaction cannot be committed; abort it and begin another.
    #[error("the transaction must be aborted: {0}")]
    Abortable(String),
    /// This writer can do nothing more, and whether an open transaction was committed is not known. A new writer under
    /// the same id settles it.
    #[error(transparent)]
    Fatal(#[from] TransportError),
}
