//! `ByteStore`: the seam between stores and the database under them.

use crate::StoreError;

/// One sorted key space of a [`ByteStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family(u16);

impl Family {
    /// Where the stores keep what they know of themselves. Every database has it.
    pub const METADATA: Self = Self(0);

    /// The family of the store that was the `position`th in the list the database was opened with.
    ///
    /// # Panics
    /// When a database is opened with more than 65,534 stores.
    #[must_use]
    pub fn of_store(position: usize) -> Self {
        Self(u16::try_from(position + 1).expect("a task has fewer than 65,535 stores"))
    }

    /// 0 for the metadata, and 1 more than the store's position for a store.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Keys from `from`, inclusive, to `to`, exclusive; without `to` to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// The first key.
    pub from: &'a [u8],
    /// The key after the last one.
    pub to: Option<&'a [u8]>,
}

impl<'a> KeyRange<'a> {
    /// Every key.
    pub const ALL: Self = Self { from: &[], to: None };

    /// Keys from `from`, inclusive, to `to`, exclusive.
    #[must_use]
    pub const fn new(from: &'a [u8], to: Option<&'a [u8]>) -> Self {
        Self { from, to }
    }

    /// Whether no key can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to.is_some_and(|to| self.from >= to)
    }
}

/// The first key after all that start with `prefix`; `None` when there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the lowest key up.
    Forward,
    /// From the highest key down.
    Backward,
}

/// One change within an atomic write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOp<'a> {
    /// Sets the value of a key.
    Put {
        /// Where.
        family: Family,
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Removes a key; nothing happens when it is not there.
    Delete {
        /// Where.
        family: Family,
        /// The key.
        key: &'a [u8],
    },
    /// Removes all keys of a range.
    DeleteRange {
        /// Where.
        family: Family,
        /// Which.
        range: KeyRange<'a>,
    },
}

/// About how much a family holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApproximateSize {
    /// Rows.
    pub rows: u64,
    /// Bytes, in memory and on disk.
    pub bytes: u64,
}

/// A place in a scan. It sees the database as it was when the scan began.
pub trait Cursor {
    /// The key and value at this place; `None` at the end.
    fn entry(&self) -> Option<(&[u8], &[u8])>;

    /// Goes to the next place in the scan's direction; at the end it stays there.
    ///
    /// # Errors
    /// When the database cannot be read. The cursor is then at its end.
    fn advance(&mut self) -> Result<(), StoreError>;
}

/// Sorted bytes in several families, written atomically.
///
/// One database holds one task's state: a family per store, and [`Family::METADATA`]. Implementations pass
/// [`crate::conformance`].
pub trait ByteStore: Send + Sync {
    /// The family of the store with this name.
    fn family(&self, name: &str) -> Option<Family>;

    /// Puts the value of `key` into `value`, replacing what was there, or gives `false`.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn get(&self, family: Family, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError>;

    /// Reads several keys at once and calls `found` with the position of each, in order, and its value.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn multi_get(
        &self,
        family: Family,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StoreError>;

    /// Starts reading a range from its first row in the given direction.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, StoreError>;

    /// Makes all changes, in order, or none.
    ///
    /// # Errors
    /// When the database cannot be written; then no change was made.
    fn write(&self, ops: &mut dyn Iterator<Item = WriteOp<'_>>) -> Result<(), StoreError>;

    /// Brings everything written so far to where it survives a loss of power.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn flush(&self) -> Result<(), StoreError>;

    /// About how much a family holds.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn approximate_size(&self, family: Family) -> Result<ApproximateSize, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_without_it() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255, 255]), None);
        assert_eq!(prefix_end(b""), None);
    }
}
