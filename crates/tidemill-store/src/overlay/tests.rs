//! What the overlay keeps, counts and lets go.

use super::*;

const NO_HEADERS: Headers = Headers::new();

fn write(overlay: &mut Overlay, key: &[u8], value: Option<&[u8]>) {
    overlay.write(
        key,
        value.map(|value| [value, &[]]),
        Timestamp::from_millis(7),
        &NO_HEADERS,
    );
}

fn get<'a>(overlay: &'a mut Overlay, key: &[u8]) -> Option<Option<&'a [u8]>> {
    let id = overlay.find(key)?;
    Some(overlay.value(id))
}

fn dirty(overlay: &Overlay) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    overlay
        .dirty()
        .map(|row| (row.key.to_vec(), row.value.map(<[u8]>::to_vec)))
        .collect()
}

#[test]
fn each_key_is_dirty_once_with_its_last_value_in_order_of_first_write() {
    let mut overlay = Overlay::new(0);
    write(&mut overlay, b"b", Some(b"1"));
    write(&mut overlay, b"a", Some(b"1"));
    write(&mut overlay, b"b", Some(b"longer"));
    write(&mut overlay, b"a", None);
    assert_eq!(
        dirty(&overlay),
        [(b"b".to_vec(), Some(b"longer".to_vec())), (b"a".to_vec(), None)]
    );
    assert_eq!(get(&mut overlay, b"a"), Some(None));
    assert_eq!(get(&mut overlay, b"c"), None);
}

#[test]
fn committed_rows_stay_at_hand_while_there_is_room() {
    let mut overlay = Overlay::new(1 << 20);
    write(&mut overlay, b"k", Some(b"v"));
    write(&mut overlay, b"gone", None);
    overlay.committed();
    assert_eq!((overlay.dirty_bytes(), overlay.is_dirty()), (0, false));
    assert_eq!(get(&mut overlay, b"k"), Some(Some(&b"v"[..])));
    assert_eq!(get(&mut overlay, b"gone"), Some(None));
    write(&mut overlay, b"k", Some(b"w"));
    assert_eq!(dirty(&overlay), [(b"k".to_vec(), Some(b"w".to_vec()))]);
}

#[test]
fn without_room_nothing_but_what_is_dirty_is_kept() {
    let mut overlay = Overlay::new(0);
    overlay.remember(b"read", Some(b"v"));
    assert_eq!(get(&mut overlay, b"read"), None);
    write(&mut overlay, b"k", Some(b"v"));
    overlay.committed();
    overlay.settled();
    assert_eq!(get(&mut overlay, b"k"), None);
    assert_eq!(overlay.bytes(), 0);
}

#[test]
fn a_full_cache_keeps_what_was_used_last() {
    let room = 100 * (ENTRY_OVERHEAD + 8);
    let mut overlay = Overlay::new(room);
    for i in 0..150_u32 {
        write(&mut overlay, &i.to_be_bytes(), Some(b"1234"));
    }
    overlay.committed();
    assert_eq!(overlay.entries.len(), 150, "the database does not have them yet");
    overlay.settled();
    assert!(overlay.bytes() <= room / 4, "{} of {room}", overlay.bytes());
    assert!(get(&mut overlay, &149_u32.to_be_bytes()).is_some());
    assert!(get(&mut overlay, &0_u32.to_be_bytes()).is_none());
}

#[test]
fn bytes_are_those_of_the_entries() {
    let mut overlay = Overlay::new(1 << 20);
    let headers = Headers::new().with("h", "123");
    overlay.write(b"key", Some([b"12345678", b"value"]), Timestamp::MIN, &headers);
    assert_eq!(overlay.dirty_bytes(), ENTRY_OVERHEAD + 3 + 13 + 4);
    write(&mut overlay, b"key", Some(b"v"));
    assert_eq!(overlay.dirty_bytes(), ENTRY_OVERHEAD + 3 + 1);
    overlay.remember(b"other", Some(b"123"));
    assert_eq!(overlay.bytes(), 2 * ENTRY_OVERHEAD + 4 + 8);
    assert_eq!(overlay.dirty_bytes(), ENTRY_OVERHEAD + 4);
    overlay.clear();
    assert_eq!((overlay.bytes(), overlay.dirty_bytes()), (0, 0));
    assert_eq!(get(&mut overlay, b"key"), None);
}

#[test]
fn cached_rows_are_in_no_scan() {
    let mut overlay = Overlay::new(1 << 20);
    overlay.remember(b"cached", Some(b"v"));
    overlay.order();
    write(&mut overlay, b"dirty", Some(b"v"));
    write(&mut overlay, b"deleted", None);
    let mut cursor = overlay.scan(KeyRange::ALL, Direction::Backward);
    assert_eq!(cursor.at(), Some((&b"dirty"[..], Some(&b"v"[..]))));
    cursor.advance();
    assert_eq!(cursor.at(), Some((&b"deleted"[..], None)));
    cursor.advance();
    assert_eq!(cursor.at(), None);
}

#[test]
fn reading_makes_room_among_cached_rows_and_leaves_dirty_ones() {
    let room = 100 * (ENTRY_OVERHEAD + 8);
    let mut overlay = Overlay::new(room);
    overlay.order();
    for i in 0..10_u32 {
        write(
            &mut overlay,
            &[&b"dirty"[..], &i.to_be_bytes()].concat(),
            Some(b"1234"),
        );
    }
    for i in 0..1_000_u32 {
        overlay.remember(&i.to_be_bytes(), Some(b"1234"));
        assert!(overlay.bytes() <= room + ENTRY_OVERHEAD + 8);
        assert_eq!(
            get(&mut overlay, &i.to_be_bytes()),
            Some(Some(&b"1234"[..])),
            "the row just read is at hand"
        );
    }
    assert_eq!(dirty(&overlay).len(), 10);
    for (key, value) in dirty(&overlay) {
        assert_eq!(get(&mut overlay, &key), Some(value.as_deref()));
    }
    let mut cursor = overlay.scan(KeyRange::ALL, Direction::Forward);
    for (key, value) in dirty(&overlay) {
        assert_eq!(cursor.at(), Some((key.as_slice(), value.as_deref())));
        cursor.advance();
    }
    assert_eq!(cursor.at(), None);
}

#[test]
fn rows_still_to_commit_leave_no_room_for_the_cache() {
    let mut overlay = Overlay::new(10 * ENTRY_OVERHEAD);
    for i in 0..10_u32 {
        write(&mut overlay, &i.to_be_bytes(), Some(b"1234"));
    }
    overlay.remember(b"read", Some(b"v"));
    assert_eq!(get(&mut overlay, b"read"), None);
    assert_eq!(dirty(&overlay).len(), 10);
}

#[test]
fn what_the_database_lacks_comes_in_the_order_of_keys_and_once() {
    let mut overlay = Overlay::new(1 << 20);
    // Keys that differ before, within and after the eight bytes behind what they have in common, one of them all of that.
    let keys: [&[u8]; 6] = [
        b"user-",
        b"user-1",
        b"user-1\0",
        b"user-123456789",
        b"user-12345678a",
        b"user-2",
    ];
    for key in [keys[3], keys[5], keys[0], keys[4], keys[2], keys[1]] {
        write(&mut overlay, key, Some(b"1"));
    }
    overlay.committed();
    write(&mut overlay, keys[4], None);
    write(&mut overlay, keys[0], Some(b"2"));
    let expected: Vec<_> = keys
        .iter()
        .map(|key| match *key {
            b"user-" => (b"user-".to_vec(), Some(b"2".to_vec())),
            b"user-12345678a" => (key.to_vec(), None),
            key => (key.to_vec(), Some(b"1".to_vec())),
        })
        .collect();
    let lacking = |overlay: &Overlay| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let rows = overlay.unsettled();
        rows.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
            .collect()
    };
    assert_eq!(lacking(&overlay), expected);
    overlay.order();
    assert_eq!(lacking(&overlay), expected, "also where the order is kept");
    overlay.committed();
    overlay.settled();
    assert_eq!(lacking(&overlay), []);
    assert_eq!(get(&mut overlay, keys[4]), Some(None));
}
