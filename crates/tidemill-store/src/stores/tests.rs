//! Stores together: changelog, commit, discard, restore; and key-value stores against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemill_data::{Headers, Timestamp};

use super::*;
use crate::{Direction, MemoryByteStore, TopicId};

const AT: Timestamp = Timestamp::from_millis(5);

fn open(base: &Arc<MemoryByteStore>, kinds: &[StoreKind]) -> StateStores {
    let names = ["a", "b", "c"];
    let specs: Vec<StoreSpec> = kinds
        .iter()
        .zip(names)
        .map(|(kind, name)| StoreSpec::new(name, *kind))
        .collect();
    StateStores::open(
        Arc::clone(base) as Arc<dyn ByteStore>,
        &specs,
        &StoreOptions::default(),
    )
    .unwrap()
}

fn memory() -> Arc<MemoryByteStore> {
    Arc::new(MemoryByteStore::new(&["a", "b", "c"]))
}

fn position(next_offset: i64) -> ChangelogPosition {
    ChangelogPosition {
        topic_id: TopicId([9; 16]),
        next_offset,
        committed_at: Timestamp::from_millis(1_000 + next_offset),
    }
}

type Logged = (usize, Vec<u8>, Option<Vec<u8>>, i64);

fn changelog(stores: &StateStores) -> Vec<Logged> {
    let mut records = Vec::new();
    stores.changelog(&mut |id, record| {
        let value = record.value.map(<[u8]>::to_vec);
        records.push((id.place(), record.key.to_vec(), value, record.timestamp.millis()));
    });
    records
}

const A: StoreId = StoreId::new(0);
const B: StoreId = StoreId::new(1);

#[test]
fn the_changelog_has_the_plain_value_and_the_rows_timestamp() {
    let mut stores = open(&memory(), &[StoreKind::Timestamped, StoreKind::KeyValue]);
    stores.timestamped(A).put(b"k", b"v", Timestamp::from_millis(42));
    stores.timestamped(A).delete(b"gone", Timestamp::from_millis(43));
    stores.key_value(B).put(b"k", b"w", Timestamp::from_millis(44));
    let expected = [
        (0, b"k".to_vec(), Some(b"v".to_vec()), 42),
        (0, b"gone".to_vec(), None, 43),
        (1, b"k".to_vec(), Some(b"w".to_vec()), 44),
    ];
    assert_eq!(changelog(&stores), expected);
    assert_eq!(
        changelog(&stores),
        expected,
        "reading the changelog changes nothing"
    );
    stores.commit(&[]).unwrap();
    assert_eq!(changelog(&stores), []);
}

#[test]
fn headers_go_to_the_changelog() {
    let mut stores = open(&memory(), &[StoreKind::Timestamped]);
    let headers = Headers::new().with("trace", "1");
    stores.timestamped(A).put_with_headers(b"k", b"v", AT, &headers);
    let mut seen = Vec::new();
    stores.changelog(&mut |_, record| seen.push(record.headers.clone()));
    assert_eq!(seen, [headers]);
}

#[test]
fn a_commit_brings_rows_and_positions_together_to_the_database() {
    let base = memory();
    let mut stores = open(&base, &[StoreKind::Timestamped, StoreKind::KeyValue]);
    stores.timestamped(A).put(b"k", b"v", AT);
    stores.key_value(B).put(b"k", b"w", AT);
    assert!(stores.is_dirty() && stores.dirty_bytes() > 0);
    assert_eq!(
        base.approximate_size(Family::of_store(0)).unwrap().rows,
        0,
        "nothing before the commit"
    );
    stores.commit(&[(A, position(7))]).unwrap();
    assert!(!stores.is_dirty());
    let mut again = open(&base, &[StoreKind::Timestamped, StoreKind::KeyValue]);
    assert_eq!((again.position(A), again.position(B)), (Some(position(7)), None));
    assert_eq!(again.timestamped(A).get(b"k").unwrap(), Some((&b"v"[..], AT)));
    assert_eq!(again.key_value(B).get(b"k").unwrap(), Some(&b"w"[..]));
    again.commit(&[(B, position(1))]).unwrap();
    let again = open(&base, &[StoreKind::Timestamped, StoreKind::KeyValue]);
    assert_eq!(
        again.position(A),
        Some(position(7)),
        "a store without a position keeps its own"
    );
    assert_eq!(again.position(B), Some(position(1)));
}

#[test]
fn the_row_in_the_database_has_the_timestamp_in_front() {
    let base = memory();
    let mut stores = open(&base, &[StoreKind::Timestamped]);
    stores.timestamped(A).put(b"k", b"v", Timestamp::from_millis(258));
    stores.commit(&[]).unwrap();
    let mut row = Vec::new();
    assert!(base.get(Family::of_store(0), b"k", &mut row).unwrap());
    assert_eq!(row, [0, 0, 0, 0, 0, 0, 1, 2, b'v']);
}

#[test]
fn a_held_commit_reaches_the_database_with_a_later_one_or_when_asked() {
    let base = memory();
    let options = StoreOptions {
        commits_held_max: 2,
        ..StoreOptions::default()
    };
    let specs = [
        StoreSpec::new("a", StoreKind::KeyValue),
        StoreSpec::new("b", StoreKind::KeyValue),
    ];
    let mut stores = StateStores::open(Arc::clone(&base) as Arc<dyn ByteStore>, &specs, &options).unwrap();
    let in_database = || {
        open(&base, &[StoreKind::KeyValue; 2])
            .position(A)
            .map(|p| p.next_offset)
    };
    let commit = |stores: &mut StateStores, at| {
        stores.key_value(A).put(b"k", &[at], AT);
        stores.commit(&[(A, position(at.into()))]).unwrap();
        assert!(!stores.is_dirty());
        assert_eq!(stores.position(A), Some(position(at.into())));
        assert_eq!(stores.key_value(A).get(b"k").unwrap(), Some(&[at][..]));
    };
    let seen: Vec<_> = (1..=4)
        .map(|at| {
            commit(&mut stores, at);
            in_database()
        })
        .collect();
    assert_eq!(
        seen,
        [None, None, Some(3), Some(3)],
        "two are held, the third brings all"
    );
    stores.settle().unwrap();
    assert_eq!(in_database(), Some(4));

    // A store that no changelog follows is never held, nor is then anything else.
    stores.key_value(B).put(b"k", b"v", AT);
    commit(&mut stores, 5);
    assert_eq!(in_database(), Some(5));

    // Discarding goes back to what the database has, and says from where the changelog goes on.
    commit(&mut stores, 6);
    stores.discard();
    assert_eq!(stores.position(A), Some(position(5)));
    assert_eq!(stores.key_value(A).get(b"k").unwrap(), Some(&[5][..]));
}

#[test]
fn discarding_goes_back_to_the_last_commit() {
    let mut stores = open(&memory(), &[StoreKind::KeyValue]);
    stores.key_value(A).put(b"k", b"kept", AT);
    stores.commit(&[(A, position(1))]).unwrap();
    stores.key_value(A).put(b"k", b"lost", AT);
    stores.key_value(A).put(b"new", b"lost", AT);
    stores.discard();
    assert!(!stores.is_dirty());
    assert_eq!(stores.key_value(A).get(b"k").unwrap(), Some(&b"kept"[..]));
    assert_eq!(stores.key_value(A).get(b"new").unwrap(), None);
    assert_eq!(stores.position(A), Some(position(1)));
}

#[test]
fn what_is_restored_may_wait_and_goes_to_the_database_once_with_its_position() {
    let base = memory();
    let specs = [StoreSpec::new("a", StoreKind::KeyValue)];
    let options = StoreOptions {
        commits_held_max: 1,
        ..StoreOptions::default()
    };
    let mut stores = StateStores::open(Arc::clone(&base) as Arc<dyn ByteStore>, &specs, &options).unwrap();
    let seen = || {
        let mut other = open(&base, &[StoreKind::KeyValue]);
        let value = other.key_value(A).get(b"k").unwrap().map(<[u8]>::to_vec);
        (value, other.position(A))
    };
    for (value, next_offset) in [(b"1", 1), (b"2", 2)] {
        let record = ChangelogRecord::new(b"k", Some(value), AT);
        stores.restore(A, &[record], position(next_offset)).unwrap();
    }
    assert_eq!(seen(), (None, None));
    assert!(changelog(&stores).is_empty(), "the changelog has it already");
    stores.discard();
    assert_eq!(stores.position(A), None, "back to what the database has");

    let record = ChangelogRecord::new(b"k", Some(b"3"), AT);
    stores.restore(A, &[record], position(3)).unwrap();
    stores.settle().unwrap();
    assert_eq!(seen(), (Some(b"3".to_vec()), Some(position(3))));

    let much = vec![7; RESTORED_BYTES_HELD];
    let record = ChangelogRecord::new(b"k", Some(&much), AT);
    stores.restore(A, &[record], position(4)).unwrap();
    assert_eq!(
        seen(),
        (Some(much), Some(position(4))),
        "what is much does not wait"
    );
}

#[test]
fn what_is_restored_is_what_was_logged() {
    let kinds = [StoreKind::Timestamped, StoreKind::KeyValue];
    let mut origin = open(&memory(), &kinds);
    for i in 0_u8..50 {
        origin
            .timestamped(A)
            .put(&[i % 10], &[i], Timestamp::from_millis(i.into()));
        origin.key_value(B).put(&[i % 7], &[i], AT);
    }
    origin.timestamped(A).delete(&[3], AT);
    let log = changelog(&origin);
    let base = memory();
    let mut copy = open(&base, &kinds);
    // The cache must not keep what it knew before.
    assert_eq!(copy.timestamped(A).get(&[1]).unwrap(), None);
    for (place, key, value, ms) in &log {
        let record = ChangelogRecord::new(key, value.as_deref(), Timestamp::from_millis(*ms));
        copy.restore(StoreId::new(*place), &[record], position(*ms))
            .unwrap();
    }
    for key in 0_u8..10 {
        let expected = origin
            .timestamped(A)
            .get(&[key])
            .unwrap()
            .map(|(v, at)| (v.to_vec(), at));
        let restored = copy
            .timestamped(A)
            .get(&[key])
            .unwrap()
            .map(|(v, at)| (v.to_vec(), at));
        assert_eq!(restored, expected);
        let expected = origin.key_value(B).get(&[key]).unwrap().map(<[u8]>::to_vec);
        assert_eq!(
            copy.key_value(B).get(&[key]).unwrap().map(<[u8]>::to_vec),
            expected
        );
    }
    assert!(
        open(&base, &kinds).position(A).is_some(),
        "restored rows and position are in the database"
    );
    copy.reset(A).unwrap();
    assert_eq!(copy.position(A), None);
    assert_eq!(copy.timestamped(A).get(&[1]).unwrap(), None);
    assert!(
        copy.key_value(B).get(&[1]).unwrap().is_some(),
        "the other store is as it was"
    );
}

#[test]
fn a_store_of_another_kind_starts_empty_and_says_so() {
    let base = memory();
    let mut stores = open(&base, &[StoreKind::KeyValue, StoreKind::KeyValue]);
    stores.key_value(A).put(b"k", b"v", AT);
    stores.key_value(B).put(b"k", b"v", AT);
    stores.commit(&[(A, position(1)), (B, position(1))]).unwrap();
    let mut stores = open(&base, &[StoreKind::Timestamped, StoreKind::KeyValue]);
    assert!(stores.layout_changed(A) && !stores.layout_changed(B));
    assert_eq!(stores.position(A), None);
    assert_eq!(stores.timestamped(A).get(b"k").unwrap(), None);
    assert_eq!(stores.key_value(B).get(b"k").unwrap(), Some(&b"v"[..]));
    assert!(!open(&base, &[StoreKind::Timestamped]).layout_changed(A), "once");
}

#[test]
fn a_missing_family_is_named() {
    let base = Arc::new(MemoryByteStore::new(&["other"]));
    let specs = [StoreSpec::new("counts", StoreKind::KeyValue)];
    let refused = StateStores::open(base, &specs, &StoreOptions::default())
        .err()
        .unwrap();
    assert!(refused.to_string().contains("\"counts\""), "{refused}");
}

#[test]
fn metadata_of_no_known_form_is_corrupt() {
    let base = memory();
    let bad = WriteOp::Put {
        family: Family::METADATA,
        key: b"a",
        value: b"\x09what is this",
    };
    base.write(&mut [bad].into_iter()).unwrap();
    let specs = [StoreSpec::new("a", StoreKind::KeyValue)];
    let refused = StateStores::open(base, &specs, &StoreOptions::default())
        .err()
        .unwrap();
    assert!(matches!(refused, StoreError::Corrupt { .. }));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Get(u8),
    Prefetch(Vec<u8>),
    Scan(u8, u8, bool),
    Commit,
    Settle,
    Discard,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..20_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..20_u8).prop_map(Step::Delete),
        4 => (0..20_u8).prop_map(Step::Get),
        1 => prop::collection::vec(0..20_u8, 0..6).prop_map(Step::Prefetch),
        3 => (0..20_u8, 0..20_u8, any::<bool>()).prop_map(|(a, b, back)| Step::Scan(a, b, back)),
        2 => Just(Step::Commit),
        1 => Just(Step::Settle),
        1 => Just(Step::Discard),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    // Against a plain map: point reads, scans in both directions and prefetching see every write, whatever was
    // committed, held, discarded or cached in between; with no, little and much room for the cache. What the database
    // does not have of the last commit comes back from the changelog.
    #[test]
    fn a_store_is_a_map(
        steps in prop::collection::vec(step(), 1..80),
        room in prop_oneof![Just(0_usize), Just(1_000), Just(1 << 20)],
        commits_held_max in 0..4_u32,
    ) {
        let base: Arc<dyn ByteStore> = Arc::new(MemoryByteStore::new(&["a"]));
        let specs = [StoreSpec::new("a", StoreKind::KeyValue)];
        let options = StoreOptions { cache_bytes_max: room, commits_held_max };
        let mut log: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let mut stores = StateStores::open(Arc::clone(&base), &specs, &options).unwrap();
        let (mut now, mut committed) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            let store = stores.key_value(A);
            match step {
                Step::Put(key, value) => {
                    store.put(&[key], &[value], AT);
                    now.insert(key, value);
                }
                Step::Delete(key) => {
                    store.delete(&[key], AT);
                    now.remove(&key);
                }
                Step::Get(key) => {
                    let expected = now.get(&key).map(|value| vec![*value]);
                    prop_assert_eq!(store.get(&[key]).unwrap().map(<[u8]>::to_vec), expected);
                }
                Step::Prefetch(keys) => {
                    let keys: Vec<[u8; 1]> = keys.into_iter().map(|key| [key]).collect();
                    store.prefetch(&keys.iter().map(|key| &key[..]).collect::<Vec<_>>()).unwrap();
                }
                Step::Scan(from, to, back) => {
                    let direction = if back { Direction::Backward } else { Direction::Forward };
                    let mut rows = store.range(Some(&[from]), Some(&[to]), direction).unwrap();
                    let mut seen = Vec::new();
                    while let Some((key, value)) = rows.entry() {
                        seen.push((key[0], value[0]));
                        rows.advance().unwrap();
                    }
                    let mut expected: Vec<(u8, u8)> =
                        now.iter().filter(|(key, _)| (from..=to).contains(*key)).map(|(k, v)| (*k, *v)).collect();
                    if back {
                        expected.reverse();
                    }
                    prop_assert_eq!(seen, expected);
                }
                Step::Commit => {
                    log.extend(changelog(&stores).into_iter().map(|(_, key, value, _)| (key, value)));
                    stores.commit(&[(A, position(log.len() as i64))]).unwrap();
                    committed = now.clone();
                }
                Step::Settle => stores.settle().unwrap(),
                Step::Discard => {
                    stores.discard();
                    follow(&mut stores, &log);
                    now = committed.clone();
                }
                Step::Reopen => {
                    stores = StateStores::open(Arc::clone(&base), &specs, &options).unwrap();
                    follow(&mut stores, &log);
                    now = committed.clone();
                }
            }
        }
    }
}

/// Restores the store from where it stands to the end of its changelog.
fn follow(stores: &mut StateStores, log: &[(Vec<u8>, Option<Vec<u8>>)]) {
    let from = stores
        .position(A)
        .map_or(0, |position| position.next_offset as usize);
    let headers = Headers::new();
    let records: Vec<ChangelogRecord<'_>> = log[from..]
        .iter()
        .map(|(key, value)| ChangelogRecord {
            key,
            value: value.as_deref(),
            timestamp: AT,
            headers: &headers,
        })
        .collect();
    stores.restore(A, &records, position(log.len() as i64)).unwrap();
}
