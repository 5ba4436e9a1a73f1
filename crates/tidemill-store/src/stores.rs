//! All stores of one task over one database: opened, committed, restored together.

use std::sync::Arc;

use crate::{
    ByteStore, ChangelogPosition, ChangelogRecord, Family, KeyValueStore, SessionStore, StoreError,
    TimestampedStore, VersionedStore, WindowStore, WindowValues, WriteOp,
    metadata::Metadata,
    slot::{Layer, Slot},
};

/// What is restored goes to the database when it is this much: enough that a key that a changelog has often is written
/// once, little beside the rest of a task's memory.
const RESTORED_BYTES_HELD: usize = 8 << 20;

/// Which of a task's stores: its place in the list they were opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(usize);

impl StoreId {
    /// The store at this place in the list.
    #[must_use]
    pub const fn new(place: usize) -> Self {
        Self(place)
    }

    /// The place in the list.
    #[must_use]
    pub const fn place(self) -> usize {
        self.0
    }
}

/// What a store is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Values by key.
    KeyValue,
    /// Values with timestamps by key.
    Timestamped,
    /// Values by key and window.
    Window {
        /// How long after the newest window's start a window is kept.
        retention_ms: i64,
        /// What is kept of each window.
        values: WindowValues,
    },
    /// Values by key and session.
    Session {
        /// How long after the newest session's end a session is kept.
        retention_ms: i64,
    },
    /// Versions of values by key.
    Versioned {
        /// How far back versions before the latest are kept.
        history_retention_ms: i64,
    },
}

/// A store to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Its name, which is also that of its family in the database.
    pub name: String,
    /// What it is for.
    pub kind: StoreKind,
    /// Whether it keeps the headers of what is put, beside the value; without, they only go to the changelog.
    pub keeps_headers: bool,
}

impl StoreSpec {
    /// A store of this name and kind.
    pub fn new(name: impl Into<String>, kind: StoreKind) -> Self {
        Self {
            name: name.into(),
            kind,
            keeps_headers: false,
        }
    }
}

/// How stores are opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How many bytes of rows that were read or committed each store may keep at hand. What was written since the
    /// last commit is kept whatever this says. 0 for a second set of stores that reads what another one commits.
    pub cache_bytes_max: usize,
    /// How many commits may wait to be written to the database with a later one. What they committed is then in the
    /// overlay and in the changelog; after a crash it comes from there. Rows that are written again and again reach
    /// the database once. With 0 each commit is written at once.
    pub commits_held_max: u32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 32 << 20,
            commits_held_max: 0,
        }
    }
}

/// All stores of one task.
///
/// Every read sees every write; the database sees the writes at [`commit`](Self::commit), all or none, or with those of
/// a later commit.
pub struct StateStores {
    base: Arc<dyn ByteStore>,
    slots: Vec<Slot>,
    commits_held: u32,
    commits_held_max: u32,
}

impl StateStores {
    /// Opens the stores over a database that has a family for each.
    ///
    /// A store whose rows the database keeps in another layout, because its kind or retention changed, is emptied; it
    /// then has no position, and [`layout_changed`](Self::layout_changed) says so.
    ///
    /// # Errors
    /// When a family is missing or the database cannot be read.
    pub fn open(
        base: Arc<dyn ByteStore>,
        specs: &[StoreSpec],
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        let mut slots = Vec::with_capacity(specs.len());
        for spec in specs {
            slots.push(Slot::open(&base, spec, options)?);
        }
        Ok(Self {
            base,
            slots,
            commits_held: 0,
            commits_held_max: options.commits_held_max,
        })
    }

    /// The number of stores.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The database under the stores.
    #[must_use]
    pub fn base(&self) -> &Arc<dyn ByteStore> {
        &self.base
    }

    /// The names of the stores, in the order in which they were opened.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.slots.iter().map(|slot| slot.space().name()).collect()
    }

    /// The store with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StoreId> {
        self.slots
            .iter()
            .position(|slot| slot.space().name() == name)
            .map(StoreId)
    }

    /// A plain key-value store.
    ///
    /// # Panics
    /// When the store is of another kind.
    pub fn key_value(&mut self, id: StoreId) -> &mut KeyValueStore {
        match &mut self.slot_mut(id).layer {
            Layer::KeyValue(store) => store,
            other => panic!("{} is no plain key-value store", other.space().name()),
        }
    }

    /// A key-value store with timestamps.
    ///
    /// # Panics
    /// When the store is of another kind.
    pub fn timestamped(&mut self, id: StoreId) -> &mut TimestampedStore {
        match &mut self.slot_mut(id).layer {
            Layer::Timestamped(store) => store,
            other => panic!("{} is no timestamped key-value store", other.space().name()),
        }
    }

    /// A window store.
    ///
    /// # Panics
    /// When the store is of another kind.
    pub fn window(&mut self, id: StoreId) -> &mut WindowStore {
        match &mut self.slot_mut(id).layer {
            Layer::Window(store) => store,
            other => panic!("{} is no window store", other.space().name()),
        }
    }

    /// A session store.
    ///
    /// # Panics
    /// When the store is of another kind.
    pub fn session(&mut self, id: StoreId) -> &mut SessionStore {
        match &mut self.slot_mut(id).layer {
            Layer::Session(store) => store,
            other => panic!("{} is no session store", other.space().name()),
        }
    }

    /// A versioned store.
    ///
    /// # Panics
    /// When the store is of another kind.
    pub fn versioned(&mut self, id: StoreId) -> &mut VersionedStore {
        match &mut self.slot_mut(id).layer {
            Layer::Versioned(store) => store,
            other => panic!("{} is no versioned store", other.space().name()),
        }
    }

    /// Where in its changelog the committed state of a store stands; `None` for one that was never committed with a
    /// position, and so has to be restored from the start.
    #[must_use]
    pub fn position(&self, id: StoreId) -> Option<ChangelogPosition> {
        self.slot(id).metadata.position
    }

    /// Whether the store was emptied on opening, because its rows were of another layout.
    #[must_use]
    pub fn layout_changed(&self, id: StoreId) -> bool {
        self.slot(id).layout_changed
    }

    /// Bytes written since the last commit, in all stores.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        self.slots.iter().map(Slot::dirty_bytes).sum()
    }

    /// Bytes held in memory above the database, written ones and cached ones, in all stores.
    #[must_use]
    pub fn overlay_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.space().overlay_bytes()).sum()
    }

    /// Whether a commit has anything to write but positions.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.slots.iter().any(|slot| slot.space().is_dirty())
    }

    /// What was written since the last commit, as changelog records: one a key, the last.
    ///
    /// It changes nothing: the records are the same until [`commit`](Self::commit) or [`discard`](Self::discard).
    pub fn changelog(&self, emit: &mut dyn FnMut(StoreId, ChangelogRecord<'_>)) {
        for (place, slot) in self.slots.iter().enumerate() {
            slot.changelog(&mut |record| emit(StoreId(place), record));
        }
    }

    /// Makes everything since the last commit stand, together with the changelog positions the stores then stand at:
    /// in one atomic write to the database, at once or, up to [`StoreOptions::commits_held_max`], with a later commit.
    /// A store without a position here keeps the one it has, and is never held: no changelog could bring it back.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing is, and everything is still to commit.
    pub fn commit(&mut self, positions: &[(StoreId, ChangelogPosition)]) -> Result<(), StoreError> {
        let mut metadata: Vec<Metadata> = self.slots.iter().map(Slot::metadata_now).collect();
        for (id, position) in positions {
            let metadata = metadata
                .get_mut(id.0)
                .expect("a store's id is that of one of the task's stores");
            metadata.position = Some(*position);
        }
        let held = self.may_hold(positions);
        if !held {
            self.write(&metadata)?;
        }
        for (slot, metadata) in self.slots.iter_mut().zip(metadata) {
            slot.committed(metadata);
        }
        if held {
            self.commits_held += 1;
        } else {
            self.settled();
        }
        Ok(())
    }

    fn may_hold(&self, positions: &[(StoreId, ChangelogPosition)]) -> bool {
        self.commits_held < self.commits_held_max
            && self.slots.iter().enumerate().all(|(place, slot)| {
                let space = slot.space();
                let followed = positions.iter().any(|(id, _)| id.0 == place);
                space.is_settled() || (followed && !space.is_crowded())
            })
    }

    /// Whether there are commits that the database does not have yet.
    #[must_use]
    pub fn holds_commits(&self) -> bool {
        self.commits_held > 0
    }

    /// Writes the commits that wait, if any. When something was written since the last one, the next commit does that.
    ///
    /// # Errors
    /// When the database cannot be written; then they still wait.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if self.commits_held == 0 || self.is_dirty() {
            return Ok(());
        }
        let metadata: Vec<Metadata> = self.slots.iter().map(|slot| slot.metadata).collect();
        self.write(&metadata)?;
        self.settled();
        Ok(())
    }

    fn settled(&mut self) {
        self.commits_held = 0;
        self.slots.iter_mut().for_each(Slot::settle);
    }

    /// Forgets everything since the last commit that the database has, as after an aborted transaction. Where commits
    /// were held, they go too: [`position`](Self::position) says from where the changelog brings them back.
    pub fn discard(&mut self) {
        self.commits_held = 0;
        self.slots.iter_mut().for_each(Slot::discard);
    }

    /// Writes records read from a store's changelog, with the position after them, as a commit does: to the database at
    /// once or, where commits may be held, when some megabytes have come together or [`settle`](Self::settle) asks for
    /// it. So a key that a changelog has many times is written to the database seldom. The newest record of a key comes
    /// last.
    ///
    /// # Errors
    /// When a record's key is none of this kind of store, or the database cannot be written; then all stores are back
    /// at what the database has.
    ///
    /// # Panics
    /// When there is something to commit: restoring comes before processing.
    pub fn restore(
        &mut self,
        id: StoreId,
        records: &[ChangelogRecord<'_>],
        position: ChangelogPosition,
    ) -> Result<(), StoreError> {
        assert!(
            !self.is_dirty(),
            "a store is restored before anything is written to it"
        );
        let slot = self.slot_mut(id);
        if let Err(error) = records.iter().try_for_each(|record| slot.restore(record)) {
            self.discard();
            return Err(error);
        }
        slot.committed(Metadata {
            position: Some(position),
            ..slot.metadata_now()
        });
        let space = slot.space();
        let held = space.unsettled_bytes() < RESTORED_BYTES_HELD && !space.is_crowded();
        self.commits_held = self.commits_held.max(1);
        if held && self.commits_held_max > 0 {
            return Ok(());
        }
        let settled = self.settle();
        if settled.is_err() {
            self.discard();
        }
        settled
    }

    /// Empties a store, which is then to be restored from the start of its changelog.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn reset(&mut self, id: StoreId) -> Result<(), StoreError> {
        let base = Arc::clone(&self.base);
        self.slot_mut(id).reset(base.as_ref())
    }

    /// Brings what is committed to where it survives a loss of power.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.base.flush()
    }

    fn write(&self, metadata: &[Metadata]) -> Result<(), StoreError> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let metadata: Vec<Vec<u8>> = metadata.iter().map(Metadata::encoded).collect();
        let metadata_ops = self
            .slots
            .iter()
            .zip(&metadata)
            .map(|(slot, value)| WriteOp::Put {
                family: Family::METADATA,
                key: slot.space().name().as_bytes(),
                value,
            });
        let rows = self.slots.iter().flat_map(|slot| slot.space().ops());
        let written = self.base.write(&mut rows.chain(metadata_ops));
        written.map_err(|source| StoreError::NotWritten {
            stores: self.with_rows_to_write(),
            source: Box::new(source),
        })
    }

    /// The names of the stores that a write is for; of all when there are only positions to write.
    fn with_rows_to_write(&self) -> Vec<String> {
        let has_rows = |slot: &&Slot| !slot.space().is_settled();
        let name = |slot: &Slot| slot.space().name().to_owned();
        let names: Vec<String> = self.slots.iter().filter(has_rows).map(name).collect();
        if names.is_empty() {
            self.slots.iter().map(name).collect()
        } else {
            names
        }
    }

    fn slot(&self, id: StoreId) -> &Slot {
        self.slots
            .get(id.0)
            .expect("a store's id is that of one of the task's stores")
    }

    fn slot_mut(&mut self, id: StoreId) -> &mut Slot {
        self.slots
            .get_mut(id.0)
            .expect("a store's id is that of one of the task's stores")
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod headers_tests;
