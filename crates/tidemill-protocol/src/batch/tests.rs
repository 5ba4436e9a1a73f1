use bytes::Bytes;

use super::*;
use crate::compression::Compression;

const STAMP: ProducerStamp = ProducerStamp {
    id: 9,
    epoch: 2,
    base_sequence: i32::MAX - 1,
};

fn three(compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression).producer(STAMP).transactional();
    builder.push(
        1_000,
        Some(b"a"),
        Some(b"one"),
        [Header::new("h", b"1"), Header::new("h", b"2")],
    );
    builder.push(
        990,
        None,
        None,
        [Header {
            key: b"null",
            value: None,
        }],
    );
    builder.push(5_000_000_000, Some(b""), Some(&[7; 500]), []);
    builder.build()
}

#[test]
fn what_was_built_is_read_back_in_every_codec() {
    for codec in Compression::ALL {
        let bytes = three(codec);
        let batch = Batch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        batch.check_lengths().unwrap();
        let header = *batch.header();
        header.check_produced().unwrap();
        assert_eq!(
            (header.len, header.record_count, header.last_offset()),
            (bytes.len(), 3, 2)
        );
        assert_eq!(
            (header.base_timestamp, header.max_timestamp),
            (1_000, 5_000_000_000)
        );
        assert_eq!((header.producer_id, header.producer_epoch), (9, 2));
        assert_eq!((header.base_sequence, header.last_sequence()), (i32::MAX - 1, 0));
        assert!(header.attributes.is_transactional() && !header.attributes.is_control());
        assert_eq!(header.attributes.compression(), Ok(codec));
        let payload = batch.payload(1 << 16).unwrap();
        let records: Vec<Record<'_>> = batch.records(&payload).collect::<Result<_, _>>().unwrap();
        let times: Vec<_> = records
            .iter()
            .map(|record| (record.offset, record.timestamp))
            .collect();
        assert_eq!(times, [(0, 1_000), (1, 990), (2, 5_000_000_000)]);
        assert_eq!(
            (records[0].key, records[0].value),
            (Some(&b"a"[..]), Some(&b"one"[..]))
        );
        assert_eq!((records[1].key, records[1].value), (None, None));
        assert_eq!(records[2].key, Some(&b""[..]));
        let headers: Vec<_> = records[0]
            .headers
            .map(|header| (header.key_text(), header.value))
            .collect();
        assert_eq!(
            headers,
            [("h".into(), Some(&b"1"[..])), ("h".into(), Some(&b"2"[..]))]
        );
        assert_eq!(
            records[1].headers.collect::<Vec<_>>(),
            [Header {
                key: b"null",
                value: None
            }]
        );
    }
}

#[test]
fn batches_follow_each_other_and_the_cut_off_last_one_is_left() {
    let mut log = three(Compression::None).to_vec();
    log.extend_from_slice(&three(Compression::Zstd));
    assert_eq!(Batches::new(&log).filter(Result::is_ok).count(), 2);
    for cut in [1, 12, 60, 61, 100] {
        let bytes = [&log[..], &log[..cut]].concat();
        let all: Vec<_> = Batches::new(&bytes).collect();
        assert_eq!(all.len(), 3);
        assert!(
            matches!(all[2], Err(BatchError::Truncated { .. })),
            "{:?}",
            all[2]
        );
        assert_eq!(
            Batches::new(&bytes).ignore_cut_off().map(Result::unwrap).count(),
            2
        );
    }
}

#[test]
fn the_leader_assigns_without_touching_the_crc() {
    let mut bytes = three(Compression::Lz4).to_vec();
    let prefix = assigned_prefix(bytes.first_chunk().unwrap(), 40, 3);
    patch_assigned(&mut bytes, 40, 3);
    assert_eq!(bytes[..16], prefix);
    let batch = Batch::parse(&bytes).unwrap();
    batch.check_crc().unwrap();
    assert_eq!(
        (
            batch.header().base_offset,
            batch.header().leader_epoch,
            batch.header().next_offset()
        ),
        (40, 3, 43)
    );
    assert_eq!(batch.header().check_produced(), Err(BatchError::BaseOffset(40)));
    let payload = batch.payload(1 << 16).unwrap();
    assert_eq!(batch.records(&payload).last().unwrap().unwrap().offset, 42);
}

#[test]
fn log_append_time_is_every_records_time() {
    let mut bytes = three(Compression::None).to_vec();
    patch_log_append_time(&mut bytes, 77);
    let batch = Batch::parse(&bytes).unwrap();
    batch.check_crc().unwrap();
    assert_eq!(
        batch.header().attributes.timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(
        (batch.header().base_timestamp, batch.header().max_timestamp),
        (1_000, 77)
    );
    let payload = batch.payload(0).unwrap();
    assert!(
        batch
            .records(&payload)
            .all(|record| record.unwrap().timestamp == 77)
    );
}

#[test]
fn shared_payload_of_plain_records_is_a_slice() {
    let bytes = three(Compression::None);
    let batch = Batch::parse(&bytes).unwrap();
    let payload = batch.shared_payload(&bytes, 0).unwrap();
    assert_eq!(payload.as_ptr(), bytes[HEADER_LEN..].as_ptr());
}

#[test]
fn gaps_in_offsets_survive() {
    let mut builder = BatchBuilder::new(Compression::Gzip).assigned(100, 5);
    builder.push_at(103, 1, Some(b"k"), None, []);
    builder.push_at(110, 2, Some(b"l"), None, []);
    let bytes = builder.build();
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!(
        (batch.header().base_offset, batch.header().last_offset()),
        (100, 110)
    );
    let payload = batch.payload(1 << 10).unwrap();
    let offsets: Vec<_> = batch
        .records(&payload)
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, [103, 110]);
}

#[test]
fn any_flipped_bit_is_noticed_or_outside_the_crc() {
    let bytes = three(Compression::None);
    for at in 0..bytes.len() * 8 {
        let mut bent = bytes.to_vec();
        bent[at / 8] ^= 1 << (at % 8);
        let noticed = Batch::parse(&bent).and_then(|batch| batch.check_crc()).is_err();
        let outside = at / 8 < 8 || (12..16).contains(&(at / 8));
        assert!(noticed || outside, "bit {at}");
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let good = three(Compression::None);
    let bent = |at: usize, field: &[u8]| {
        let mut bytes = good.to_vec();
        bytes[at..at + field.len()].copy_from_slice(field);
        bytes
    };
    let parse = |bytes: &[u8]| Batch::parse(bytes).and_then(|batch| batch.header().check_produced());
    assert_eq!(parse(&bent(16, &[1])), Err(BatchError::Magic(1)));
    assert_eq!(
        parse(&bent(8, &(-1i32).to_be_bytes())),
        Err(BatchError::Length(-1))
    );
    assert_eq!(parse(&bent(8, &48i32.to_be_bytes())), Err(BatchError::Length(48)));
    assert!(matches!(
        parse(&bent(8, &i32::MAX.to_be_bytes())),
        Err(BatchError::Truncated { .. })
    ));
    assert!(matches!(
        parse(&bent(57, &4i32.to_be_bytes())),
        Err(BatchError::Count { by: "offsets", .. })
    ));
    assert!(matches!(
        parse(&bent(57, &(-1i32).to_be_bytes())),
        Err(BatchError::Count { .. })
    ));
    assert!(matches!(
        parse(&bent(23, &(-1i32).to_be_bytes())),
        Err(BatchError::Count { .. })
    ));
    assert_eq!(parse(&bent(21, &7i16.to_be_bytes())), Err(BatchError::Codec(7)));
    assert_eq!(parse(&bent(21, &32i16.to_be_bytes())), Err(BatchError::Control));
    let fewer = [&2i32.to_be_bytes()[..]].concat();
    let fewer = bent(57, &fewer);
    let batch = Batch::parse(&fewer).unwrap();
    assert_eq!(
        batch.check_lengths(),
        Err(BatchError::Count {
            expected: 2,
            found: 3,
            by: "records"
        })
    );
    let last = batch.records(batch.stored_records()).last();
    assert_eq!(
        last.unwrap().unwrap_err(),
        BatchError::Record {
            index: 2,
            what: "more bytes than records"
        }
    );
}

#[test]
fn records_that_lie_are_refused_and_end_the_iteration() {
    let payload_of = |records: &[u8]| {
        let mut bytes = three(Compression::None)[..HEADER_LEN].to_vec();
        bytes.extend_from_slice(records);
        let len = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        bytes
    };
    // Length, attributes, timestamp delta, offset delta, key length, value length, headers; zigzag doubles.
    let cases: [(&[u8], &str); 8] = [
        (&[12, 0, 0, 0, 1, 1], "a length beyond its end"),
        (&[1], "a negative length"),
        (&[10, 0, 0, 0, 1, 1], "too short for a record"),
        (&[12, 0, 0, 0, 3, 1, 0], "a negative length"),
        (&[12, 0, 0, 0, 1, 1, 1], "a negative header count"),
        (&[12, 0, 0, 0, 1, 1, 2], "a broken varint"),
        (&[14, 0, 0, 0, 1, 1, 0, 0], "longer than its content"),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], "a broken varint"),
    ];
    for (records, what) in cases {
        let bytes = payload_of(records);
        let batch = Batch::parse(&bytes).unwrap();
        let all: Vec<_> = batch.records(batch.stored_records()).collect();
        assert_eq!(all, [Err(BatchError::Record { index: 0, what })], "{records:?}");
    }
}

#[test]
fn a_batch_takes_another_producers_stamp() {
    let stamp = |id, epoch, base_sequence| ProducerStamp {
        id,
        epoch,
        base_sequence,
    };
    let build = |stamp| {
        let mut builder = BatchBuilder::new(Compression::None).producer(stamp);
        builder.push(1, Some(b"k"), Some(b"v"), []);
        builder.build()
    };
    let mut patched = Vec::from(build(stamp(1, 2, 3)));
    patch_producer(&mut patched, stamp(i64::MAX, 7, 0));
    assert_eq!(patched, build(stamp(i64::MAX, 7, 0)));
}
