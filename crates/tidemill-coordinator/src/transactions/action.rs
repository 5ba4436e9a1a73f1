//! What the transaction coordinator asks of its caller.

use std::fmt;

use super::error::TransactionError;
use super::event::{Outcome, TransactionPartition};
use crate::id::{AppendNumber, Producer, ReplyTo, TransactionalId};
use crate::record::Record;

/// What the transaction coordinator asks of its caller, to be done in this order.
#[derive(Clone, Debug)]
pub enum TransactionAction {
    /// Append this record to the id's partition of `__transaction_state`; then report `Written` or `WriteFailed`.
    Append {
        /// The transactional id.
        id: TransactionalId,
        /// Its number for the append.
        number: AppendNumber,
        /// The record.
        record: Record,
    },
    /// Write the transaction's end to each of these partitions, then report `Marked` with those that have it, and with
    /// those that are gone.
    WriteMarkers {
        /// The transactional id.
        id: TransactionalId,
        /// In whose name.
        producer: Producer,
        /// How it ended.
        outcome: Outcome,
        /// Where.
        partitions: Vec<TransactionPartition>,
    },
    /// Answer this request.
    Reply {
        /// Which.
        to: ReplyTo,
        /// With what.
        reply: TransactionReply,
    },
    /// Say this in the log.
    Note {
        /// Of which transactional id.
        id: TransactionalId,
        /// What happened.
        note: TransactionNote,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionReply {
    /// To `Init`: who the producer is from now on.
    Init(Result<Producer, TransactionError>),
    /// To `Add`.
    Add(Result<(), TransactionError>),
    /// To `Verify`.
    Verify(Result<(), TransactionError>),
    /// To `End`: who the producer is from now on.
    End(Result<Producer, TransactionError>),
}

/// What an operator reads in the log about a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionNote {
    /// A producer instance began.
    Began {
        /// Who.
        producer: Producer,
    },
    /// A transaction took longer than its timeout, or its producer was replaced: it is aborted.
    Aborting {
        /// Whose.
        producer: Producer,
        /// Why.
        reason: &'static str,
    },
    /// Markers could not be written everywhere.
    MarkersMissing {
        /// In how many partitions.
        partitions: usize,
    },
    /// An append failed.
    WriteFailed {
        /// What was undone.
        what: &'static str,
    },
    /// Nobody came for `transactional.id.expiration.ms`.
    Expired,
}

impl fmt::Display for TransactionNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { producer } => write!(f, "begins as {producer}"),
            Self::Aborting { producer, reason } => {
                write!(f, "the transaction of {producer} is aborted: {reason}")
            }
            Self::MarkersMissing { partitions } => {
                write!(f, "{partitions} partitions lack their marker, tried again")
            }
            Self::WriteFailed { what } => write!(f, "an append failed, undone: {what}"),
            Self::Expired => write!(f, "forgotten: transactional.id.expiration.ms have passed"),
        }
    }
}
