//! What was written to a store since the last commit, what was committed and the database does not have yet, and a
//! cache of what was read or is in the database.
//!
//! Point reads are by hash. The order of keys is kept only once a scan has asked for it, and only for the keys that the
//! database does not have: rows that are merely cached are the database's own, which the scan reads anyway.
//!
//! Key and value of an entry share one allocation, and a key that is written again overwrites its value in place: a
//! count that goes up allocates nothing.

use std::{
    collections::{BTreeMap, btree_map},
    hash::BuildHasher,
    ops::Bound,
};

use hashbrown::{DefaultHashBuilder, HashTable};
use tidemill_data::{Headers, Timestamp};

use crate::{Direction, KeyRange};

/// What an entry costs beside the bytes of its key and value: itself, its slots in table and lists, the allocator's
/// share. An estimate, for accounting.
const ENTRY_OVERHEAD: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Written since the last commit.
    Put,
    /// Deleted since the last commit.
    Deleted,
    /// As of the last commit.
    Clean,
    /// Absent as of the last commit.
    CleanAbsent,
}

#[derive(Debug)]
struct Entry {
    // The key, then the value; the value is empty in the states without one.
    bytes: Vec<u8>,
    key_len: u32,
    state: State,
    // Whether it was read or written since the cache was last swept.
    used: bool,
    // Whether it was written since the database was; true for all dirty ones.
    unsettled: bool,
    hash: u64,
    timestamp: Timestamp,
    headers: Headers,
}

impl Entry {
    fn split(&self) -> (&[u8], &[u8]) {
        self.bytes
            .split_at_checked(self.key_len as usize)
            .expect("an entry's bytes begin with its key")
    }

    fn value(&self) -> Option<&[u8]> {
        match self.state {
            State::Put | State::Clean => Some(self.split().1),
            State::Deleted | State::CleanAbsent => None,
        }
    }

    fn is_dirty(&self) -> bool {
        matches!(self.state, State::Put | State::Deleted)
    }

    fn cost(&self) -> usize {
        self.bytes.len() + ENTRY_OVERHEAD + self.headers.byte_len()
    }
}

/// The index of an entry; good until the next write to the overlay, of whatever kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryId(u32);

impl EntryId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A dirty entry, as the changelog needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dirty<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: &'a Headers,
}

type Ordered = BTreeMap<Box<[u8]>, EntryId>;

#[derive(Debug)]
pub(crate) struct Overlay {
    entries: Vec<Entry>,
    table: HashTable<EntryId>,
    hasher: DefaultHashBuilder,
    // In the order in which the keys were first written since the last commit, so that a changelog is the same in
    // every run.
    dirty: Vec<EntryId>,
    // The entries that the database does not have yet; the dirty ones are among them.
    unsettled: Vec<EntryId>,
    // Invariant: once made, it holds exactly the unsettled entries.
    ordered: Option<Ordered>,
    // Invariant: the sums of `Entry::cost` over all, over the dirty, and over the unsettled entries.
    bytes: usize,
    dirty_bytes: usize,
    unsettled_bytes: usize,
    cache_bytes_max: usize,
}

impl Overlay {
    pub(crate) fn new(cache_bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            dirty: Vec::new(),
            unsettled: Vec::new(),
            ordered: None,
            bytes: 0,
            dirty_bytes: 0,
            unsettled_bytes: 0,
            cache_bytes_max,
        }
    }

    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    pub(crate) fn unsettled_bytes(&self) -> usize {
        self.unsettled_bytes
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether the database lacks so much that what is cached would soon have no room.
    pub(crate) fn is_crowded(&self) -> bool {
        self.unsettled_bytes > self.cache_bytes_max / 2
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    fn entry(&self, id: EntryId) -> &Entry {
        self.entries.get(id.index()).expect("ids are those of entries")
    }

    fn lookup(&self, hash: u64, key: &[u8]) -> Option<EntryId> {
        self.table
            .find(hash, |id| self.entry(*id).split().0 == key)
            .copied()
    }

    /// The entry of a key, if the overlay knows the key's value or absence.
    pub(crate) fn find(&mut self, key: &[u8]) -> Option<EntryId> {
        if self.entries.is_empty() {
            return None;
        }
        let id = self.lookup(self.hasher.hash_one(key), key)?;
        if let Some(entry) = self.entries.get_mut(id.index()) {
            entry.used = true;
        }
        Some(id)
    }

    pub(crate) fn value(&self, id: EntryId) -> Option<&[u8]> {
        self.entry(id).value()
    }

    fn insert(&mut self, hash: u64, key: &[u8], state: State) -> EntryId {
        let key_len = u32::try_from(key.len()).expect("a key is shorter than 4 GiB");
        self.push(Entry {
            bytes: key.to_vec(),
            key_len,
            state,
            used: true,
            unsettled: false,
            hash,
            timestamp: Timestamp::MIN,
            headers: Headers::new(),
        })
    }

    fn next_id(&self) -> EntryId {
        EntryId(u32::try_from(self.entries.len()).expect("the overlay is committed long before that"))
    }

    fn push(&mut self, entry: Entry) -> EntryId {
        let (id, hash) = (self.next_id(), entry.hash);
        self.entries.push(entry);
        let entries = &self.entries;
        self.table.insert_unique(hash, id, |id| {
            entries.get(id.index()).expect("ids are those of entries").hash
        });
        id
    }

    /// Sets or, with `None`, deletes a key. The value is the two parts one after the other.
    pub(crate) fn write(
        &mut self,
        key: &[u8],
        value: Option<[&[u8]; 2]>,
        timestamp: Timestamp,
        headers: &Headers,
    ) {
        let hash = self.hasher.hash_one(key);
        let id = match self.lookup(hash, key) {
            Some(id) => id,
            None => {
                let id = self.insert(hash, key, State::CleanAbsent);
                self.bytes += self.entry(id).cost();
                id
            }
        };
        let entry = self.entries.get_mut(id.index()).expect("just found or inserted");
        let (was_dirty, was_unsettled) = (entry.is_dirty(), entry.unsettled);
        let cost_before = entry.cost();
        entry.bytes.truncate(key.len());
        entry.state = State::Deleted;
        if let Some([head, tail]) = value {
            entry.bytes.reserve(head.len() + tail.len());
            entry.bytes.extend_from_slice(head);
            entry.bytes.extend_from_slice(tail);
            entry.state = State::Put;
        }
        entry.used = true;
        entry.unsettled = true;
        entry.timestamp = timestamp;
        if !(headers.is_empty() && entry.headers.is_empty()) {
            entry.headers = headers.clone();
        }
        let cost = entry.cost();
        self.bytes = self.bytes + cost - cost_before;
        if was_dirty {
            self.dirty_bytes = self.dirty_bytes + cost - cost_before;
        } else {
            self.dirty_bytes += cost;
            self.dirty.push(id);
        }
        if was_unsettled {
            self.unsettled_bytes = self.unsettled_bytes + cost - cost_before;
        } else {
            self.unsettled_bytes += cost;
            self.unsettled.push(id);
            if let Some(ordered) = &mut self.ordered {
                ordered.insert(key.into(), id);
            }
        }
    }

    /// Remembers what the database holds for a key that the overlay does not know. Room is made when it is cached rows
    /// that take it; when it is rows the database does not have, nothing is remembered.
    pub(crate) fn remember(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.bytes >= self.cache_bytes_max {
            if self.bytes - self.unsettled_bytes <= self.cache_bytes_max / 2 {
                return;
            }
            self.sweep();
        }
        let hash = self.hasher.hash_one(key);
        debug_assert!(
            self.lookup(hash, key).is_none(),
            "the caller asked the overlay first"
        );
        let id = self.insert(hash, key, State::CleanAbsent);
        let entry = self.entries.get_mut(id.index()).expect("just inserted");
        if let Some(value) = value {
            entry.bytes.reserve_exact(value.len());
            entry.bytes.extend_from_slice(value);
            entry.state = State::Clean;
        }
        self.bytes += self.entry(id).cost();
    }

    pub(crate) fn dirty(&self) -> impl Iterator<Item = Dirty<'_>> {
        self.dirty.iter().map(|id| {
            let entry = self.entry(*id);
            Dirty {
                key: entry.split().0,
                value: entry.value(),
                timestamp: entry.timestamp,
                headers: &entry.headers,
            }
        })
    }

    /// After a commit: what was written stands, whether or not the database has it.
    pub(crate) fn committed(&mut self) {
        for id in self.dirty.drain(..) {
            let entry = self
                .entries
                .get_mut(id.index())
                .expect("ids are those of entries");
            entry.state = if entry.state == State::Put {
                State::Clean
            } else {
                State::CleanAbsent
            };
            let headers = std::mem::take(&mut entry.headers).byte_len();
            self.bytes -= headers;
            self.unsettled_bytes -= headers;
        }
        self.dirty_bytes = 0;
    }

    /// What the database does not have, key and, unless deleted, value, in the order of the keys.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let ids = match &self.ordered {
            Some(ordered) => ordered.values().copied().collect(),
            None => self.sorted(),
        };
        ids.into_iter().map(|id| {
            let entry = self.entry(id);
            (entry.split().0, entry.value())
        })
    }

    /// The unsettled entries in the order of their keys. Most comparisons are of eight bytes that lie beside each
    /// other, those after what all keys begin with.
    fn sorted(&self) -> Vec<EntryId> {
        let key = |id: &EntryId| self.entry(*id).split().0;
        let Some(first) = self.unsettled.first().map(key) else {
            return Vec::new();
        };
        let common = self.unsettled.iter().map(key).fold(first.len(), |common, key| {
            let same = first.iter().zip(key).take(common);
            same.take_while(|(one, other)| one == other).count()
        });
        let digest = |id: &EntryId| {
            let rest = key(id).get(common..).unwrap_or_default();
            let mut head = [0; 8];
            head.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            (u64::from_be_bytes(head), *id)
        };
        let mut digests: Vec<(u64, EntryId)> = self.unsettled.iter().map(digest).collect();
        digests.sort_unstable_by(|(one, a), (other, b)| one.cmp(other).then_with(|| key(a).cmp(key(b))));
        digests.into_iter().map(|(_, id)| id).collect()
    }

    /// After a write to the database, which has everything now. Everything was committed.
    pub(crate) fn settled(&mut self) {
        for id in self.unsettled.drain(..) {
            if let Some(entry) = self.entries.get_mut(id.index()) {
                entry.unsettled = false;
            }
        }
        self.unsettled_bytes = 0;
        if let Some(ordered) = &mut self.ordered {
            ordered.clear();
        }
        if self.bytes >= self.cache_bytes_max {
            self.sweep();
        }
    }

    /// Of the cached entries keeps the newest that were used since the last sweep, up to a quarter of the room: so the
    /// cost of a sweep is shared by as many entries as it lets go.
    fn sweep(&mut self) {
        let mut room = self.cache_bytes_max / 4;
        let keep = |entry: &Entry| {
            if entry.unsettled {
                return true;
            }
            let kept = entry.used && entry.cost() <= room;
            if kept {
                room -= entry.cost();
            }
            kept
        };
        let mut kept: Vec<bool> = self.entries.iter().rev().map(keep).collect();
        kept.reverse();
        let entries = std::mem::take(&mut self.entries);
        self.table.clear();
        self.bytes = 0;
        let mut moved = Vec::with_capacity(entries.len());
        for (mut entry, kept) in entries.into_iter().zip(kept) {
            moved.push(self.next_id());
            if kept {
                self.bytes += entry.cost();
                entry.used = false;
                self.push(entry);
            }
        }
        let moved = |id: EntryId| *moved.get(id.index()).expect("every old id has its new one");
        let lists = self.dirty.iter_mut().chain(&mut self.unsettled);
        lists.for_each(|id| *id = moved(*id));
        for id in self.ordered.iter_mut().flat_map(BTreeMap::values_mut) {
            *id = moved(*id);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.table.clear();
        self.dirty.clear();
        self.unsettled.clear();
        if let Some(ordered) = &mut self.ordered {
            ordered.clear();
        }
        self.bytes = 0;
        self.dirty_bytes = 0;
        self.unsettled_bytes = 0;
    }

    /// Makes the order of keys, from now on kept with every write.
    pub(crate) fn order(&mut self) {
        if self.ordered.is_none() {
            let keys = self
                .unsettled
                .iter()
                .map(|id| (self.entry(*id).split().0.into(), *id));
            self.ordered = Some(keys.collect());
        }
    }

    /// The keys that the database does not have within a range; [`Overlay::order`] comes before.
    pub(crate) fn scan(&self, range: KeyRange<'_>, direction: Direction) -> OverlayCursor<'_> {
        let ordered = self.ordered.as_ref().expect("`order` was called");
        let to = range.to.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = (!range.is_empty()).then(|| ordered.range::<[u8], _>((Bound::Included(range.from), to)));
        let mut cursor = OverlayCursor {
            overlay: self,
            ids,
            direction,
            at: None,
        };
        cursor.advance();
        cursor
    }
}

/// A place among the keys that the database does not have.
pub(crate) struct OverlayCursor<'a> {
    overlay: &'a Overlay,
    ids: Option<btree_map::Range<'a, Box<[u8]>, EntryId>>,
    direction: Direction,
    at: Option<(&'a [u8], Option<&'a [u8]>)>,
}

impl<'a> OverlayCursor<'a> {
    /// Key and, unless deleted, value.
    pub(crate) fn at(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        self.at
    }

    pub(crate) fn advance(&mut self) {
        let next = self.ids.as_mut().and_then(|ids| match self.direction {
            Direction::Forward => ids.next(),
            Direction::Backward => ids.next_back(),
        });
        self.at = next.map(|(key, id)| (&**key, self.overlay.value(*id)));
    }
}

#[cfg(test)]
mod tests;
