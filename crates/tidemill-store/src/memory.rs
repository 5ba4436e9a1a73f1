//! The `ByteStore` in memory, for tests and for programs without RocksDB.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use crate::{ApproximateSize, ByteStore, Cursor, Direction, Family, KeyRange, StoreError, WriteOp};

type Bytes = Box<[u8]>;
type Rows = BTreeMap<Bytes, Bytes>;

/// A [`ByteStore`] whose content lives and dies with the process.
#[derive(Debug)]
pub struct MemoryByteStore {
    names: Vec<String>,
    // Guards the rows of all families, so that a write is seen whole. Each family is copied on write while a scan
    // reads it: a scan sees the rows of its start, and never blocks.
    families: RwLock<Vec<Arc<Rows>>>,
}

impl MemoryByteStore {
    /// Empty, with a family for each of the named stores.
    #[must_use]
    pub fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let families = (0..=names.len()).map(|_| Arc::default()).collect();
        let names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        Self {
            names,
            families: RwLock::new(families),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Rows>>> {
        // Nothing panics between the first and the last change of a write, so the rows are whole.
        self.families.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self, family: Family) -> Result<Arc<Rows>, StoreError> {
        self.read()
            .get(family.index())
            .cloned()
            .ok_or(StoreError::UnknownFamily(family))
    }
}

impl ByteStore for MemoryByteStore {
    fn family(&self, name: &str) -> Option<Family> {
        self.names
            .iter()
            .position(|known| known == name)
            .map(Family::of_store)
    }

    fn get(&self, family: Family, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let families = self.read();
        let rows = families
            .get(family.index())
            .ok_or(StoreError::UnknownFamily(family))?;
        let Some(found) = rows.get(key) else {
            return Ok(false);
        };
        value.extend_from_slice(found);
        Ok(true)
    }

    fn multi_get(
        &self,
        family: Family,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StoreError> {
        let rows = self.rows(family)?;
        for (i, key) in keys.iter().enumerate() {
            found(i, rows.get(*key).map(|value| &**value));
        }
        Ok(())
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, StoreError> {
        let mut cursor = MemoryCursor {
            rows: self.rows(family)?,
            from: range.from.into(),
            to: range.to.map(Into::into),
            direction,
            at: None,
        };
        cursor.step();
        Ok(Box::new(cursor))
    }

    fn write(&self, ops: &mut dyn Iterator<Item = WriteOp<'_>>) -> Result<(), StoreError> {
        let ops: Vec<WriteOp<'_>> = ops.collect();
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        // All families are checked before anything is written: all changes or none.
        if let Some(unknown) = ops
            .iter()
            .map(family_of)
            .find(|family| family.index() >= families.len())
        {
            return Err(StoreError::UnknownFamily(unknown));
        }
        for op in ops {
            let rows = families
                .get_mut(family_of(&op).index())
                .expect("all families were just checked");
            apply(Arc::make_mut(rows), op);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn approximate_size(&self, family: Family) -> Result<ApproximateSize, StoreError> {
        let rows = self.rows(family)?;
        let bytes = rows
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>();
        Ok(ApproximateSize {
            rows: rows.len() as u64,
            bytes: bytes as u64,
        })
    }
}

fn family_of(op: &WriteOp<'_>) -> Family {
    match op {
        WriteOp::Put { family, .. }
        | WriteOp::Delete { family, .. }
        | WriteOp::DeleteRange { family, .. } => *family,
    }
}

fn apply(rows: &mut Rows, op: WriteOp<'_>) {
    match op {
        WriteOp::Put { key, value, .. } => match rows.get_mut(key) {
            Some(old) => *old = value.into(),
            None => drop(rows.insert(key.into(), value.into())),
        },
        WriteOp::Delete { key, .. } => drop(rows.remove(key)),
        WriteOp::DeleteRange { range, .. } => {
            if range.is_empty() {
                return;
            }
            let mut middle = rows.split_off(range.from);
            if let Some(to) = range.to {
                rows.append(&mut middle.split_off(to));
            }
        }
    }
}

struct MemoryCursor {
    rows: Arc<Rows>,
    from: Bytes,
    to: Option<Bytes>,
    direction: Direction,
    at: Option<(Bytes, Bytes)>,
}

impl MemoryCursor {
    fn step(&mut self) {
        let empty = self.to.as_ref().is_some_and(|to| self.from >= *to);
        let mut from: Bound<&[u8]> = Bound::Included(&self.from);
        let mut to: Bound<&[u8]> = self
            .to
            .as_ref()
            .map_or(Bound::Unbounded, |to| Bound::Excluded(to));
        if let Some((key, _)) = &self.at {
            match self.direction {
                Direction::Forward => from = Bound::Excluded(key),
                Direction::Backward => to = Bound::Excluded(key),
            }
        }
        if empty || from == to {
            self.at = None;
            return;
        }
        let mut range = self.rows.range::<[u8], _>((from, to));
        let next = match self.direction {
            Direction::Forward => range.next(),
            Direction::Backward => range.next_back(),
        };
        self.at = next.map(|(key, value)| (key.clone(), value.clone()));
    }
}

impl Cursor for MemoryCursor {
    fn entry(&self) -> Option<(&[u8], &[u8])> {
        self.at.as_ref().map(|(key, value)| (&**key, &**value))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        if self.at.is_some() {
            self.step();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_store_in_memory_conforms() {
        crate::conformance::check(&mut |names| Box::new(super::MemoryByteStore::new(names)));
    }
}
