//! Where readers of a segment stopped: who reads on from there is spared the search.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Located;
use crate::types::Offset;

/// Readers that are remembered, each a consumer at its own place in the same segment.
const BOOKMARKS_MAX: usize = 8;

/// The batches that recent reads would have returned next, oldest first. Published batches never move, so none is wrong.
#[derive(Debug, Default)]
pub(super) struct Bookmarks {
    // Guards the list only, for as long as it takes to change it.
    next: Mutex<VecDeque<Located>>,
}

impl Bookmarks {
    /// Notes where a reader will go on.
    pub(super) fn put(&self, next: Located) {
        let mut bookmarks = self.lock();
        if bookmarks.len() == BOOKMARKS_MAX {
            bookmarks.pop_front();
        }
        bookmarks.push_back(next);
    }

    /// The batch that begins at `offset`, if a reader stopped there. It is that reader's: the next one finds its own.
    pub(super) fn take(&self, offset: Offset) -> Option<Located> {
        let mut bookmarks = self.lock();
        let at = bookmarks
            .iter()
            .position(|batch| batch.header.base_offset == offset)?;
        bookmarks.remove(at)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Located>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
