//! All stores of one task over one database: opened, committed, restored together.

use std::sync::Arc;

use crate::{
    ByteStore, ChangelogPosition, ChangelogRecord, Family, KeyRange, KeyValueStore, StoreError,
    TimestampedStore, WriteOp,
    metadata::{Layout, Metadata},
    restored::RestoredRows,
    space::{Prefixes, Space},
};

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
}

/// A store to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Its name, which is also that of its family in the database.
    pub name: String,
    /// What it is for.
    pub kind: StoreKind,
}

impl StoreSpec {
    /// A store of this name and kind.
    pub fn new(name: impl Into<String>, kind: StoreKind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }
}

/// How stores are opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How many bytes of rows that were read or committed each store may keep at hand. What was written since the
    /// last commit is kept whatever this says. 0 for a second set of stores that reads what another one commits.
    pub cache_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 8 << 20,
        }
    }
}

enum Layer {
    KeyValue(KeyValueStore),
    Timestamped(TimestampedStore),
}

struct Slot {
    layer: Layer,
    metadata: Metadata,
    rebuilt: bool,
}

/// All stores of one task.
///
/// Every read sees every write; the database sees the writes at [`commit`](Self::commit), all or none.
pub struct StateStores {
    base: Arc<dyn ByteStore>,
    slots: Vec<Slot>,
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
        Ok(Self { base, slots })
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

    /// Where in its changelog the committed state of a store stands; `None` for one that was never committed with a
    /// position, and so has to be restored from the start.
    #[must_use]
    pub fn position(&self, id: StoreId) -> Option<ChangelogPosition> {
        self.slot(id).metadata.position
    }

    /// Whether the store was emptied on opening, because its rows were of another layout.
    #[must_use]
    pub fn layout_changed(&self, id: StoreId) -> bool {
        self.slot(id).rebuilt
    }

    /// Bytes written since the last commit, in all stores.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.space().dirty_bytes()).sum()
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
            slot.space().changelog(&mut |record| emit(StoreId(place), record));
        }
    }

    /// Writes everything since the last commit to the database in one atomic write, together with the changelog
    /// positions the stores then stand at. A store without a position here keeps the one it has.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing is, and everything is still to commit.
    pub fn commit(&mut self, positions: &[(StoreId, ChangelogPosition)]) -> Result<(), StoreError> {
        for (id, position) in positions {
            self.slot_mut(*id).metadata.position = Some(*position);
        }
        self.write_all(None)?;
        for slot in &mut self.slots {
            slot.space_mut().committed();
        }
        Ok(())
    }

    /// Forgets everything written since the last commit, as after an aborted transaction.
    pub fn discard(&mut self) {
        for slot in &mut self.slots {
            slot.space_mut().discard();
        }
    }

    /// Writes records read from a store's changelog to the database, with the position after them. The newest record
    /// of a key comes last.
    ///
    /// # Errors
    /// When a record's key is none of this kind of store, or the database cannot be written; then nothing is.
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
        let mut rows = RestoredRows::with_capacity(records);
        for record in records {
            slot.restored(record, &mut rows);
        }
        slot.metadata.position = Some(position);
        let family = slot.space().family();
        slot.space_mut().discard();
        self.write_all(Some((family, &rows)))
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

    fn write_all(&self, restored: Option<(Family, &RestoredRows)>) -> Result<(), StoreError> {
        let metadata: Vec<Vec<u8>> = self.slots.iter().map(Slot::encoded_metadata).collect();
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
        let restored = restored.into_iter().flat_map(|(family, rows)| rows.ops(family));
        self.base.write(&mut restored.chain(rows).chain(metadata_ops))
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

impl Slot {
    fn open(base: &Arc<dyn ByteStore>, spec: &StoreSpec, options: &StoreOptions) -> Result<Self, StoreError> {
        let space = |prefixes| Space::open(Arc::clone(base), &spec.name, prefixes, options.cache_bytes_max);
        let layer = match spec.kind {
            StoreKind::KeyValue => Layer::KeyValue(KeyValueStore {
                space: space(Prefixes::default())?,
            }),
            StoreKind::Timestamped => Layer::Timestamped(TimestampedStore {
                space: space(TimestampedStore::PREFIXES)?,
            }),
        };
        let metadata = Metadata {
            layout: layer.layout(),
            stream_time_ms: i64::MIN,
            position: None,
        };
        let mut slot = Self {
            layer,
            metadata,
            rebuilt: false,
        };
        match Metadata::load(base.as_ref(), &spec.name)? {
            Some(found) if found.layout == slot.metadata.layout => slot.metadata = found,
            Some(_) => {
                slot.reset(base.as_ref())?;
                slot.rebuilt = true;
            }
            None => {}
        }
        Ok(slot)
    }

    fn reset(&mut self, base: &dyn ByteStore) -> Result<(), StoreError> {
        self.metadata.position = None;
        self.metadata.stream_time_ms = i64::MIN;
        self.space_mut().reset();
        let metadata = self.encoded_metadata();
        let ops = [
            WriteOp::DeleteRange {
                family: self.space().family(),
                range: KeyRange::ALL,
            },
            WriteOp::Put {
                family: Family::METADATA,
                key: self.space().name().as_bytes(),
                value: &metadata,
            },
        ];
        base.write(&mut ops.into_iter())
    }

    fn encoded_metadata(&self) -> Vec<u8> {
        let mut value = Vec::new();
        self.metadata.encode(&mut value);
        value
    }

    fn restored(&mut self, record: &ChangelogRecord<'_>, rows: &mut RestoredRows) {
        match &self.layer {
            Layer::KeyValue(_) => rows.push([&[], record.key], record.value.map(|value| [&[][..], value])),
            Layer::Timestamped(_) => {
                let timestamp = record.timestamp.millis().to_be_bytes();
                rows.push(
                    [&[], record.key],
                    record.value.map(|value| [&timestamp[..], value]),
                );
            }
        }
    }

    fn space(&self) -> &Space {
        self.layer.space()
    }

    fn space_mut(&mut self) -> &mut Space {
        match &mut self.layer {
            Layer::KeyValue(store) => &mut store.space,
            Layer::Timestamped(store) => &mut store.space,
        }
    }
}

impl Layer {
    fn space(&self) -> &Space {
        match self {
            Self::KeyValue(store) => &store.space,
            Self::Timestamped(store) => &store.space,
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::KeyValue(_) => Layout {
                kind: 1,
                segment_ms: 0,
            },
            Self::Timestamped(_) => Layout {
                kind: 2,
                segment_ms: 0,
            },
        }
    }
}
