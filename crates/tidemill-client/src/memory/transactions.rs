//! The transaction coordinator of the cluster in memory, and the writer that talks to it.

use std::collections::BTreeMap;

use super::MemoryCluster;
use super::cluster::State;
use super::log::TransactionNumber;
use super::writer::MemoryWriter;
use crate::{
    Committed, GroupMetadata, Outgoing, TopicPartition, TransactionError, TransactionalWriter,
    TransportError, Writer, WriterTopic,
};

/// Every `transactional.id` and what it is doing.
#[derive(Default)]
pub(super) struct Transactions {
    ids: BTreeMap<String, Ongoing>,
    begun: u64,
}

#[derive(Default)]
struct Ongoing {
    // One more at every take-over; a writer of an earlier epoch is fenced.
    epoch: u32,
    open: Option<TransactionNumber>,
    offsets: Vec<(String, TopicPartition, Committed)>,
}

impl Transactions {
    /// Whether an open transaction is going to change a committed offset of this group.
    pub(super) fn is_unstable(&self, group: &str, partition: &TopicPartition) -> bool {
        let mut pending = self.ids.values().flat_map(|ongoing| &ongoing.offsets);
        pending.any(|(to, of, _)| to == group && of == partition)
    }
}

impl State {
    /// Ends the open transaction of an id, if there is one.
    fn end_transaction(&mut self, id: &str, commit: bool) {
        let Some(ongoing) = self.transactions.ids.get_mut(id) else {
            return;
        };
        let offsets = std::mem::take(&mut ongoing.offsets);
        let Some(number) = ongoing.open.take() else { return };
        self.logs.end(number, commit);
        if commit {
            for (group, partition, offset) in offsets {
                self.groups
                    .entry(group)
                    .or_default()
                    .set_offset(partition, offset);
            }
        }
    }

    /// Aborts the open transaction of an id and fences whoever has it.
    pub(super) fn take_over(&mut self, id: &str) -> u32 {
        self.end_transaction(id, false);
        let ongoing = self.transactions.ids.entry(id.to_owned()).or_default();
        ongoing.epoch += 1;
        ongoing.epoch
    }
}

pub(super) struct MemoryTransactionalWriter {
    cluster: MemoryCluster,
    id: String,
    epoch: u32,
    writer: MemoryWriter,
}

impl MemoryTransactionalWriter {
    pub(super) fn new(cluster: MemoryCluster, id: &str) -> Self {
        let epoch = cluster.shared.lock().take_over(id);
        cluster.shared.changed.notify_all();
        Self {
            writer: MemoryWriter::new(cluster.clone()),
            cluster,
            id: id.to_owned(),
            epoch,
        }
    }

    fn ongoing<'a>(&self, state: &'a mut State) -> Result<&'a mut Ongoing, TransactionError> {
        let ongoing = state.transactions.ids.get_mut(&self.id);
        ongoing
            .filter(|ongoing| ongoing.epoch == self.epoch)
            .ok_or_else(|| TransactionError::Fenced {
                id: self.id.clone(),
                reason: format!("epoch {} is over", self.epoch),
            })
    }

    fn end(&mut self, commit: bool) -> Result<(), TransactionError> {
        let cluster = self.cluster.clone();
        let mut state = cluster.shared.lock();
        self.ongoing(&mut state)?;
        state.end_transaction(&self.id, commit);
        drop(state);
        self.writer.within = None;
        cluster.shared.changed.notify_all();
        Ok(())
    }
}

impl Writer for MemoryTransactionalWriter {
    fn topic(&mut self, name: &str) -> Result<WriterTopic, TransportError> {
        self.writer.topic(name)
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), TransportError> {
        assert!(
            records.is_empty() || self.writer.within.is_some(),
            "records are sent within a transaction"
        );
        let fenced = self.ongoing(&mut self.cluster.shared.lock()).err();
        match fenced {
            Some(error) => Err(TransportError::Cluster {
                operation: "send in a transaction",
                reason: error.to_string(),
            }),
            None => self.writer.send(records),
        }
    }

    fn poll(&mut self) -> Result<(), TransportError> {
        self.writer.poll()
    }

    fn flush(&mut self) -> Result<(), TransportError> {
        self.writer.flush()
    }
}

impl TransactionalWriter for MemoryTransactionalWriter {
    fn begin(&mut self) -> Result<(), TransactionError> {
        let mut state = self.cluster.shared.lock();
        state.transactions.begun += 1;
        let number = TransactionNumber(state.transactions.begun);
        let ongoing = self.ongoing(&mut state)?;
        assert!(ongoing.open.is_none(), "one transaction is open at a time");
        ongoing.open = Some(number);
        drop(state);
        self.writer.within = Some(number);
        Ok(())
    }

    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> Result<(), TransactionError> {
        let mut state = self.cluster.shared.lock();
        self.ongoing(&mut state)?;
        let known = state.groups.get(&group.group);
        if !known.is_some_and(|known| known.is_current(group)) {
            let GroupMetadata {
                member, generation, ..
            } = group;
            return Err(TransactionError::Abortable(format!(
                "the group has moved on from member {member} of generation {generation}"
            )));
        }
        let offsets = offsets
            .iter()
            .map(|(at, next)| (group.group.clone(), at.clone(), next.clone()));
        self.ongoing(&mut state)?.offsets.extend(offsets);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), TransactionError> {
        self.writer
            .flush()
            .map_err(|lost| TransactionError::Abortable(lost.to_string()))?;
        let mut state = self.cluster.shared.lock();
        if state.failing_commits > 0 {
            state.failing_commits -= 1;
            return Err(TransactionError::Abortable("injected failure".into()));
        }
        let lost = state.lost_replies > 0;
        state.lost_replies -= usize::from(lost);
        drop(state);
        self.end(true)?;
        if lost {
            let (operation, reason) = ("commit a transaction", "the answer was lost".to_owned());
            return Err(TransportError::Cluster { operation, reason }.into());
        }
        Ok(())
    }

    fn abort(&mut self) -> Result<(), TransactionError> {
        // Losses of a transaction that never was are none.
        let _ = self.writer.poll();
        self.end(false)
    }
}
