//! What state costs: counting (a get and a put per record) and joining (a get per record) through the overlay, with a
//! commit every so many records, over RocksDB and over memory.
//!
//! Times are processor times of the thread, so that a busy machine does not show.
//!
//! The sketch to measure against: a record is one hash of its key and one copy of its row into the overlay; a commit is
//! two copies of each dirty row, into the batch and into the memtable.
//!
//! `cargo bench -p tidemill-rocksdb`

#![allow(
    clippy::disallowed_methods,
    reason = "the processor time stands in a file of the system"
)]

use std::{sync::Arc, time::Duration};

use tidemill_data::Timestamp;
use tidemill_rocksdb::{MemoryBudget, RocksDb};
use tidemill_store::{
    ByteStore, ChangelogPosition, ChangelogRecord, Direction, MemoryByteStore, StateStores, StoreError,
    StoreId, StoreKind, StoreOptions, StoreSpec, TopicId, WindowValues,
};

const RECORDS: u64 = 2_000_000;
const STORE: StoreId = StoreId::new(0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let memory = MemoryBudget::of_this_machine();
    println!("{RECORDS} records, keys of 16 bytes; {memory:?}");
    for (keys, per_commit) in [
        (1_000, 100_000),
        (100_000, 100_000),
        (1_000_000, 100_000),
        (100_000, 1_000),
    ] {
        for backend in ["memory", "rocksdb"] {
            let dir = tempfile::tempdir()?;
            let base: Arc<dyn ByteStore> = match backend {
                "memory" => Arc::new(MemoryByteStore::new(&["s"])),
                _ => Arc::new(RocksDb::open(dir.path(), &["s"], &memory)?),
            };
            let label = format!("{backend:8} {keys:>8} keys, commit every {per_commit:>7}");
            report(
                &format!("{label}: count"),
                RECORDS,
                count(&base, keys, per_commit)?,
            );
            report(&format!("{label}: get  "), RECORDS, lookup(&base, keys, 0)?);
            report(&format!("{label}: ahead"), RECORDS, lookup(&base, keys, 500)?);
        }
    }
    let dir = tempfile::tempdir()?;
    let base: Arc<dyn ByteStore> = Arc::new(RocksDb::open(dir.path(), &["s"], &memory)?);
    report("rocksdb restore, batches of 10,000", RECORDS, restore(&base)?);
    let dir = tempfile::tempdir()?;
    let base: Arc<dyn ByteStore> = Arc::new(RocksDb::open(dir.path(), &["s"], &memory)?);
    report("rocksdb windowed count, 10,000 keys", RECORDS, windowed(&base)?);
    let dir = tempfile::tempdir()?;
    let base: Arc<dyn ByteStore> = Arc::new(RocksDb::open(dir.path(), &["s"], &memory)?);
    report(
        "rocksdb join side: put and fetch, 10,000 keys",
        RECORDS / 10,
        join_side(&base)?,
    );
    println!("{memory:?}");
    Ok(())
}

/// This thread's processor time: other programs, and RocksDB's own threads, take none of it.
struct Cpu(Duration);

impl Cpu {
    fn start() -> Self {
        Self(Self::used())
    }

    fn elapsed(&self) -> Duration {
        Self::used() - self.0
    }

    fn used() -> Duration {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
        Duration::from_nanos(nanoseconds.expect("Linux says how long a thread ran"))
    }
}

fn report(what: &str, records: u64, took: Duration) {
    let rate = records as f64 / took.as_secs_f64();
    println!(
        "{what}: {:>6.2} M records/s, {:>7.0} ns a record",
        rate / 1e6,
        1e9 / rate
    );
}

/// Keys in no order, each as likely.
fn key(record: u64, keys: u64) -> [u8; 16] {
    let mixed = (record.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % keys;
    let mut key = *b"key-000000000000";
    key[4..].copy_from_slice(format!("{mixed:012}").as_bytes());
    key
}

fn stores(base: &Arc<dyn ByteStore>, kind: StoreKind) -> Result<StateStores, StoreError> {
    StateStores::open(
        Arc::clone(base),
        &[StoreSpec::new("s", kind)],
        &StoreOptions::default(),
    )
}

fn commit(stores: &mut StateStores, offset: &mut i64) -> Result<(), StoreError> {
    stores.changelog(&mut |_, _| *offset += 1);
    let position = ChangelogPosition {
        topic_id: TopicId([1; 16]),
        next_offset: *offset,
        committed_at: Timestamp::MIN,
    };
    stores.commit(&[(STORE, position)])
}

fn count(base: &Arc<dyn ByteStore>, keys: u64, per_commit: u64) -> Result<Duration, StoreError> {
    let input: Vec<[u8; 16]> = (0..RECORDS).map(|record| key(record, keys)).collect();
    let mut stores = stores(base, StoreKind::Timestamped)?;
    let mut offset = 0;
    let start = Cpu::start();
    for chunk in input.chunks(per_commit as usize) {
        let store = stores.timestamped(STORE);
        for (i, key) in chunk.iter().enumerate() {
            let count = match store.get(key)? {
                Some((value, _)) => i64::from_be_bytes(value.try_into().expect("a count has 8 bytes")),
                None => 0,
            };
            store.put(key, &(count + 1).to_be_bytes(), Timestamp::from_millis(i as i64));
        }
        commit(&mut stores, &mut offset)?;
    }
    Ok(start.elapsed())
}

/// Reads every key by itself, after having read so many ahead at once.
fn lookup(base: &Arc<dyn ByteStore>, keys: u64, ahead: usize) -> Result<Duration, StoreError> {
    let input: Vec<[u8; 16]> = (0..RECORDS).map(|record| key(record * 7, keys)).collect();
    let mut stores = stores(base, StoreKind::Timestamped)?;
    let store = stores.timestamped(STORE);
    let start = Cpu::start();
    let mut found = 0_u64;
    for chunk in input.chunks(ahead.max(1)) {
        if ahead > 0 {
            store.prefetch(&chunk.iter().map(|key| &key[..]).collect::<Vec<_>>())?;
        }
        for key in chunk {
            found += u64::from(store.get(key)?.is_some());
        }
    }
    assert!(found > 0);
    Ok(start.elapsed())
}

fn restore(base: &Arc<dyn ByteStore>) -> Result<Duration, StoreError> {
    let input: Vec<[u8; 16]> = (0..RECORDS).map(|record| key(record, RECORDS)).collect();
    let mut stores = stores(base, StoreKind::Timestamped)?;
    let start = Cpu::start();
    for (i, chunk) in input.chunks(10_000).enumerate() {
        let records: Vec<_> = chunk
            .iter()
            .map(|key| ChangelogRecord::new(key, Some(&key[..8]), Timestamp::MIN))
            .collect();
        let position = ChangelogPosition {
            topic_id: TopicId([1; 16]),
            next_offset: (i as i64 + 1) * 10_000,
            committed_at: Timestamp::MIN,
        };
        stores.restore(STORE, &records, position)?;
    }
    Ok(start.elapsed())
}

fn windowed(base: &Arc<dyn ByteStore>) -> Result<Duration, StoreError> {
    let kind = StoreKind::Window {
        retention_ms: 600_000,
        values: WindowValues::Timestamped,
    };
    let mut stores = stores(base, kind)?;
    let mut offset = 0;
    let start = Cpu::start();
    for record in 0..RECORDS {
        let (key, ms) = (key(record, 10_000), record as i64);
        let window = ms - ms % 60_000;
        let store = stores.window(STORE);
        let count = match store.get(&key, window)? {
            Some((value, _)) => i64::from_be_bytes(value.try_into().expect("a count has 8 bytes")),
            None => 0,
        };
        let _ = store.put(
            &key,
            window,
            &(count + 1).to_be_bytes(),
            Timestamp::from_millis(ms),
        );
        if record % 100_000 == 0 {
            commit(&mut stores, &mut offset)?;
        }
    }
    Ok(start.elapsed())
}

fn join_side(base: &Arc<dyn ByteStore>) -> Result<Duration, StoreError> {
    let kind = StoreKind::Window {
        retention_ms: 600_000,
        values: WindowValues::Duplicates,
    };
    let mut stores = stores(base, kind)?;
    let mut offset = 0;
    let start = Cpu::start();
    for record in 0..RECORDS / 10 {
        let (key, ms) = (key(record, 10_000), record as i64 * 10);
        let store = stores.window(STORE);
        let _ = store.put(&key, ms, &key, Timestamp::from_millis(ms));
        let mut rows = store.fetch(&key, ms - 60_000, ms + 60_000, Direction::Forward)?;
        while rows.entry().is_some() {
            rows.advance()?;
        }
        drop(rows);
        if record % 50_000 == 0 {
            commit(&mut stores, &mut offset)?;
        }
    }
    Ok(start.elapsed())
}
