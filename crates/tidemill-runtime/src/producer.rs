//! The producer of a thread: plain, or one whose transactions begin with the first record after a commit.

use std::sync::Arc;
use std::time::Duration;

use tidemill_client::{
    Committed, GroupMetadata, Outgoing, TopicPartition, TransactionError, TransactionSettings,
    TransactionalWriter, Transport, TransportError, Writer,
};

use crate::error::RunError;

/// What keeps work from being committed.
#[derive(Debug)]
pub(crate) enum Setback {
    /// The transaction is void. The work is done again from the last commit.
    StartOver(TransactionError),
    /// The thread cannot go on.
    Failed(RunError),
}

impl From<RunError> for Setback {
    fn from(error: RunError) -> Self {
        Self::Failed(error)
    }
}

impl From<TransactionError> for Setback {
    fn from(error: TransactionError) -> Self {
        Self::StartOver(error)
    }
}

impl From<TransportError> for Setback {
    fn from(error: TransportError) -> Self {
        Self::Failed(error.into())
    }
}

/// How a thread's records are written.
pub(crate) enum Guarantee {
    /// Records are acknowledged before their offsets are committed.
    AtLeastOnce,
    /// Records and offsets become visible together. The settings name who writes.
    ExactlyOnce(TransactionSettings),
}

impl Guarantee {
    pub(crate) fn exactly_once(id: String, timeout: Duration) -> Self {
        Self::ExactlyOnce(TransactionSettings { id, timeout })
    }
}

pub(crate) enum Producer {
    Plain(Box<dyn Writer>),
    Transactional(Box<Transactional>),
}

pub(crate) struct Transactional {
    writer: Box<dyn TransactionalWriter>,
    // A transaction was begun and not ended.
    open: bool,
}

impl Producer {
    /// Connects; a producer of transactions thereby fences whoever had its id.
    pub(crate) fn new(
        transport: &Arc<dyn Transport>,
        name: &str,
        guarantee: &Guarantee,
    ) -> Result<Self, RunError> {
        Ok(match guarantee {
            Guarantee::AtLeastOnce => Self::Plain(transport.writer(name)?),
            Guarantee::ExactlyOnce(settings) => {
                let writer = transport.transactional_writer(name, settings)?;
                Self::Transactional(Box::new(Transactional { writer, open: false }))
            }
        })
    }

    pub(crate) fn writer(&mut self) -> &mut dyn Writer {
        match self {
            Self::Plain(writer) => &mut **writer,
            Self::Transactional(transactional) => &mut *transactional.writer,
        }
    }

    pub(crate) fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), Setback> {
        if records.is_empty() {
            return Ok(());
        }
        match self {
            Self::Plain(writer) => Ok(writer.send(records)?),
            Self::Transactional(transactional) => {
                transactional.begin()?;
                transactional.writer.send(records).map_err(void)
            }
        }
    }

    pub(crate) fn poll(&mut self) -> Result<(), Setback> {
        match self {
            Self::Plain(writer) => Ok(writer.poll()?),
            Self::Transactional(transactional) => transactional.writer.poll().map_err(void),
        }
    }

    /// Whether a transaction is open.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Transactional(transactional) if transactional.open)
    }
}

impl Transactional {
    fn begin(&mut self) -> Result<(), TransactionError> {
        if !self.open {
            self.writer.begin()?;
            self.open = true;
        }
        Ok(())
    }

    /// Makes what was sent visible, together with the offsets.
    pub(crate) fn commit(
        &mut self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> Result<(), TransactionError> {
        self.begin()?;
        if !offsets.is_empty() {
            self.writer.send_offsets(offsets, group)?;
        }
        self.writer.commit()?;
        self.open = false;
        Ok(())
    }

    /// Ends the open transaction without a trace. An error means that this producer is of no more use.
    pub(crate) fn abort(&mut self) -> Result<(), TransactionError> {
        if std::mem::take(&mut self.open) {
            self.writer.abort()?;
        }
        Ok(())
    }
}

/// A record that was lost voids its transaction; whether more is wrong, the abort tells.
fn void(error: TransportError) -> Setback {
    Setback::StartOver(TransactionError::Abortable(error.to_string()))
}
