use super::*;

fn metadata() -> TransactionMetadata {
    TransactionMetadata {
        producer: Producer::new(1_000, 7),
        previous_id: None,
        next_id: None,
        last_epoch: None,
        timeout_ms: 60_000,
        phase: TransactionPhase::Ongoing,
        partitions: [("a".into(), 0), ("a".into(), 2), ("bc".into(), 1)].into(),
        updated_at: Timestamp(0x0102),
        started_at: Some(Timestamp(0x0101)),
        protocol: ClientProtocol::Classic,
    }
}

#[test]
fn a_value_has_kafkas_bytes() {
    let bytes = metadata().encode();
    let expected = b"\0\x01\0\0\0\0\0\0\x03\xe8\0\x07\0\0\xea\x60\x01\x03\
        \x02a\x03\0\0\0\0\0\0\0\x02\0\
        \x03bc\x02\0\0\0\x01\0\
        \0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x01\x01\0";
    assert_eq!(&bytes[..], &expected[..]);
    assert_eq!(TransactionMetadata::decode(&bytes), Ok(metadata()));
}

#[test]
fn tagged_fields_come_back() {
    let full = TransactionMetadata {
        previous_id: Some(ProducerId(5)),
        next_id: Some(ProducerId(9)),
        phase: TransactionPhase::PrepareCommit,
        protocol: ClientProtocol::EpochPerTransaction,
        ..metadata()
    };
    assert_eq!(TransactionMetadata::decode(&full.encode()), Ok(full));
    let empty = TransactionMetadata {
        phase: TransactionPhase::Empty,
        partitions: BTreeSet::new(),
        started_at: None,
        ..metadata()
    };
    assert_eq!(TransactionMetadata::decode(&empty.encode()), Ok(empty));
}

#[test]
fn version_0_is_read() {
    let bytes = b"\0\0\0\0\0\0\0\0\x03\xe8\0\x07\0\0\xea\x60\x01\0\0\0\x02\
        \0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x02\0\x02bc\0\0\0\x01\0\0\0\x01\
        \0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x01\x01";
    assert_eq!(TransactionMetadata::decode(bytes), Ok(metadata()));
}

#[test]
fn bytes_that_lie_are_refused() {
    let bytes = metadata().encode();
    for cut in 0..bytes.len() {
        assert!(
            TransactionMetadata::decode(&bytes[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    assert_eq!(
        TransactionMetadata::decode(b"\0\x02"),
        Err(RecordError::UnknownValue { key: 0, version: 2 })
    );
    let key = encode_key(&"writer".into());
    assert_eq!(decode_key(&key), Ok("writer".into()));
    assert_eq!(decode_key(&key[..key.len() - 1]), Err(RecordError::Malformed(0)));
    assert_eq!(decode_key(b"\0\x01\0\0"), Err(RecordError::UnknownKey(1)));
    assert_eq!(decode_key(b""), Err(RecordError::NoKey));
}
