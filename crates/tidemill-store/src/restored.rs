//! Rows made from changelog records, on their way to the database.

use tidemill_data::Headers;

use crate::{ChangelogRecord, Family, WriteOp, stored_headers};

/// Rows in one buffer, in the order of their records.
pub(crate) struct RestoredRows {
    bytes: Vec<u8>,
    // Length of the key, and of the value unless the row is a deletion.
    lengths: Vec<(usize, Option<usize>)>,
    // What stands behind the next row's value.
    headers: Vec<u8>,
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
            headers: Vec::new(),
        }
    }

    /// Says what headers the next row has, in a store that keeps them.
    pub(crate) fn keep_headers(&mut self, keeps: bool, headers: &Headers) {
        self.headers.clear();
        if keeps {
            stored_headers::push(headers, &mut self.headers);
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
        let key_len = append(key);
        let value_len = value.map(|parts| append(parts) + append([&self.headers, &[]]));
        self.lengths.push((key_len, value_len));
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
