//! The window store, and against a plain map that forgets.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{ByteStore, Family, MemoryByteStore, StateStores, StoreId, StoreKind, StoreOptions, StoreSpec};

const W: StoreId = StoreId::new(0);
const MINUTE: i64 = 60_000;

fn open(base: &Arc<MemoryByteStore>, retention_ms: i64, values: WindowValues) -> StateStores {
    let specs = [StoreSpec::new("w", StoreKind::Window { retention_ms, values })];
    StateStores::open(
        Arc::clone(base) as Arc<dyn ByteStore>,
        &specs,
        &StoreOptions::default(),
    )
    .unwrap()
}

fn memory() -> Arc<MemoryByteStore> {
    Arc::new(MemoryByteStore::new(&["w"]))
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

type Row = (Vec<u8>, i64, Vec<u8>);

fn collect(mut rows: WindowRows<'_>) -> Vec<Row> {
    let mut seen = Vec::new();
    while let Some(row) = rows.entry() {
        seen.push((row.key.to_vec(), row.start_ms, row.value.to_vec()));
        rows.advance().unwrap();
    }
    seen
}

#[test]
fn the_changelog_has_kafka_streams_keys() {
    let mut stores = open(&memory(), MINUTE, WindowValues::Timestamped);
    assert_eq!(stores.window(W).put(b"k", 258, b"v", at(300)), Put::Kept);
    let mut records = Vec::new();
    stores.changelog(&mut |_, r| {
        records.push((r.key.to_vec(), r.value.map(<[u8]>::to_vec), r.timestamp.millis()));
    });
    let key = [b'k', 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0].to_vec();
    assert_eq!(records, [(key, Some(b"v".to_vec()), 300)]);
}

#[test]
fn windows_expire_by_the_retention_and_go_by_segments() {
    let base = memory();
    let mut stores = open(&base, 2 * MINUTE, WindowValues::Plain);
    let w = stores.window(W);
    assert_eq!(w.put(b"k", 0, b"first", at(0)), Put::Kept);
    assert_eq!(w.put(b"k", 2 * MINUTE - 1, b"second", at(0)), Put::Kept);
    assert_eq!(w.get(b"k", 0).unwrap().unwrap().0, b"first");
    assert_eq!(w.put(b"other", 2 * MINUTE, b"third", at(0)), Put::Kept);
    assert_eq!(w.get(b"k", 0).unwrap(), None, "expired to the millisecond");
    assert_eq!(w.put(b"k", 0, b"late", at(0)), Put::Expired);
    assert_eq!(w.delete(b"k", 0, at(0)), Put::Expired);
    assert_eq!(
        collect(w.fetch(b"k", 0, i64::MAX, Direction::Forward).unwrap()).len(),
        1
    );
    stores.commit(&[]).unwrap();
    assert_eq!(
        base.approximate_size(Family::of_store(0)).unwrap().rows,
        3,
        "the segment is still live"
    );
    assert_eq!(
        stores.window(W).put(b"k", 10 * MINUTE, b"much later", at(0)),
        Put::Kept
    );
    stores.commit(&[]).unwrap();
    assert_eq!(
        base.approximate_size(Family::of_store(0)).unwrap().rows,
        1,
        "expired segments are deleted"
    );
    let mut again = open(&base, 2 * MINUTE, WindowValues::Plain);
    assert_eq!(
        again.window(W).stream_time(),
        Some(at(10 * MINUTE)),
        "time survives the restart"
    );
    assert_eq!(
        again.window(W).put(b"k", 5 * MINUTE, b"late", at(0)),
        Put::Expired
    );
}

#[test]
fn a_window_before_1970_is_dropped() {
    let mut stores = open(&memory(), MINUTE, WindowValues::Plain);
    assert_eq!(stores.window(W).put(b"k", -1, b"v", at(0)), Put::Expired);
    assert_eq!(stores.window(W).get(b"k", -1).unwrap(), None);
    assert_eq!(collect(stores.window(W).all(Direction::Forward).unwrap()), []);
}

#[test]
fn duplicates_come_in_order_of_arrival_also_after_a_restart() {
    let base = memory();
    let mut stores = open(&base, MINUTE, WindowValues::Duplicates);
    for value in [b"z", b"a"] {
        assert_eq!(stores.window(W).put(b"k", 5, value, at(5)), Put::Kept);
    }
    assert_eq!(stores.window(W).delete(b"k", 5, at(5)), Put::Kept);
    stores.commit(&[]).unwrap();
    let mut stores = open(&base, MINUTE, WindowValues::Duplicates);
    assert_eq!(stores.window(W).put(b"k", 5, b"m", at(5)), Put::Kept);
    let rows = collect(stores.window(W).fetch(b"k", 0, 10, Direction::Forward).unwrap());
    let values: Vec<_> = rows.iter().map(|row| row.2.as_slice()).collect();
    assert_eq!(values, [b"z", b"a", b"m"]);
}

#[test]
fn a_longer_key_that_reads_on_as_a_time_is_not_found() {
    let mut stores = open(&memory(), MINUTE, WindowValues::Plain);
    let w = stores.window(W);
    let longer = [&b"k"[..], &7_i64.to_be_bytes()].concat();
    assert_eq!(w.put(&longer, 8, b"longer", at(8)), Put::Kept);
    assert_eq!(w.put(b"k", 9, b"short", at(9)), Put::Kept);
    let rows = collect(w.fetch(b"k", 0, 100, Direction::Forward).unwrap());
    assert_eq!(rows, [(b"k".to_vec(), 9, b"short".to_vec())]);
    assert_eq!(w.get(b"k", 7).unwrap(), None);
}

#[test]
fn another_retention_that_moves_segments_empties_the_store() {
    let base = memory();
    let mut stores = open(&base, 10 * MINUTE, WindowValues::Plain);
    assert_eq!(stores.window(W).put(b"k", 0, b"v", at(0)), Put::Kept);
    stores.commit(&[]).unwrap();
    let mut stores = open(&base, 20 * MINUTE, WindowValues::Plain);
    assert!(stores.layout_changed(W));
    assert_eq!(stores.window(W).get(b"k", 0).unwrap(), None);
}

#[test]
fn discarding_takes_time_back_too() {
    let mut stores = open(&memory(), MINUTE, WindowValues::Plain);
    assert_eq!(stores.window(W).put(b"k", 0, b"v", at(0)), Put::Kept);
    stores.commit(&[]).unwrap();
    assert_eq!(stores.window(W).put(b"k", 100 * MINUTE, b"w", at(0)), Put::Kept);
    stores.discard();
    assert_eq!(stores.window(W).stream_time(), Some(at(0)));
    assert!(stores.window(W).get(b"k", 0).unwrap().is_some());
    assert!(!stores.is_dirty());
}

#[test]
fn a_record_that_is_no_windows_is_refused_and_nothing_restored() {
    let base = memory();
    let mut stores = open(&base, MINUTE, WindowValues::Plain);
    let good = [&b"k"[..], &[0; 12]].concat();
    let records = [
        ChangelogRecord::new(&good, Some(b"v"), at(0)),
        ChangelogRecord::new(b"short", Some(b"v"), at(0)),
    ];
    let position = crate::ChangelogPosition {
        topic_id: crate::TopicId::default(),
        next_offset: 2,
        committed_at: at(0),
    };
    assert!(stores.restore(W, &records, position).is_err());
    assert_eq!((stores.position(W), stores.window(W).stream_time()), (None, None));
    assert_eq!(base.approximate_size(Family::of_store(0)).unwrap().rows, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, i64, u8),
    Delete(u8, i64),
    Fetch(u8, i64, i64, bool),
    All(i64, i64, bool),
    Commit,
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let time = || 0..20 * MINUTE;
    prop_oneof![
        6 => (0..4_u8, time(), any::<u8>()).prop_map(|(key, start, value)| Step::Put(key, start, value)),
        1 => (0..4_u8, time()).prop_map(|(key, start)| Step::Delete(key, start)),
        3 => (0..4_u8, time(), time(), any::<bool>()).prop_map(|(k, a, b, back)| Step::Fetch(k, a, b, back)),
        1 => (time(), time(), any::<bool>()).prop_map(|(a, b, back)| Step::All(a, b, back)),
        1 => Just(Step::Commit),
        1 => Just(Step::Restore),
    ]
}

fn key(number: u8) -> Vec<u8> {
    // Keys that are each other's prefixes.
    vec![b'k'; usize::from(number)]
}

proptest! {
    #[test]
    fn a_window_store_is_a_map_that_forgets(
        steps in prop::collection::vec(step(), 1..60),
        retention in prop_oneof![Just(3 * MINUTE), Just(MINUTE / 2), Just(100 * MINUTE)],
    ) {
        let mut stores = open(&memory(), retention, WindowValues::Timestamped);
        let mut map: BTreeMap<(Vec<u8>, i64), u8> = BTreeMap::new();
        let mut topic: Vec<(Vec<u8>, Option<Vec<u8>>, Timestamp)> = Vec::new();
        let mut time = i64::MIN;
        for step in steps {
            match step {
                Step::Put(k, start, value) => {
                    time = time.max(start);
                    let kept = stores.window(W).put(&key(k), start, &[value], at(start)) == Put::Kept;
                    prop_assert_eq!(kept, start > time - retention);
                    if kept {
                        map.insert((key(k), start), value);
                    }
                }
                Step::Delete(k, start) => {
                    time = time.max(start);
                    let _ = stores.window(W).delete(&key(k), start, at(start));
                    map.remove(&(key(k), start));
                }
                Step::Fetch(k, from, to, back) => {
                    let direction = if back { Direction::Backward } else { Direction::Forward };
                    let seen = collect(stores.window(W).fetch(&key(k), from, to, direction).unwrap());
                    let mut expected: Vec<Row> = map
                        .iter()
                        .filter(|((of, start), _)| *of == key(k) && from <= *start && *start <= to)
                        .map(|((of, start), value)| (of.clone(), *start, vec![*value]))
                        .collect();
                    if back {
                        expected.reverse();
                    }
                    prop_assert_eq!(seen, expected);
                }
                Step::All(from, to, back) => {
                    let direction = if back { Direction::Backward } else { Direction::Forward };
                    let mut seen = collect(stores.window(W).fetch_all(from, to, direction).unwrap());
                    seen.sort();
                    let all = map.iter().filter(|((_, start), _)| from <= *start && *start <= to);
                    let expected: Vec<Row> =
                        all.map(|((of, start), value)| (of.clone(), *start, vec![*value])).collect();
                    prop_assert_eq!(seen, expected);
                }
                Step::Commit | Step::Restore => {
                    stores.changelog(&mut |_, r| {
                        topic.push((r.key.to_vec(), r.value.map(<[u8]>::to_vec), r.timestamp));
                    });
                    stores.commit(&[]).unwrap();
                }
            }
            if matches!(step, Step::Restore) && !topic.is_empty() {
                stores = open(&memory(), retention, WindowValues::Timestamped);
                let records: Vec<_> =
                    topic.iter().map(|(k, v, t)| ChangelogRecord::new(k, v.as_deref(), *t)).collect();
                let position = crate::ChangelogPosition {
                    topic_id: crate::TopicId::default(),
                    next_offset: topic.len() as i64,
                    committed_at: at(0),
                };
                stores.restore(W, &records, position).unwrap();
                // Deletions of late windows move the time without a record; a restored store cannot know.
                time = stores.window(W).stream_time().unwrap().millis();
            }
            map.retain(|(_, start), _| *start > time.saturating_sub(retention));
        }
    }
}
