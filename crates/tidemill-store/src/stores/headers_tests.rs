//! Stores that keep headers: what stands beside a value is seen, committed and restored with it, and the changelog has
//! the same keys and values as without.

use std::sync::Arc;

use tidemill_data::{Headers, Timestamp};

use super::*;
use crate::{ChangelogPosition, ChangelogRecord, MemoryByteStore, Put, TopicId, WindowValues};

const ID: StoreId = StoreId::new(0);
const WINDOW: StoreKind = StoreKind::Window {
    retention_ms: 1_000_000,
    values: WindowValues::Timestamped,
};
const DUPLICATES: StoreKind = StoreKind::Window {
    retention_ms: 1_000_000,
    values: WindowValues::Duplicates,
};
const SESSION: StoreKind = StoreKind::Session {
    retention_ms: 1_000_000,
};
const VERSIONED: StoreKind = StoreKind::Versioned {
    history_retention_ms: 1_000_000,
};
const KINDS: [StoreKind; 6] = [
    StoreKind::KeyValue,
    StoreKind::Timestamped,
    WINDOW,
    DUPLICATES,
    SESSION,
    VERSIONED,
];

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn trace(id: &str) -> Headers {
    Headers::new().with("trace", id.to_owned())
}

fn open(base: &Arc<MemoryByteStore>, kind: StoreKind, keeps_headers: bool) -> StateStores {
    let spec = StoreSpec {
        keeps_headers,
        ..StoreSpec::new("s", kind)
    };
    StateStores::open(
        Arc::clone(base) as Arc<dyn ByteStore>,
        &[spec],
        &StoreOptions::default(),
    )
    .unwrap()
}

fn memory() -> Arc<MemoryByteStore> {
    Arc::new(MemoryByteStore::new(&["s"]))
}

fn put(stores: &mut StateStores, kind: StoreKind, value: &[u8], ms: i64, headers: &Headers) {
    match kind {
        StoreKind::KeyValue => stores
            .key_value(ID)
            .put_with_headers(b"k", value, at(ms), headers),
        StoreKind::Timestamped => stores
            .timestamped(ID)
            .put_with_headers(b"k", value, at(ms), headers),
        StoreKind::Window { .. } => {
            let put = stores
                .window(ID)
                .put_with_headers(b"k", 100, value, at(ms), headers);
            assert_eq!(put, Put::Kept);
        }
        StoreKind::Session { .. } => {
            let put = stores
                .session(ID)
                .put_with_headers(b"k", (100, 200), value, at(ms), headers);
            assert_eq!(put, Put::Kept);
        }
        StoreKind::Versioned { .. } => {
            let _ = stores
                .versioned(ID)
                .put_with_headers(b"k", Some(value), at(ms), headers)
                .unwrap();
        }
    }
}

/// Values with their headers, in the order of the store.
fn rows(stores: &mut StateStores, kind: StoreKind) -> Vec<(Vec<u8>, Headers)> {
    let forward = crate::Direction::Forward;
    let mut found = Vec::new();
    match kind {
        StoreKind::KeyValue => {
            let headers = stores.key_value(ID).headers(b"k").unwrap();
            found.extend(
                stores
                    .key_value(ID)
                    .get(b"k")
                    .unwrap()
                    .map(|value| (value.to_vec(), headers)),
            );
        }
        StoreKind::Timestamped => {
            let headers = stores.timestamped(ID).headers(b"k").unwrap();
            found.extend(
                stores
                    .timestamped(ID)
                    .get(b"k")
                    .unwrap()
                    .map(|(value, _)| (value.to_vec(), headers)),
            );
        }
        StoreKind::Window { .. } => {
            let mut rows = stores.window(ID).fetch(b"k", 0, i64::MAX, forward).unwrap();
            while let Some(row) = rows.entry() {
                found.push((row.value.to_vec(), rows.headers().unwrap()));
                rows.advance().unwrap();
            }
        }
        StoreKind::Session { .. } => {
            let mut rows = stores.session(ID).fetch(b"k", forward).unwrap();
            while let Some(row) = rows.entry() {
                found.push((row.value.to_vec(), rows.headers().unwrap()));
                rows.advance().unwrap();
            }
        }
        StoreKind::Versioned { .. } => {
            for ms in [100, 200] {
                let headers = stores.versioned(ID).headers_as_of(b"k", at(ms)).unwrap();
                let version = stores.versioned(ID).get_as_of(b"k", at(ms)).unwrap();
                found.extend(version.map(|version| (version.value.to_vec(), headers)));
            }
        }
    }
    found
}

type Logged = (Vec<u8>, Option<Vec<u8>>, i64, Headers);

fn changelog(stores: &StateStores) -> Vec<Logged> {
    let mut log = Vec::new();
    stores.changelog(&mut |_, record| {
        let value = record.value.map(<[u8]>::to_vec);
        log.push((
            record.key.to_vec(),
            value,
            record.timestamp.millis(),
            record.headers.clone(),
        ));
    });
    log
}

const POSITION: ChangelogPosition = ChangelogPosition {
    topic_id: TopicId([1; 16]),
    next_offset: 9,
    committed_at: Timestamp::MIN,
};

fn expected(kind: StoreKind) -> Vec<(Vec<u8>, Headers)> {
    let (first, second) = ((b"v1".to_vec(), trace("1")), (b"v2".to_vec(), trace("2")));
    match kind {
        DUPLICATES | VERSIONED => vec![first, second],
        _ => vec![second],
    }
}

#[test]
fn headers_stand_beside_values_and_are_committed_and_restored_with_them() {
    for kind in KINDS {
        let base = memory();
        let mut stores = open(&base, kind, true);
        put(&mut stores, kind, b"v1", 100, &trace("1"));
        put(&mut stores, kind, b"v2", 200, &trace("2"));
        assert_eq!(rows(&mut stores, kind), expected(kind), "{kind:?}, written");
        let log = changelog(&stores);
        stores.commit(&[(ID, POSITION)]).unwrap();
        assert_eq!(rows(&mut stores, kind), expected(kind), "{kind:?}, committed");
        let mut again = open(&base, kind, true);
        assert!(!again.layout_changed(ID));
        assert_eq!(rows(&mut again, kind), expected(kind), "{kind:?}, opened again");

        let mut restored = open(&memory(), kind, true);
        let records: Vec<ChangelogRecord<'_>> = log
            .iter()
            .map(|(key, value, ms, headers)| ChangelogRecord {
                key,
                value: value.as_deref(),
                timestamp: at(*ms),
                headers,
            })
            .collect();
        restored.restore(ID, &records, POSITION).unwrap();
        assert_eq!(rows(&mut restored, kind), expected(kind), "{kind:?}, restored");
    }
}

#[test]
fn the_changelog_has_the_same_bytes_as_without_headers() {
    for kind in KINDS {
        let log = |keeps_headers| {
            let mut stores = open(&memory(), kind, keeps_headers);
            put(&mut stores, kind, b"v1", 100, &trace("1"));
            put(&mut stores, kind, b"v2", 200, &trace("2"));
            changelog(&stores)
        };
        assert_eq!(log(true), log(false), "{kind:?}");
    }
}

#[test]
fn a_store_that_begins_or_ceases_to_keep_headers_is_restored() {
    for kind in KINDS {
        let base = memory();
        for keeps_headers in [false, true, false] {
            let mut stores = open(&base, kind, keeps_headers);
            assert_eq!(stores.position(ID), None, "{kind:?}");
            assert_eq!(rows(&mut stores, kind), []);
            put(&mut stores, kind, b"v", 100, &trace("1"));
            stores.commit(&[(ID, POSITION)]).unwrap();
        }
    }
}

#[test]
fn a_row_without_its_headers_is_an_error() {
    let base = memory();
    open(&base, StoreKind::KeyValue, true).commit(&[]).unwrap();
    let ops = [WriteOp::Put {
        family: Family::of_store(0),
        key: b"k",
        value: &[0xff, 0xff, 0xff],
    }];
    base.write(&mut ops.into_iter()).unwrap();
    let mut stores = open(&base, StoreKind::KeyValue, true);
    assert!(stores.key_value(ID).get(b"k").is_err());
    assert!(stores.key_value(ID).headers(b"k").is_err());
    let rows = stores.key_value(ID).all(crate::Direction::Forward).unwrap();
    assert!(rows.headers().is_err());
}
