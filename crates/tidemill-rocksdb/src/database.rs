//! One task's database.

use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedOptions, ColumnFamily, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options, ReadOptions,
    WriteBatch, WriteBatchIteratorCf, WriteOptions,
};
use tidemill_store::{ApproximateSize, ByteStore, Cursor, Direction, Family, KeyRange, StoreError, WriteOp};

use crate::{MemoryBudget, OpenError, cursor::RocksCursor};

/// A family's writes go to a file once they are this many; the budget may make it happen earlier.
const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// The write-ahead log of a database is kept below this: families that are seldom written would else keep it all.
const WAL_BYTES_MAX: u64 = 128 << 20;
/// Ten bits a key give a filter that is wrong for one key in a hundred.
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// The share of a write buffer that is a filter of its keys: a key that is not in it costs no walk through it.
const WRITE_BUFFER_FILTER_RATIO: f64 = 0.02;
/// Larger blocks make smaller indexes; values are short and mostly read by point.
const BLOCK_BYTES: usize = 8 << 10;
/// One flush and one compaction at a time, of all databases of the process together: state shares its cores with the
/// program.
const BACKGROUND_JOBS: i32 = 2;
/// What a family's write buffer takes at once: a task has several families, most of them small.
const ARENA_BLOCK_BYTES: usize = 128 << 10;
const METADATA: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

/// A [`ByteStore`] in a directory. Dropping it closes it.
pub struct RocksDb {
    db: DB,
    path: PathBuf,
    // The column families in the order that `Family::index` counts them.
    columns: Vec<String>,
    write_options: WriteOptions,
    read_options: ReadOptions,
}

impl RocksDb {
    /// Opens the database in a directory, made if it is not there, with a family for each of the named stores.
    ///
    /// Families of stores that are no longer named are dropped, with all they hold.
    ///
    /// # Errors
    /// When the directory is in use, not a database, or cannot be read or written.
    pub fn open<S: AsRef<str>>(path: &Path, stores: &[S], memory: &MemoryBudget) -> Result<Self, OpenError> {
        make_directory(path)?;
        let failed = |e| OpenError::of(path, e);
        let options = database_options(memory);
        let mut columns = vec![METADATA.to_owned()];
        columns.extend(stores.iter().map(|name| column(name.as_ref())));
        let existing = if exists(path) {
            DB::list_cf(&options, path).map_err(failed)?
        } else {
            Vec::new()
        };
        let forgotten: Vec<&String> = existing.iter().filter(|found| !columns.contains(found)).collect();
        let all = columns.iter().chain(forgotten.iter().copied());
        let family_options = family_options(memory);
        let mut db = DB::open_cf_with_opts(&options, path, all.map(|name| (name, family_options.clone())))
            .map_err(failed)?;
        for name in forgotten {
            tracing::info!(path = %path.display(), %name, "dropping the state of a store that is no more");
            db.drop_cf(name).map_err(failed)?;
        }
        let mut write_options = WriteOptions::default();
        write_options.set_sync(false);
        // Stores write their rows in the order of keys, so each goes in beside the one before.
        write_options.set_memtable_insert_hint_per_batch(true);
        let read_options = ReadOptions::default();
        Ok(Self {
            db,
            path: path.to_owned(),
            columns,
            write_options,
            read_options,
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn failed(&self, operation: &'static str, source: rocksdb::Error) -> StoreError {
        StoreError::Backend {
            operation,
            place: self.path.display().to_string(),
            source: source.into(),
        }
    }

    fn column(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        let name = self
            .columns
            .get(family.index())
            .ok_or(StoreError::UnknownFamily(family))?;
        self.db.cf_handle(name).ok_or(StoreError::UnknownFamily(family))
    }

    fn property(&self, column: &ColumnFamily, name: &str) -> Result<u64, StoreError> {
        let value = self
            .db
            .property_int_value_cf(column, name)
            .map_err(|e| self.failed("property", e))?;
        Ok(value.unwrap_or_default())
    }

    /// The key after every key of a family and of the batch that is about to be written.
    fn end(&self, column: &ColumnFamily, batch: &WriteBatch) -> Result<Vec<u8>, StoreError> {
        let mut last = LastKey::default();
        batch.iterate_cf(&mut last);
        let mut rows = self.db.raw_iterator_cf(column);
        rows.seek_to_last();
        rows.status().map_err(|e| self.failed("write", e))?;
        let mut end = last.0.max(rows.key().map(<[u8]>::to_vec).unwrap_or_default());
        end.push(0);
        Ok(end)
    }

    fn delete_range(
        &self,
        column: &ColumnFamily,
        range: KeyRange<'_>,
        batch: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        let end = range
            .to
            .map_or_else(|| self.end(column, batch), |to| Ok(to.to_vec()))?;
        // RocksDB refuses an empty range, together with the whole batch.
        if range.from < end.as_slice() {
            batch.delete_range_cf(column, range.from, &end);
        }
        Ok(())
    }
}

impl ByteStore for RocksDb {
    fn family(&self, name: &str) -> Option<Family> {
        let column = column(name);
        let store = self.columns.iter().skip(1).position(|known| *known == column)?;
        Some(Family::of_store(store))
    }

    fn get(&self, family: Family, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        value.clear();
        let found = self
            .db
            .get_pinned_cf_opt(self.column(family)?, key, &self.read_options);
        let Some(found) = found.map_err(|e| self.failed("get", e))? else {
            return Ok(false);
        };
        value.extend_from_slice(&found);
        Ok(true)
    }

    fn multi_get(
        &self,
        family: Family,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StoreError> {
        let column = self.column(family)?;
        let values = self.db.batched_multi_get_cf_opt(
            column,
            keys.iter().copied(),
            keys.is_sorted(),
            &self.read_options,
        );
        for (i, value) in values.into_iter().enumerate() {
            found(i, value.map_err(|e| self.failed("get", e))?.as_deref());
        }
        Ok(())
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.from);
        if let Some(to) = range.to {
            // RocksDB wants the lower bound below the upper one; an empty range is one that ends where it starts.
            options.set_iterate_upper_bound(to.max(range.from));
        }
        let mut iterator = self.db.raw_iterator_cf_opt(self.column(family)?, options);
        match direction {
            Direction::Forward => iterator.seek_to_first(),
            Direction::Backward => iterator.seek_to_last(),
        }
        let cursor = RocksCursor {
            database: self,
            iterator,
            direction,
        };
        cursor.check()?;
        Ok(Box::new(cursor))
    }

    fn write(&self, ops: &mut dyn Iterator<Item = WriteOp<'_>>) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let mut last: Option<(Family, &ColumnFamily)> = None;
        for op in ops {
            let (WriteOp::Put { family, .. }
            | WriteOp::Delete { family, .. }
            | WriteOp::DeleteRange { family, .. }) = op;
            let column = match last {
                Some((same, column)) if same == family => column,
                _ => self.column(family)?,
            };
            last = Some((family, column));
            match op {
                WriteOp::Put { key, value, .. } => batch.put_cf(column, key, value),
                WriteOp::Delete { key, .. } => batch.delete_cf(column, key),
                WriteOp::DeleteRange { range, .. } => self.delete_range(column, range, &mut batch)?,
            }
        }
        self.db
            .write_opt(batch, &self.write_options)
            .map_err(|e| self.failed("write", e))
    }

    fn flush(&self) -> Result<(), StoreError> {
        // The log has everything that is in no file yet; once it is synced, nothing more is needed.
        self.db.flush_wal(true).map_err(|e| self.failed("flush", e))
    }

    fn approximate_size(&self, family: Family) -> Result<ApproximateSize, StoreError> {
        let column = self.column(family)?;
        let on_disk = self.property(column, "rocksdb.estimate-live-data-size")?;
        let in_memory = self.property(column, "rocksdb.cur-size-all-mem-tables")?;
        let rows = self.property(column, "rocksdb.estimate-num-keys")?;
        Ok(ApproximateSize {
            rows,
            bytes: on_disk + in_memory,
        })
    }
}

/// The greatest key that a batch sets, in whatever family.
#[derive(Default)]
struct LastKey(Vec<u8>);

impl WriteBatchIteratorCf for LastKey {
    fn put_cf(&mut self, _: u32, key: &[u8], _: &[u8]) {
        if key > self.0.as_slice() {
            self.0 = key.to_vec();
        }
    }

    fn delete_cf(&mut self, _: u32, _: &[u8]) {}

    fn merge_cf(&mut self, _: u32, _: &[u8], _: &[u8]) {}
}

/// The column family of a store. The prefix keeps a store named "default" away from the metadata.
fn column(store: &str) -> String {
    format!("store.{store}")
}

fn exists(path: &Path) -> bool {
    path.join("CURRENT").exists()
}

#[allow(clippy::disallowed_methods, reason = "the database lives in the file system")]
fn make_directory(path: &Path) -> Result<(), OpenError> {
    std::fs::create_dir_all(path).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })
}

fn database_options(memory: &MemoryBudget) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(&memory.write_buffers);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    // What was committed last may be lost with the machine, but never a part of it.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    // RocksDB's own log: what it has to warn of, and two files of it at most.
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options
}

fn family_options(memory: &MemoryBudget) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&memory.cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(FILTER_BITS_PER_KEY, false);
    // Indexes and filters count against the budget too.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(WRITE_BUFFER_FILTER_RATIO);
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options
}

#[cfg(test)]
mod tests;
