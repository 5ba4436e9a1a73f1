//! Producer ids: taken from the metadata log by the block, given out one by one.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::topics::{TopicError, Topics};

/// How many ids one write to the metadata log sets aside; those not given out when the broker stops are lost.
const BLOCK: u32 = 1000;

/// The ids that are set aside and not given out yet.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    // Guards the block; held while another is set aside, so that two requests do not take one each.
    block: Mutex<Range<u64>>,
}

impl ProducerIds {
    /// An id that nobody else has.
    pub(crate) fn next(&self, topics: &Topics) -> Result<i64, TopicError> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.is_empty() {
            let first = topics.producer_ids(BLOCK)?;
            *block = first..first + u64::from(BLOCK);
        }
        let id = block.next().expect("a block was just set aside");
        i64::try_from(id).map_err(|_| TopicError::Request("producer ids are used up"))
    }
}
