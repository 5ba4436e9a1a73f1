//! What the transaction coordinator refuses, and why. The broker maps each to its wire code in one place.

use crate::error::WriteFailure;

/// Why a request of a transactional producer was refused. The names are those of Kafka's error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TransactionError {
    /// The transactional id is not known, or belongs to another producer id.
    #[error("the transactional id does not belong to this producer id")]
    InvalidProducerIdMapping,
    /// A newer instance of the producer took over.
    #[error("a newer instance of the producer took over")]
    ProducerFenced,
    /// The transaction before is being finished; the client tries again.
    #[error("another change to the transaction is on its way")]
    ConcurrentTransactions,
    /// The transaction is not in a state in which this can be done.
    #[error("the transaction is in another state")]
    InvalidTxnState,
    /// The timeout lies outside what the broker allows.
    #[error("the timeout is not between 1 and transaction.max.timeout.ms")]
    InvalidTransactionTimeout,
    /// The partition is not part of the transaction: the client must abort.
    #[error("the partition is not part of the transaction")]
    NotInTransaction,
    /// The coordinator cannot do it for a moment; the client looks for it again.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// This coordinator does not hold the transactional id (or lost its log).
    #[error("this is not the coordinator of the transactional id")]
    NotCoordinator,
    /// Something this broker cannot do anything about, such as a record larger than its log takes.
    #[error("the server failed")]
    UnknownServerError,
}

impl From<WriteFailure> for TransactionError {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Unavailable => Self::CoordinatorNotAvailable,
            WriteFailure::NotLeader => Self::NotCoordinator,
            WriteFailure::TooLarge => Self::UnknownServerError,
        }
    }
}
