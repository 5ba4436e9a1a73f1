//! One of a task's stores, of whichever kind, with what is kept of it in the metadata.

use std::sync::Arc;

use crate::{
    ByteStore, ChangelogRecord, Family, KeyRange, KeyValueStore, SessionStore, StoreError, StoreKind,
    StoreOptions, StoreSpec, TimestampedStore, VersionedStore, WindowStore, WindowValues, WriteOp,
    metadata::{Layout, Metadata},
    segments::Segments,
    space::{Prefixes, Space},
};

pub(crate) enum Layer {
    KeyValue(KeyValueStore),
    Timestamped(TimestampedStore),
    Window(WindowStore),
    Session(SessionStore),
    Versioned(VersionedStore),
}

pub(crate) struct Slot {
    pub(crate) layer: Layer,
    // As committed.
    pub(crate) metadata: Metadata,
    // As the database has it.
    settled: Metadata,
    pub(crate) layout_changed: bool,
}

impl Slot {
    pub(crate) fn open(
        base: &Arc<dyn ByteStore>,
        spec: &StoreSpec,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        let layer = Layer::open(base, spec, options)?;
        let metadata = Metadata {
            layout: layer.layout(spec.keeps_headers),
            stream_time_ms: i64::MIN,
            sequence: 0,
            position: None,
        };
        let mut slot = Self {
            layer,
            metadata,
            settled: metadata,
            layout_changed: false,
        };
        match Metadata::load(base.as_ref(), &spec.name)? {
            Some(found) if found.layout == metadata.layout => {
                (slot.metadata, slot.settled) = (found, found);
                slot.rewind();
            }
            Some(_) => {
                slot.reset(base.as_ref())?;
                slot.layout_changed = true;
            }
            None => {}
        }
        Ok(slot)
    }

    pub(crate) fn reset(&mut self, base: &dyn ByteStore) -> Result<(), StoreError> {
        self.metadata = Metadata {
            stream_time_ms: i64::MIN,
            sequence: 0,
            position: None,
            ..self.metadata
        };
        self.settled = self.metadata;
        self.space_mut().reset();
        self.rewind();
        let metadata = self.metadata.encoded();
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

    /// What a commit writes now, with the position of the last one.
    pub(crate) fn metadata_now(&self) -> Metadata {
        let stream_time_ms = self.layer.segments().map_or(i64::MIN, Segments::stream_time_ms);
        Metadata {
            stream_time_ms,
            sequence: self.layer.sequence(),
            ..self.metadata
        }
    }

    pub(crate) fn committed(&mut self, metadata: Metadata) {
        self.metadata = metadata;
        self.space_mut().committed();
        if let Layer::Versioned(store) = &mut self.layer {
            store.clear_log();
        }
    }

    /// The database has everything that was committed.
    pub(crate) fn settle(&mut self) {
        self.settled = self.metadata;
        self.space_mut().settled();
    }

    /// Back to what the database has.
    pub(crate) fn discard(&mut self) {
        self.metadata = self.settled;
        self.space_mut().discard();
        self.rewind();
    }

    /// Back to the stream time and sequence of the metadata.
    fn rewind(&mut self) {
        let Metadata {
            stream_time_ms,
            sequence,
            ..
        } = self.metadata;
        match &mut self.layer {
            Layer::KeyValue(_) | Layer::Timestamped(_) => {}
            Layer::Window(store) => {
                store.segments.set_stream_time_ms(stream_time_ms);
                store.sequence = sequence;
            }
            Layer::Session(store) => store.segments.set_stream_time_ms(stream_time_ms),
            Layer::Versioned(store) => {
                store.segments.set_stream_time_ms(stream_time_ms);
                store.clear_log();
            }
        }
    }

    pub(crate) fn dirty_bytes(&self) -> usize {
        let log = if let Layer::Versioned(store) = &self.layer {
            store.log_bytes()
        } else {
            0
        };
        self.space().dirty_bytes() + log
    }

    pub(crate) fn changelog(&self, emit: &mut dyn FnMut(ChangelogRecord<'_>)) {
        match &self.layer {
            Layer::Versioned(store) => store.changelog(emit),
            other => other.space().changelog(emit),
        }
    }

    /// Makes the row of a changelog record; the versioned store has to look at what it has.
    pub(crate) fn restore(&mut self, record: &ChangelogRecord<'_>) -> Result<(), StoreError> {
        match &mut self.layer {
            Layer::KeyValue(store) => store.space.restore(&[], &[], record),
            Layer::Timestamped(store) => {
                let timestamp = record.timestamp.millis().to_be_bytes();
                store.space.restore(&[], &timestamp, record);
            }
            Layer::Window(store) => store.restore(record)?,
            Layer::Session(store) => store.restore(record)?,
            Layer::Versioned(store) => {
                let _ = store.apply(record.key, record.value, record.timestamp, record.headers)?;
            }
        }
        Ok(())
    }

    pub(crate) fn space(&self) -> &Space {
        self.layer.space()
    }

    pub(crate) fn space_mut(&mut self) -> &mut Space {
        match &mut self.layer {
            Layer::KeyValue(store) => &mut store.space,
            Layer::Timestamped(store) => &mut store.space,
            Layer::Window(store) => &mut store.space,
            Layer::Session(store) => &mut store.space,
            Layer::Versioned(store) => &mut store.space,
        }
    }
}

impl Layer {
    fn open(base: &Arc<dyn ByteStore>, spec: &StoreSpec, options: &StoreOptions) -> Result<Self, StoreError> {
        let space = |prefixes| Space::open(base, spec, prefixes, options.cache_bytes_max);
        Ok(match spec.kind {
            StoreKind::KeyValue => Self::KeyValue(KeyValueStore {
                space: space(Prefixes::default())?,
            }),
            StoreKind::Timestamped => Self::Timestamped(TimestampedStore {
                space: space(TimestampedStore::PREFIXES)?,
            }),
            StoreKind::Window { retention_ms, values } => {
                let space = space(WindowStore::prefixes(values))?;
                Self::Window(WindowStore::new(space, retention_ms, values))
            }
            StoreKind::Session { retention_ms } => {
                Self::Session(SessionStore::new(space(SessionStore::PREFIXES)?, retention_ms))
            }
            StoreKind::Versioned { history_retention_ms } => Self::Versioned(VersionedStore::new(
                space(VersionedStore::PREFIXES)?,
                history_retention_ms,
            )),
        })
    }

    pub(crate) fn space(&self) -> &Space {
        match self {
            Self::KeyValue(store) => &store.space,
            Self::Timestamped(store) => &store.space,
            Self::Window(store) => &store.space,
            Self::Session(store) => &store.space,
            Self::Versioned(store) => &store.space,
        }
    }

    fn segments(&self) -> Option<&Segments> {
        match self {
            Self::KeyValue(_) | Self::Timestamped(_) => None,
            Self::Window(store) => Some(&store.segments),
            Self::Session(store) => Some(&store.segments),
            Self::Versioned(store) => Some(&store.segments),
        }
    }

    fn sequence(&self) -> i32 {
        if let Self::Window(store) = self {
            store.sequence
        } else {
            0
        }
    }

    fn layout(&self, keeps_headers: bool) -> Layout {
        const WITH_HEADERS: u8 = 0x80;
        let kind = match self {
            Self::KeyValue(_) => 1,
            Self::Timestamped(_) => 2,
            Self::Window(store) => match store.values() {
                WindowValues::Plain => 3,
                WindowValues::Timestamped => 4,
                WindowValues::Duplicates => 5,
            },
            Self::Session(_) => 6,
            Self::Versioned(_) => 7,
        };
        Layout {
            kind: if keeps_headers { kind | WITH_HEADERS } else { kind },
            segment_ms: self.segments().map_or(0, Segments::segment_ms),
        }
    }
}
