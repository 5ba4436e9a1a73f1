//! The database conforms, survives, and says what is wrong with its files.

#![allow(clippy::disallowed_methods, reason = "tests break files on purpose")]

use std::fs;

use tidemill_data::Timestamp;
use tidemill_store::{
    ChangelogPosition, MemoryByteStore, StateStores, StoreId, StoreKind, StoreOptions, StoreSpec, TopicId,
};

use super::*;

fn budget() -> MemoryBudget {
    MemoryBudget::new(32 << 20)
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> WriteOp<'a> {
    WriteOp::Put {
        family: Family::of_store(0),
        key,
        value,
    }
}

fn get(db: &RocksDb, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    db.get(Family::of_store(0), key, &mut value)
        .unwrap()
        .then_some(value)
}

#[test]
fn rocksdb_conforms() {
    let parent = tempfile::tempdir().unwrap();
    let memory = budget();
    let mut count = 0;
    tidemill_store::conformance::check(&mut |names| {
        count += 1;
        Box::new(RocksDb::open(&parent.path().join(count.to_string()), names, &memory).unwrap())
    });
    assert!(count > 5, "the suite opens a database a check");
}

#[test]
fn what_is_written_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/when/missing");
    let db = RocksDb::open(&path, &["s"], &budget()).unwrap();
    db.write(&mut [put(b"k", b"v")].into_iter()).unwrap();
    drop(db);
    let db = RocksDb::open(&path, &["s", "new"], &budget()).unwrap();
    assert_eq!(get(&db, b"k"), Some(b"v".to_vec()));
    assert_eq!(db.family("new"), Some(Family::of_store(1)));
}

#[test]
fn stores_keep_their_rows_when_the_order_of_stores_changes_and_lose_them_when_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let db = RocksDb::open(dir.path(), &["a", "default"], &budget()).unwrap();
    db.write(&mut [put(b"k", b"of a")].into_iter()).unwrap();
    drop(db);
    let db = RocksDb::open(dir.path(), &["default", "a"], &budget()).unwrap();
    assert_eq!(get(&db, b"k"), None);
    let mut value = Vec::new();
    assert!(db.get(db.family("a").unwrap(), b"k", &mut value).unwrap());
    assert_eq!(value, b"of a");
    drop(db);
    drop(RocksDb::open(dir.path(), &["default"], &budget()).unwrap());
    let db = RocksDb::open(dir.path(), &["a"], &budget()).unwrap();
    assert_eq!(get(&db, b"k"), None);
}

#[test]
fn a_directory_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    // The word lock in a path is no lock.
    let path = dir.path().join("blocks");
    let _open = RocksDb::open(&path, &["s"], &budget()).unwrap();
    let refused = RocksDb::open(&path, &["s"], &budget()).err().unwrap();
    assert!(
        matches!(&refused, OpenError::Locked { path: named, .. } if *named == path),
        "{refused}"
    );
    assert!(
        refused.to_string().contains(&path.display().to_string()),
        "{refused}"
    );
}

#[test]
fn broken_files_are_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    for (place, damage) in [("garbage", &b"no manifest\n"[..]), ("cut", b"")] {
        let path = dir.path().join(place).join("lock");
        drop(RocksDb::open(&path, &["s"], &budget()).unwrap());
        fs::write(path.join("CURRENT"), damage).unwrap();
        let refused = RocksDb::open(&path, &["s"], &budget()).err().unwrap();
        assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
    }
    let path = dir.path().join("locked-manifest");
    drop(RocksDb::open(&path, &["s"], &budget()).unwrap());
    for file in fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()) {
        if file
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("MANIFEST")
        {
            fs::remove_file(file).unwrap();
        }
    }
    let refused = RocksDb::open(&path, &["s"], &budget()).err().unwrap();
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
}

#[test]
fn a_file_in_the_way_is_an_error_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"").unwrap();
    let refused = RocksDb::open(&path, &["s"], &budget()).err().unwrap();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
}

#[test]
fn a_commit_cut_anywhere_in_the_log_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    let specs = [
        StoreSpec::new("a", StoreKind::Timestamped),
        StoreSpec::new("b", StoreKind::KeyValue),
    ];
    let open = |path: &Path| {
        let db = RocksDb::open(path, &["a", "b"], &budget()).unwrap();
        StateStores::open(std::sync::Arc::new(db), &specs, &StoreOptions::default()).unwrap()
    };
    let mut stores = open(&origin);
    for commit in 1..=3_i64 {
        let value = [b'0' + commit as u8; 40];
        stores
            .timestamped(StoreId::new(0))
            .put(b"k", &value, Timestamp::from_millis(commit));
        stores
            .key_value(StoreId::new(1))
            .put(b"k", &value, Timestamp::from_millis(commit));
        let position = ChangelogPosition {
            topic_id: TopicId([1; 16]),
            next_offset: commit,
            committed_at: Timestamp::from_millis(commit),
        };
        stores
            .commit(&[(StoreId::new(0), position), (StoreId::new(1), position)])
            .unwrap();
    }
    drop(stores);
    let log = newest_log(&origin);
    let whole = fs::read(origin.join(&log)).unwrap();
    assert!(!whole.is_empty());
    for cut in (0..whole.len()).step_by(7) {
        let path = dir.path().join(format!("cut-{cut}"));
        copy(&origin, &path);
        fs::write(path.join(&log), &whole[..cut]).unwrap();
        let mut stores = open(&path);
        let offset = stores
            .position(StoreId::new(0))
            .map_or(0, |position| position.next_offset);
        let value = (offset > 0).then(|| [b'0' + offset as u8; 40]);
        let (a, b) = (StoreId::new(0), StoreId::new(1));
        assert_eq!(
            stores.position(b).map_or(0, |position| position.next_offset),
            offset
        );
        assert_eq!(
            stores.timestamped(a).get(b"k").unwrap().map(|row| row.0),
            value.as_ref().map(|v| &v[..])
        );
        assert_eq!(
            stores.key_value(b).get(b"k").unwrap(),
            value.as_ref().map(|v| &v[..])
        );
        drop(stores);
        fs::remove_dir_all(path).unwrap();
    }
}

fn newest_log(path: &Path) -> std::ffi::OsString {
    let logs = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    logs.filter(|name| name.to_string_lossy().ends_with(".log"))
        .max()
        .unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn memory_and_rocksdb_give_the_same_scans_over_an_overlay() {
    let dir = tempfile::tempdir().unwrap();
    let specs = [StoreSpec::new("s", StoreKind::KeyValue)];
    let bases: [std::sync::Arc<dyn ByteStore>; 2] = [
        std::sync::Arc::new(MemoryByteStore::new(&["s"])),
        std::sync::Arc::new(RocksDb::open(dir.path(), &["s"], &budget()).unwrap()),
    ];
    let [memory, rocks] = bases.map(|base| {
        let mut stores = StateStores::open(base, &specs, &StoreOptions::default()).unwrap();
        let id = StoreId::new(0);
        for step in 0_u32..400 {
            let key = [(step.wrapping_mul(2_654_435_761) >> 24) as u8 & 63];
            match step % 5 {
                0 => stores.key_value(id).delete(&key, Timestamp::MIN),
                _ => stores
                    .key_value(id)
                    .put(&key, &step.to_be_bytes(), Timestamp::MIN),
            }
            if step % 90 == 0 {
                stores.commit(&[]).unwrap();
            }
        }
        let mut rows = stores
            .key_value(id)
            .range(Some(&[3]), Some(&[60]), Direction::Backward)
            .unwrap();
        let mut seen = Vec::new();
        while let Some((key, value)) = rows.entry() {
            seen.push((key.to_vec(), value.to_vec()));
            rows.advance().unwrap();
        }
        seen
    });
    assert!(memory.len() > 10);
    assert_eq!(memory, rocks);
}

#[test]
fn databases_share_one_budget() {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryBudget::new(16 << 20);
    let before = memory.bytes_used();
    let dbs: Vec<RocksDb> = (0..3)
        .map(|i| RocksDb::open(&dir.path().join(i.to_string()), &["s"], &memory).unwrap())
        .collect();
    for db in &dbs {
        for i in 0..2_000_u32 {
            db.write(&mut [put(&i.to_be_bytes(), &[1; 1_000])].into_iter())
                .unwrap();
        }
    }
    assert!(memory.bytes_used() > before);
    assert!(memory.bytes_used() <= 2 * memory.bytes(), "{memory:?}");
}
