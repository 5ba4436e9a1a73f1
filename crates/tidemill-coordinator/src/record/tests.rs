use proptest::prelude::*;

use super::*;

/// Bytes as Apache Kafka 4.1 writes them for the same record.
#[track_caller]
fn check(record: Bytes, kafka: &[u8]) {
    assert_eq!(record.as_ref(), kafka);
}

#[test]
fn offset_records_are_kafkas_bytes() {
    let key = Key::Offset("g".into(), "top".into(), 7);
    check(key.encode(), b"\0\x01\0\x01g\0\x03top\0\0\0\x07");
    let mut offset = CommittedOffset {
        offset: 258,
        leader_epoch: Some(4),
        metadata: "m".into(),
        committed_at: Timestamp(1),
        expires_at: None,
    };
    check(
        offset.encode(),
        b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x04\0\x01m\0\0\0\0\0\0\0\x01",
    );
    offset.expires_at = Some(Timestamp(2));
    check(
        offset.encode(),
        b"\0\x01\0\0\0\0\0\0\x01\x02\0\x01m\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02",
    );
}

#[test]
fn group_records_are_kafkas_bytes() {
    check(Key::Group("g".into()).encode(), b"\0\x02\0\x01g");
    let group = GroupMetadata {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("m".into()),
        since: Some(Timestamp(9)),
        members: vec![StoredMember {
            member: "m".into(),
            instance: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 5,
            session_timeout_ms: 6,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"as"),
        }],
    };
    let kafka = b"\0\x03\0\x08consumer\0\0\0\x03\0\x05range\0\x01m\0\0\0\0\0\0\0\x09\0\0\0\x01\
        \0\x01m\xff\xff\0\x01c\0\x02/h\0\0\0\x05\0\0\0\x06\0\0\0\x01s\0\0\0\x02as";
    check(group.encode(), kafka);
    assert_eq!(GroupMetadata::decode(kafka), Ok(group));
}

#[test]
fn older_and_newer_versions_of_values_are_read() {
    let read = |bytes: &[u8]| CommittedOffset::decode(bytes).unwrap();
    let zero = read(b"\0\0\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x01");
    assert_eq!(
        (zero.offset, zero.leader_epoch, zero.metadata.as_str()),
        (5, None, "m")
    );
    // Flexible, with a topic id as tagged field.
    let mut four = b"\0\x04\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\x02m\0\0\0\0\0\0\0\x01\x01\0\x10".to_vec();
    four.extend([7; 16]);
    assert_eq!(read(&four), zero);
    // Version 0 of a group has neither a rebalance timeout nor instances nor a time.
    let group =
        b"\0\0\0\x01t\0\0\0\x03\xff\xff\xff\xff\0\0\0\x01\0\x01m\0\x01c\0\x01h\0\0\0\x06\0\0\0\0\0\0\0\0";
    let group = GroupMetadata::decode(group).unwrap();
    assert_eq!(
        (group.since, group.protocol, group.members[0].rebalance_timeout_ms),
        (None, None, 6)
    );
}

#[test]
fn what_a_newer_broker_wrote_is_named_and_skipped() {
    assert_eq!(Key::decode(b"\0\x63\0\x01g"), Err(RecordError::UnknownKey(99)));
    assert_eq!(
        CommittedOffset::decode(b"\0\x05"),
        Err(RecordError::UnknownValue { key: 1, version: 5 })
    );
    assert_eq!(
        GroupMetadata::decode(b"\0\x04"),
        Err(RecordError::UnknownValue { key: 2, version: 4 })
    );
    assert_eq!(Key::decode(b""), Err(RecordError::NoKey));
    assert_eq!(Key::decode(b"\0\x02\0\x09g"), Err(RecordError::Malformed(2)));
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0u8..6) {
        let mut bytes = bytes;
        if let Some(low) = bytes.get_mut(1) { *low = version; }
        if let Some(high) = bytes.get_mut(0) { *high = 0; }
        let _ = (Key::decode(&bytes), CommittedOffset::decode(&bytes), GroupMetadata::decode(&bytes));
    }

    #[test]
    fn offsets_read_back_as_written(offset: i64, epoch in proptest::option::of(0i32..), metadata: String, at: i64,
            expires in proptest::option::of(0i64..)) {
        let epoch = epoch.filter(|_| expires.is_none());
        let offset = CommittedOffset { offset, leader_epoch: epoch, metadata, committed_at: Timestamp(at),
            expires_at: expires.map(Timestamp) };
        prop_assert_eq!(CommittedOffset::decode(&offset.encode()), Ok(offset));
    }
}
