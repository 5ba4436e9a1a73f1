//! Which batches belong to transactions that were aborted. Pure.

use std::collections::{HashSet, VecDeque};

use tidemill_protocol::batch::BatchHeader;
use tidemill_protocol::messages::fetch::AbortedTransaction;

/// Follows the aborted transactions of one Fetch answer through its batches.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    // In order of their first offset.
    to_come: VecDeque<AbortedTransaction>,
    open: HashSet<i64>,
}

impl Aborted {
    pub(super) fn new(list: Option<Vec<AbortedTransaction>>) -> Self {
        let mut list = list.unwrap_or_default();
        list.sort_by_key(|transaction| transaction.first_offset);
        Self {
            to_come: list.into(),
            open: HashSet::new(),
        }
    }

    /// Whether this batch's records are those of an aborted transaction. Every batch has to be shown, in order.
    pub(super) fn covers(&mut self, header: &BatchHeader) -> bool {
        if self.to_come.is_empty() && self.open.is_empty() {
            return false;
        }
        while let Some(next) = self
            .to_come
            .pop_front_if(|next| next.first_offset <= header.last_offset())
        {
            self.open.insert(next.producer_id);
        }
        if !header.attributes.is_transactional() {
            return false;
        }
        if header.attributes.is_control() {
            // The marker ends the transaction; the same producer's next one may be committed.
            self.open.remove(&header.producer_id);
            return false;
        }
        self.open.contains(&header.producer_id)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_protocol::batch::{Batch, BatchBuilder, ProducerStamp};
    use tidemill_protocol::compression::Compression;

    use super::*;

    fn header(producer: i64, offset: i64, is_marker: bool) -> BatchHeader {
        let stamp = ProducerStamp {
            id: producer,
            epoch: 0,
            base_sequence: 0,
        };
        let mut builder = BatchBuilder::new(Compression::None)
            .producer(stamp)
            .transactional()
            .assigned(offset, 0);
        if is_marker {
            builder = builder.control();
        }
        builder.push(0, None, None, []);
        *Batch::parse(&builder.build()).unwrap().header()
    }

    #[test]
    fn a_transaction_is_covered_from_its_first_offset_to_its_marker() {
        let aborted = |producer_id, first_offset| AbortedTransaction {
            producer_id,
            first_offset,
        };
        let mut list = Aborted::new(Some(vec![aborted(1, 6), aborted(1, 1)]));
        let covered = [
            (header(1, 0, false), false),
            (header(1, 1, false), true),
            (header(2, 2, false), false),
            (header(1, 3, true), false),
            (header(1, 4, false), false),
            (header(1, 5, true), false),
            (header(1, 6, false), true),
        ];
        for (header, expected) in covered {
            assert_eq!(list.covers(&header), expected, "{}", header.base_offset);
        }
    }
}
