//! The session store, and against a plain map that forgets.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{ByteStore, MemoryByteStore, StateStores, StoreId, StoreKind, StoreOptions, StoreSpec};

const S: StoreId = StoreId::new(0);
const MINUTE: i64 = 60_000;

fn open(retention_ms: i64) -> StateStores {
    let base: Arc<dyn ByteStore> = Arc::new(MemoryByteStore::new(&["s"]));
    let specs = [StoreSpec::new("s", StoreKind::Session { retention_ms })];
    StateStores::open(base, &specs, &StoreOptions::default()).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

type Row = (Vec<u8>, i64, i64, Vec<u8>);

fn collect(mut rows: SessionRows<'_>) -> Vec<Row> {
    let mut seen = Vec::new();
    while let Some(row) = rows.entry() {
        seen.push((row.key.to_vec(), row.start_ms, row.end_ms, row.value.to_vec()));
        rows.advance().unwrap();
    }
    seen
}

#[test]
fn the_changelog_has_kafka_streams_keys_and_restores() {
    let mut stores = open(MINUTE);
    assert_eq!(stores.session(S).put(b"k", 1, 258, b"v", at(300)), Put::Kept);
    assert_eq!(stores.session(S).remove(b"k", 1, 2, at(300)), Put::Kept);
    let mut records = Vec::new();
    stores.changelog(&mut |_, r| {
        records.push((r.key.to_vec(), r.value.map(<[u8]>::to_vec), r.timestamp.millis()));
    });
    let put = [b'k', 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1].to_vec();
    let removed = [b'k', 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1].to_vec();
    assert_eq!(
        records,
        [
            (put.clone(), Some(b"v".to_vec()), 300),
            (removed.clone(), None, 300)
        ]
    );
    let mut copy = open(MINUTE);
    let log = [
        ChangelogRecord::new(&removed, Some(b"early"), at(1)),
        ChangelogRecord::new(&put, Some(b"v"), at(300)),
        ChangelogRecord::new(&removed, None, at(300)),
    ];
    let position = crate::ChangelogPosition {
        topic_id: crate::TopicId::default(),
        next_offset: 3,
        committed_at: at(0),
    };
    copy.restore(S, &log, position).unwrap();
    let rows = collect(copy.session(S).fetch(b"k", Direction::Forward).unwrap());
    assert_eq!(rows, [(b"k".to_vec(), 1, 258, b"v".to_vec())]);
    assert_eq!(copy.session(S).stream_time(), Some(at(258)));
    let bad = [ChangelogRecord::new(b"short", None, at(0))];
    assert!(copy.restore(S, &bad, position).is_err());
}

#[test]
fn sessions_that_a_record_would_join_are_found_in_order_of_end() {
    let mut stores = open(10 * MINUTE);
    let s = stores.session(S);
    for (start, end) in [(500, 900), (0, 100), (200, 300), (950, 950)] {
        assert_eq!(s.put(b"k", start, end, b"v", at(end)), Put::Kept);
    }
    let find = |s: &mut SessionStore, earliest_end, latest_start, direction| {
        let rows = collect(
            s.find_sessions(b"k", earliest_end, latest_start, direction)
                .unwrap(),
        );
        rows.into_iter().map(|row| (row.1, row.2)).collect::<Vec<_>>()
    };
    assert_eq!(
        find(s, 100, 500, Direction::Forward),
        [(0, 100), (200, 300), (500, 900)]
    );
    assert_eq!(find(s, 101, 499, Direction::Forward), [(200, 300)]);
    assert_eq!(
        find(s, 0, 1_000, Direction::Backward),
        [(950, 950), (500, 900), (200, 300), (0, 100)]
    );
    assert_eq!(s.get(b"k", 200, 300).unwrap(), Some(&b"v"[..]));
    assert_eq!(s.get(b"k", 200, 301).unwrap(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, i64, i64, u8),
    Remove(u8, i64, i64),
    Find(u8, i64, i64, bool),
    FindRange(u8, u8, i64, i64),
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    // Few times, so that sessions are put again and removed.
    let time = || (0..20_i64).prop_map(|step| step * MINUTE / 2);
    let session = move || (time(), time()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        6 => (0..3_u8, session(), any::<u8>()).prop_map(|(k, (start, end), v)| Step::Put(k, start, end, v)),
        2 => (0..3_u8, session()).prop_map(|(k, (start, end))| Step::Remove(k, start, end)),
        4 => (0..3_u8, time(), time(), any::<bool>()).prop_map(|(k, a, b, back)| Step::Find(k, a, b, back)),
        1 => (0..3_u8, 0..3_u8, time(), time()).prop_map(|(k, l, a, b)| Step::FindRange(k, l, a, b)),
        1 => Just(Step::Commit),
    ]
}

fn key(number: u8) -> Vec<u8> {
    vec![b'k'; usize::from(number)]
}

proptest! {
    #[test]
    fn a_session_store_is_a_map_that_forgets(
        steps in prop::collection::vec(step(), 1..80),
        retention in prop_oneof![Just(4 * MINUTE), Just(100 * MINUTE)],
    ) {
        let mut stores = open(retention);
        let mut map: BTreeMap<(Vec<u8>, i64, i64), u8> = BTreeMap::new();
        let mut time = i64::MIN;
        for step in steps {
            let s = stores.session(S);
            match step {
                Step::Put(k, start, end, value) => {
                    time = time.max(end);
                    let kept = s.put(&key(k), start, end, &[value], at(end)) == Put::Kept;
                    prop_assert_eq!(kept, end > time - retention);
                    if kept {
                        map.insert((key(k), end, start), value);
                    }
                }
                Step::Remove(k, start, end) => {
                    time = time.max(end);
                    let _ = s.remove(&key(k), start, end, at(end));
                    map.remove(&(key(k), end, start));
                }
                Step::Find(k, earliest_end, latest_start, back) => {
                    let direction = if back { Direction::Backward } else { Direction::Forward };
                    let seen =
                        collect(s.find_sessions(&key(k), earliest_end, latest_start, direction).unwrap());
                    let found = map.iter().filter(|((of, end, start), _)| {
                        *of == key(k) && *end >= earliest_end && *start <= latest_start
                    });
                    let mut expected: Vec<Row> =
                        found.map(|((of, end, start), v)| (of.clone(), *start, *end, vec![*v])).collect();
                    if back {
                        expected.reverse();
                    }
                    prop_assert_eq!(seen, expected);
                }
                Step::FindRange(k, l, earliest_end, latest_start) => {
                    let (first, last) = (key(k), key(l));
                    let bounds = (Some(first.as_slice()), Some(last.as_slice()));
                    let rows = s.find_sessions_range(bounds, earliest_end, latest_start, Direction::Forward);
                    let mut seen = collect(rows.unwrap());
                    seen.sort();
                    let found = map.iter().filter(|((of, end, start), _)| {
                        first <= *of && *of <= last && *end >= earliest_end && *start <= latest_start
                    });
                    let mut expected: Vec<Row> =
                        found.map(|((of, end, start), v)| (of.clone(), *start, *end, vec![*v])).collect();
                    expected.sort();
                    prop_assert_eq!(seen, expected);
                }
                Step::Commit => stores.commit(&[]).unwrap(),
            }
            map.retain(|(_, end, _), _| *end > time.saturating_sub(retention));
        }
    }
}
