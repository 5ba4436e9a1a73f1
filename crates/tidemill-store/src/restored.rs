//! Rows made from changelog records, on their way to the database.

use crate::{ChangelogRecord, Family, WriteOp};

/// Rows in one buffer, in the order of their records.
pub(crate) struct RestoredRows {
    bytes: Vec<u8>,
    // Length of the key, and of the value unless the row is a deletion.
    lengths: Vec<(usize, Option<usize>)>,
}

impl RestoredRows {
    pub(crate) fn with_capacity(records: &[ChangelogRecord<'_>]) -> Self {
        const PREFIXES: usize = 16;
        let bytes = records
            .iter()
            .map(|r| r.key.len() + r.value.map_or(0, <[u8]>::len) + PREFIXES)
            .sum();
        Self {
            bytes: Vec::with_capacity(bytes),
            lengths: Vec::with_capacity(records.len()),
        }
    }

    /// Adds a row; key and value are two parts each. Without a value it is a deletion.
    pub(crate) fn push(&mut self, key: [&[u8]; 2], value: Option<[&[u8]; 2]>) {
        let mut append = |parts: [&[u8]; 2]| {
            let [head, tail] = parts;
            self.bytes.extend_from_slice(head);
            self.bytes.extend_from_slice(tail);
            head.len() + tail.len()
        };
        let lengths = (append(key), value.map(append));
        self.lengths.push(lengths);
    }

    /// In the order of keys, rows of one key in the order of their records.
    pub(crate) fn ops(&self, family: Family) -> impl Iterator<Item = WriteOp<'_>> {
        let mut rest = self.bytes.as_slice();
        let mut take = |len: usize| {
            let (taken, after) = rest.split_at_checked(len).expect("lengths add up to the bytes");
            rest = after;
            taken
        };
        let mut rows: Vec<_> = self
            .lengths
            .iter()
            .map(|(key, value)| (take(*key), value.map(&mut take)))
            .collect();
        // Neighbours one after the other are cheaper to write than keys in any order.
        rows.sort_by_key(|(key, _)| *key);
        rows.into_iter().map(move |(key, value)| match value {
            Some(value) => WriteOp::Put { family, key, value },
            None => WriteOp::Delete { family, key },
        })
    }
}
