//! A scan over one column family.

use rocksdb::{DB, DBRawIteratorWithThreadMode};
use tidemill_store::{Cursor, Direction, StoreError};

use crate::database::RocksDb;

pub(crate) struct RocksCursor<'a> {
    pub(crate) database: &'a RocksDb,
    pub(crate) iterator: DBRawIteratorWithThreadMode<'a, DB>,
    pub(crate) direction: Direction,
}

impl RocksCursor<'_> {
    /// An iterator that stops being valid has come to its end or to an error.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.iterator.valid() {
            return Ok(());
        }
        self.iterator
            .status()
            .map_err(|e| self.database.failed("scan", e))
    }
}

impl Cursor for RocksCursor<'_> {
    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        if self.iterator.valid() {
            match self.direction {
                Direction::Forward => self.iterator.next(),
                Direction::Backward => self.iterator.prev(),
            }
        }
        self.check()
    }
}
