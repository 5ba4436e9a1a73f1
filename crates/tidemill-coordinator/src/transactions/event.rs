//! What may happen to a transactional id: requests, finished appends and markers, and time.

use std::fmt;

use crate::error::WriteFailure;
use crate::id::{AppendNumber, Producer, ReplyTo, TopicName};

/// A partition that is part of a transaction.
pub type TransactionPartition = (TopicName, i32);

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// Its records do not.
    Abort,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::Abort => "abort",
        })
    }
}

/// Which protocol the client speaks, known from its request's version (`transaction.version` in Kafka).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientProtocol {
    /// One epoch for the life of a producer instance.
    Classic,
    /// KIP-890: one epoch for each transaction, and partitions added by writing to them.
    EpochPerTransaction,
}

/// What may happen to a transactional id.
#[derive(Clone, Debug)]
pub enum TransactionEvent {
    /// `InitProducerId`: a producer instance begins, and fences those before it.
    Init {
        /// The request.
        request: InitRequest,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// Partitions become part of the transaction, which begins with the first of them.
    Add {
        /// Who asks.
        producer: Producer,
        /// Which.
        partitions: Vec<TransactionPartition>,
        /// How the client speaks.
        protocol: ClientProtocol,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// Whether a partition is part of the transaction, asked before the first record of the transaction is written to it.
    Verify {
        /// Who asks.
        producer: Producer,
        /// Which.
        partition: TransactionPartition,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// `EndTxn`. The answer waits until the decision is written, not until the markers are.
    End {
        /// Who asks.
        producer: Producer,
        /// How the transaction ends.
        outcome: Outcome,
        /// How the client speaks.
        protocol: ClientProtocol,
        /// Whom to answer.
        to: ReplyTo,
    },
    /// An append that was asked for is in the log.
    Written(AppendNumber),
    /// An append that was asked for is not in the log and will not be.
    WriteFailed(AppendNumber, WriteFailure),
    /// These partitions have their marker, or are gone. Those that are missing are tried again.
    Marked {
        /// Whose markers.
        producer: Producer,
        /// Which partitions.
        partitions: Vec<TransactionPartition>,
    },
    /// A deadline may have passed.
    Tick,
}

/// `InitProducerId` of a transactional producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// `transaction.timeout.ms`
    pub timeout_ms: i32,
    /// Who the producer was, if it recovers from an error on its own (KIP-360).
    pub was: Option<Producer>,
}
