//! The versioned store, and against all versions ever put.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    ByteStore, ChangelogPosition, Family, MemoryByteStore, StateStores, StoreId, StoreKind, StoreOptions,
    StoreSpec, TopicId,
};

const V: StoreId = StoreId::new(0);
const MINUTE: i64 = 60_000;

fn memory() -> Arc<MemoryByteStore> {
    Arc::new(MemoryByteStore::new(&["v"]))
}

fn open(base: &Arc<MemoryByteStore>, history_retention_ms: i64) -> StateStores {
    let specs = [StoreSpec::new("v", StoreKind::Versioned { history_retention_ms })];
    StateStores::open(
        Arc::clone(base) as Arc<dyn ByteStore>,
        &specs,
        &StoreOptions::default(),
    )
    .unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn value_at(store: &mut VersionedStore, key: &[u8], ms: i64) -> Option<Vec<u8>> {
    store
        .get_as_of(key, at(ms))
        .unwrap()
        .map(|version| version.value.to_vec())
}

#[test]
fn versions_are_found_as_of_their_time() {
    let mut stores = open(&memory(), 10 * MINUTE);
    let v = stores.versioned(V);
    assert_eq!(v.put(b"k", Some(b"1"), at(10)).unwrap(), VersionPut::Latest);
    assert_eq!(v.put(b"k", Some(b"3"), at(30)).unwrap(), VersionPut::Latest);
    let superseded = VersionPut::Superseded { valid_to: at(30) };
    assert_eq!(v.put(b"k", Some(b"2"), at(20)).unwrap(), superseded);
    assert_eq!(v.put(b"k", None, at(40)).unwrap(), VersionPut::Latest);
    let seen: Vec<_> = [9, 10, 19, 20, 29, 30, 39, 40, 99]
        .map(|ms| value_at(v, b"k", ms))
        .into();
    let expected = ["", "1", "1", "2", "2", "3", "3", "", ""];
    assert_eq!(
        seen,
        expected.map(|value| (!value.is_empty()).then(|| value.as_bytes().to_vec()))
    );
    assert_eq!(v.get(b"k").unwrap(), None);
    let version = v.get_as_of(b"k", at(25)).unwrap().unwrap();
    assert_eq!((version.valid_from, version.valid_to), (at(20), Some(at(30))));
}

#[test]
fn a_deletion_in_place_of_a_version_is_known_from_the_value_it_ends() {
    let mut stores = open(&memory(), 10 * MINUTE);
    let v = stores.versioned(V);
    for (key, value, ms) in [
        (b"ends", Some(b"1"), 10),
        (b"ends", Some(b"2"), 30),
        (b"ends", None, 30),
        (b"gone", None, 10),
        (b"gone", Some(b"2"), 30),
        (b"gone", None, 30),
        (b"only", Some(b"2"), 30),
        (b"only", None, 30),
    ] {
        assert_eq!(
            v.put(key, value.map(<[u8; 1]>::as_slice), at(ms)).unwrap(),
            VersionPut::Latest
        );
    }
    let superseded = VersionPut::Superseded { valid_to: at(30) };
    assert_eq!(v.put(b"ends", Some(b"3"), at(20)).unwrap(), superseded);
    assert_eq!(v.put(b"gone", Some(b"3"), at(20)).unwrap(), VersionPut::Latest);
    assert_eq!(v.put(b"only", Some(b"3"), at(20)).unwrap(), VersionPut::Latest);
    for (key, expected) in [
        (b"ends", [None, Some("1"), Some("3"), None]),
        (b"gone", [None, None, Some("3"), Some("3")]),
        (b"only", [None, None, Some("3"), Some("3")]),
    ] {
        let seen = [9, 15, 20, 30].map(|ms| value_at(v, key, ms));
        assert_eq!(
            seen,
            expected.map(|value| value.map(|value| value.as_bytes().to_vec()))
        );
    }
}

#[test]
fn a_version_older_than_the_history_is_dropped_and_the_latest_never() {
    let mut stores = open(&memory(), 100);
    let v = stores.versioned(V);
    assert_eq!(v.put(b"old", Some(b"v"), at(0)).unwrap(), VersionPut::Latest);
    assert_eq!(v.put(b"new", Some(b"v"), at(100)).unwrap(), VersionPut::Latest);
    assert_eq!(
        v.put(b"edge", Some(b"v"), at(0)).unwrap(),
        VersionPut::Latest,
        "exactly as far as it goes"
    );
    assert_eq!(v.put(b"new", Some(b"w"), at(101)).unwrap(), VersionPut::Latest);
    assert_eq!(v.put(b"late", Some(b"v"), at(0)).unwrap(), VersionPut::Expired);
    assert_eq!(value_at(v, b"old", 0), Some(b"v".to_vec()));
    assert_eq!(value_at(v, b"new", 100), Some(b"v".to_vec()));
    assert_eq!(v.put(b"new", Some(b"x"), at(201)).unwrap(), VersionPut::Latest);
    assert_eq!(value_at(v, b"new", 100), None, "the history no longer goes there");
}

#[test]
fn deleted_keys_leave_nothing_once_the_history_has_passed() {
    let base = memory();
    let mut stores = open(&base, MINUTE);
    for i in 0..50_i64 {
        let key = i.to_be_bytes();
        let _ = stores.versioned(V).put(&key, Some(b"v"), at(i)).unwrap();
        let _ = stores.versioned(V).put(&key, None, at(i + 1)).unwrap();
    }
    stores.commit(&[]).unwrap();
    assert!(base.approximate_size(Family::of_store(0)).unwrap().rows >= 50);
    let _ = stores
        .versioned(V)
        .put(b"k", Some(b"v"), at(100 * MINUTE))
        .unwrap();
    stores.commit(&[]).unwrap();
    assert_eq!(base.approximate_size(Family::of_store(0)).unwrap().rows, 1);
}

#[test]
fn every_version_goes_to_the_changelog() {
    let mut stores = open(&memory(), MINUTE);
    let _ = stores.versioned(V).put(b"k", Some(b"1"), at(1)).unwrap();
    let _ = stores.versioned(V).put(b"k", None, at(2)).unwrap();
    let mut records = Vec::new();
    stores.changelog(&mut |_, r| {
        records.push((r.key.to_vec(), r.value.map(<[u8]>::to_vec), r.timestamp.millis()));
    });
    assert_eq!(
        records,
        [(b"k".to_vec(), Some(b"1".to_vec()), 1), (b"k".to_vec(), None, 2)]
    );
    assert!(stores.dirty_bytes() > 0);
    stores.commit(&[]).unwrap();
    stores.changelog(&mut |_, r| panic!("{r:?} again"));
    assert_eq!(stores.dirty_bytes(), 0);
    let _ = stores.versioned(V).put(b"k", Some(b"3"), at(3)).unwrap();
    stores.discard();
    stores.changelog(&mut |_, r| panic!("{r:?} was discarded"));
}

#[test]
fn the_latest_values_are_scanned_in_order() {
    let mut stores = open(&memory(), MINUTE);
    let v = stores.versioned(V);
    for (key, value) in [(b"c", b"3"), (b"a", b"1"), (b"b", b"2"), (b"a", b"4")] {
        let _ = v.put(key, Some(value), at(i64::from(value[0]))).unwrap();
    }
    let mut rows = v.range(None, Some(b"b"), Direction::Backward).unwrap();
    let mut seen = Vec::new();
    while let Some((key, value, _)) = rows.entry() {
        seen.push((key.to_vec(), value.to_vec()));
        rows.advance().unwrap();
    }
    assert_eq!(
        seen,
        [(b"b".to_vec(), b"2".to_vec()), (b"a".to_vec(), b"4".to_vec())]
    );
}

type Versions = BTreeMap<i64, Option<u8>>;

fn model_at(versions: &Versions, ms: i64) -> Option<Vec<u8>> {
    versions
        .range(..=ms)
        .next_back()
        .and_then(|(_, value)| value.map(|value| vec![value]))
}

/// Kafka Streams forgets a deletion in place of the latest version, if it has the time of that version and ends no value.
fn put_in_model(versions: &mut Versions, ms: i64, value: Option<u8>) {
    let is_latest = versions.range(ms + 1..).next().is_none();
    let replaces_value = versions.get(&ms).is_some_and(Option::is_some);
    let ends_a_value = versions
        .range(..ms)
        .next_back()
        .is_some_and(|(_, before)| before.is_some());
    if value.is_none() && is_latest && replaces_value && !ends_a_value {
        versions.remove(&ms);
    } else {
        versions.insert(ms, value);
    }
}

proptest! {
    // Against all versions ever put: within the history both agree at every time, however the puts came, whether
    // they were committed, or restored from the changelog.
    #[test]
    fn a_versioned_store_knows_its_history(
        puts in prop::collection::vec((0..3_u8, 0..40_i64, prop::option::of(any::<u8>()), any::<bool>()), 1..50),
        retention in prop_oneof![Just(0_i64), Just(3 * MINUTE), Just(1_000 * MINUTE)],
    ) {
        let mut stores = open(&memory(), retention);
        let mut copy = open(&memory(), retention);
        let mut model: BTreeMap<u8, Versions> = BTreeMap::new();
        let mut time = i64::MIN;
        for (key, step, value, commit) in puts {
            let ms = step * MINUTE / 3;
            time = time.max(ms);
            let row_key = vec![b'k'; usize::from(key)];
            let value_bytes = value.map(|value| vec![value]);
            let put = stores.versioned(V).put(&row_key, value_bytes.as_deref(), at(ms)).unwrap();
            prop_assert_eq!(put == VersionPut::Expired, ms < time - retention);
            if put == VersionPut::Expired {
                continue;
            }
            let versions = model.entry(key).or_default();
            put_in_model(versions, ms, value);
            let next = versions.range(ms + 1..).next().map(|(next, _)| at(*next));
            let expected = next.map_or(VersionPut::Latest, |valid_to| VersionPut::Superseded { valid_to });
            prop_assert_eq!(put, expected);
            if commit {
                let mut records = Vec::new();
                stores.changelog(&mut |_, r| {
                    records.push((r.key.to_vec(), r.value.map(<[u8]>::to_vec), r.timestamp));
                });
                let records: Vec<_> =
                    records.iter().map(|(k, v, t)| ChangelogRecord::new(k, v.as_deref(), *t)).collect();
                let position =
                    ChangelogPosition { topic_id: TopicId::default(), next_offset: 1, committed_at: at(0) };
                copy.restore(V, &records, position).unwrap();
                stores.commit(&[]).unwrap();
                check(copy.versioned(V), &model, time, retention)?;
            }
            check(stores.versioned(V), &model, time, retention)?;
        }
    }
}

fn check(
    store: &mut VersionedStore,
    model: &BTreeMap<u8, Versions>,
    time: i64,
    retention: i64,
) -> Result<(), TestCaseError> {
    for (key, versions) in model {
        let row_key = vec![b'k'; usize::from(*key)];
        for step in 0..=40 {
            let ms = step * MINUTE / 3;
            if ms >= time - retention {
                let seen = value_at(store, &row_key, ms);
                prop_assert_eq!(seen, model_at(versions, ms), "{:?} as of {}", row_key, ms);
            }
        }
        let latest = store.get(&row_key).unwrap().map(|version| version.value.to_vec());
        prop_assert_eq!(latest, model_at(versions, i64::MAX));
    }
    Ok(())
}
