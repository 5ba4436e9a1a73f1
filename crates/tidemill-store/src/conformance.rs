//! What every [`ByteStore`] promises, as checks that any implementation can run in its own tests.

use crate::{ByteStore, Direction, Family, KeyRange, StoreError, WriteOp};

/// Makes an empty database with families for these stores.
pub type Make<'a> = &'a mut dyn FnMut(&[&str]) -> Box<dyn ByteStore>;

/// Runs all checks, each on an empty database.
///
/// # Panics
/// When the implementation breaks a promise; the message says which.
pub fn check(make: Make<'_>) {
    families_are_found_by_name(make);
    what_is_written_is_read(make);
    families_are_apart(make);
    several_keys_are_read_at_once(make);
    scans_are_sorted_and_bounded(make);
    a_scan_sees_its_start(make);
    ranges_are_deleted(make);
    later_changes_of_a_write_win(make);
    a_refused_write_changes_nothing(make);
    size_is_reported(make);
}

fn put<'a>(family: Family, key: &'a [u8], value: &'a [u8]) -> WriteOp<'a> {
    WriteOp::Put { family, key, value }
}

fn write(store: &dyn ByteStore, ops: &[WriteOp<'_>]) {
    store
        .write(&mut ops.iter().copied())
        .expect("a write to known families succeeds");
}

fn get(store: &dyn ByteStore, family: Family, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = b"left over".to_vec();
    let present = store
        .get(family, key, &mut value)
        .expect("a read of a known family succeeds");
    present.then_some(value)
}

fn rows(
    store: &dyn ByteStore,
    family: Family,
    range: KeyRange<'_>,
    direction: Direction,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = store
        .scan(family, range, direction)
        .expect("a scan of a known family succeeds");
    let mut rows = Vec::new();
    while let Some((key, value)) = cursor.entry() {
        rows.push((key.to_vec(), value.to_vec()));
        cursor.advance().expect("a scan goes on");
    }
    cursor.advance().expect("a scan at its end stays there");
    assert!(cursor.entry().is_none(), "a scan at its end stays there");
    rows
}

fn keys(store: &dyn ByteStore, range: KeyRange<'_>, direction: Direction) -> Vec<Vec<u8>> {
    rows(store, Family::of_store(0), range, direction)
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

fn families_are_found_by_name(make: Make<'_>) {
    let store = make(&["one", "two"]);
    assert_eq!(store.family("one"), Some(Family::of_store(0)));
    assert_eq!(store.family("two"), Some(Family::of_store(1)));
    assert_eq!(store.family("three"), None);
}

fn what_is_written_is_read(make: Make<'_>) {
    let store = make(&["one"]);
    let family = Family::of_store(0);
    assert_eq!(get(&*store, family, b"k"), None);
    write(
        &*store,
        &[
            put(family, b"k", b"v"),
            put(family, b"", b"empty key"),
            put(family, b"e", b""),
        ],
    );
    assert_eq!(get(&*store, family, b"k"), Some(b"v".to_vec()));
    assert_eq!(get(&*store, family, b""), Some(b"empty key".to_vec()));
    assert_eq!(get(&*store, family, b"e"), Some(Vec::new()));
    write(
        &*store,
        &[
            put(family, b"k", b"longer than before"),
            WriteOp::Delete { family, key: b"e" },
        ],
    );
    assert_eq!(get(&*store, family, b"k"), Some(b"longer than before".to_vec()));
    assert_eq!(get(&*store, family, b"e"), None);
    write(
        &*store,
        &[WriteOp::Delete {
            family,
            key: b"never there",
        }],
    );
    store.flush().expect("flushing succeeds");
    assert_eq!(get(&*store, family, b"k"), Some(b"longer than before".to_vec()));
}

fn families_are_apart(make: Make<'_>) {
    let store = make(&["one", "two"]);
    let (one, two) = (Family::of_store(0), Family::of_store(1));
    write(
        &*store,
        &[
            put(one, b"k", b"1"),
            put(two, b"k", b"2"),
            put(Family::METADATA, b"k", b"metadata"),
        ],
    );
    assert_eq!(get(&*store, one, b"k"), Some(b"1".to_vec()));
    assert_eq!(get(&*store, two, b"k"), Some(b"2".to_vec()));
    assert_eq!(get(&*store, Family::METADATA, b"k"), Some(b"metadata".to_vec()));
    write(
        &*store,
        &[WriteOp::DeleteRange {
            family: one,
            range: KeyRange::ALL,
        }],
    );
    assert_eq!(get(&*store, one, b"k"), None);
    assert_eq!(get(&*store, two, b"k"), Some(b"2".to_vec()));
}

fn several_keys_are_read_at_once(make: Make<'_>) {
    let store = make(&["one"]);
    let family = Family::of_store(0);
    write(&*store, &[put(family, b"a", b"1"), put(family, b"c", b"3")]);
    let mut found = Vec::new();
    let keys: [&[u8]; 4] = [b"c", b"b", b"a", b"c"];
    store
        .multi_get(family, &keys, &mut |i, value| {
            found.push((i, value.map(<[u8]>::to_vec)))
        })
        .expect("a read of a known family succeeds");
    let three = Some(b"3".to_vec());
    assert_eq!(
        found,
        [
            (0, three.clone()),
            (1, None),
            (2, Some(b"1".to_vec())),
            (3, three)
        ]
    );
}

fn scans_are_sorted_and_bounded(make: Make<'_>) {
    let store = make(&["one"]);
    let family = Family::of_store(0);
    let all: [&[u8]; 7] = [b"", &[0], &[0, 0], b"a", b"ab", b"b", &[255, 255]];
    let mut shuffled = all;
    shuffled.reverse();
    shuffled.swap(1, 4);
    let ops: Vec<_> = shuffled.iter().map(|key| put(family, key, key)).collect();
    write(&*store, &ops);
    for from in all {
        for to in all.iter().copied().map(Some).chain([None]) {
            let range = KeyRange::new(from, to);
            let mut expected: Vec<Vec<u8>> = all
                .iter()
                .filter(|key| **key >= from && to.is_none_or(|to| **key < to))
                .map(|key| key.to_vec())
                .collect();
            assert_eq!(
                keys(&*store, range, Direction::Forward),
                expected,
                "{range:?} forward"
            );
            expected.reverse();
            assert_eq!(
                keys(&*store, range, Direction::Backward),
                expected,
                "{range:?} backward"
            );
        }
    }
    let values = rows(&*store, family, KeyRange::ALL, Direction::Forward);
    assert!(
        values.iter().all(|(key, value)| key == value),
        "a scan gives each key its own value"
    );
    assert!(
        rows(&*store, Family::METADATA, KeyRange::ALL, Direction::Forward).is_empty(),
        "a scan stays in its family"
    );
}

fn a_scan_sees_its_start(make: Make<'_>) {
    let store = make(&["one"]);
    let family = Family::of_store(0);
    write(&*store, &[put(family, b"a", b"1"), put(family, b"b", b"2")]);
    let mut cursor = store
        .scan(family, KeyRange::ALL, Direction::Forward)
        .expect("a scan starts");
    write(
        &*store,
        &[
            put(family, b"aa", b"new"),
            put(family, b"b", b"changed"),
            WriteOp::Delete { family, key: b"a" },
        ],
    );
    assert_eq!(
        cursor.entry(),
        Some((&b"a"[..], &b"1"[..])),
        "a scan sees the rows of its start"
    );
    cursor.advance().expect("a scan goes on");
    assert_eq!(
        cursor.entry(),
        Some((&b"b"[..], &b"2"[..])),
        "a scan sees the rows of its start"
    );
    drop(cursor);
    let expected = [b"aa".to_vec(), b"b".to_vec()];
    assert_eq!(keys(&*store, KeyRange::ALL, Direction::Forward), expected);
}

fn ranges_are_deleted(make: Make<'_>) {
    let store = make(&["one"]);
    let family = Family::of_store(0);
    let fill = || {
        let keys: [&[u8]; 5] = [b"", b"a", b"b", b"c", &[255; 9]];
        let ops: Vec<_> = keys.iter().map(|key| put(family, key, b"v")).collect();
        write(&*store, &ops);
    };
    let check = |range: KeyRange<'_>, left: &[&[u8]]| {
        fill();
        write(&*store, &[WriteOp::DeleteRange { family, range }]);
        assert_eq!(
            keys(&*store, KeyRange::ALL, Direction::Forward),
            left,
            "after deleting {range:?}"
        );
        for key in left {
            assert!(
                get(&*store, family, key).is_some(),
                "{key:?} stays after deleting {range:?}"
            );
        }
    };
    check(KeyRange::new(b"a", Some(b"c")), &[b"", b"c", &[255; 9]]);
    check(KeyRange::new(b"b", None), &[b"", b"a"]);
    check(KeyRange::new(b"", Some(b"b")), &[b"b", b"c", &[255; 9]]);
    check(
        KeyRange::new(b"c", Some(b"a")),
        &[b"", b"a", b"b", b"c", &[255; 9]],
    );
    check(
        KeyRange::new(b"a", Some(b"a")),
        &[b"", b"a", b"b", b"c", &[255; 9]],
    );
    check(KeyRange::ALL, &[]);
}

fn later_changes_of_a_write_win(make: Make<'_>) {
    let store = make(&["one"]);
    let family = Family::of_store(0);
    let all = WriteOp::DeleteRange {
        family,
        range: KeyRange::ALL,
    };
    write(
        &*store,
        &[
            put(family, b"a", b"1"),
            put(family, b"b", b"1"),
            all,
            put(family, b"b", b"2"),
        ],
    );
    assert_eq!(get(&*store, family, b"a"), None);
    assert_eq!(get(&*store, family, b"b"), Some(b"2".to_vec()));
    write(
        &*store,
        &[put(family, b"a", b"3"), WriteOp::Delete { family, key: b"a" }],
    );
    assert_eq!(get(&*store, family, b"a"), None);
    write(
        &*store,
        &[WriteOp::Delete { family, key: b"b" }, put(family, b"b", b"4")],
    );
    assert_eq!(get(&*store, family, b"b"), Some(b"4".to_vec()));
}

fn a_refused_write_changes_nothing(make: Make<'_>) {
    let store = make(&["one"]);
    let (family, unknown) = (Family::of_store(0), Family::of_store(7));
    let ops = [put(family, b"a", b"1"), put(unknown, b"a", b"1")];
    let refused = store.write(&mut ops.iter().copied());
    assert!(matches!(refused, Err(StoreError::UnknownFamily(family)) if family == unknown));
    assert_eq!(
        get(&*store, family, b"a"),
        None,
        "a refused write changes nothing"
    );
    assert!(store.get(unknown, b"a", &mut Vec::new()).is_err());
    assert!(store.scan(unknown, KeyRange::ALL, Direction::Forward).is_err());
    assert!(store.multi_get(unknown, &[b"a"], &mut |_, _| {}).is_err());
}

fn size_is_reported(make: Make<'_>) {
    let store = make(&["one"]);
    let family = Family::of_store(0);
    for i in 0..1_000_u32 {
        write(&*store, &[put(family, &i.to_be_bytes(), &[7; 100])]);
    }
    let size = store.approximate_size(family).expect("a known family has a size");
    assert!(
        size.rows >= 500 && size.bytes >= 10_000,
        "{size:?} for 1,000 rows of 104 bytes"
    );
    assert!(store.approximate_size(Family::of_store(7)).is_err());
}
