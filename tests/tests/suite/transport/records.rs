//! Writing, reading by hand, and what a cluster tells of its topics.

use bytes::Bytes;
use tidemill_client::{Outgoing, Start, TopicSpec, TransportError};
use tidemill_data::{Headers, Timestamp};

use super::clusters::{TICK, at, caught_up, on_each, poll_until, records, values};

#[test]
fn a_record_comes_back_with_all_that_it_had() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        let mut writer = cluster.transport.writer("w").unwrap();
        let topic = writer.topic("t").unwrap();
        let mut headers = Headers::default().with("a", "1");
        headers.push("b", None);
        let none = Headers::default();
        let record = |time, key, value, headers| Outgoing {
            topic,
            partition: 1,
            timestamp: Timestamp::from_millis(time),
            key,
            value,
            headers,
        };
        let sent: [Outgoing<'_>; 3] = [
            record(5, Some(&b"k"[..]), Some(&b"v"[..]), &headers),
            record(3, None, Some(&b""[..]), &none),
            record(9, Some(&b""[..]), None, &none),
        ];
        writer.send(&sent).unwrap();
        writer.flush().unwrap();
        let mut reader = cluster.reader(&[(at("t", 1), Start::Earliest)]);
        let events = poll_until(&mut reader, cluster.name, |events| records(events).len() == 3);
        for (place, (got, sent)) in records(&events).iter().zip(&sent).enumerate() {
            assert_eq!(got.offset, place as i64, "{}", cluster.name);
            assert_eq!(got.timestamp, sent.timestamp);
            assert_eq!(got.key.as_deref(), sent.key);
            assert_eq!(got.value.as_deref(), sent.value);
            assert_eq!(got.headers, *sent.headers);
        }
    });
}

#[test]
fn many_records_keep_their_order_through_batches_and_full_buffers() {
    const COUNT: usize = 60_000;
    on_each(|cluster| {
        cluster.topic("t", 3);
        let mut writer = cluster.transport.writer("w").unwrap();
        let (topic, headers) = (writer.topic("t").unwrap(), Headers::default());
        let values: Vec<Bytes> = (0..COUNT).map(|n| Bytes::from(format!("{n:0>400}"))).collect();
        let record = |(n, value): (usize, &'_ Bytes)| -> (i32, Bytes) { ((n % 3) as i32, value.clone()) };
        let all: Vec<(i32, Bytes)> = values.iter().enumerate().map(record).collect();
        for some in all.chunks(1000) {
            let outgoing = some.iter().map(|(partition, value)| Outgoing {
                topic,
                partition: *partition,
                timestamp: Timestamp::from_millis(1),
                key: None,
                value: Some(value),
                headers: &headers,
            });
            writer.send(&outgoing.collect::<Vec<_>>()).unwrap();
        }
        writer.flush().unwrap();
        for partition in 0..3 {
            let mut reader = cluster.reader(&[(at("t", partition), Start::At(10))]);
            let want = COUNT / 3;
            let events = poll_until(&mut reader, cluster.name, |events| {
                caught_up(events, &at("t", partition)) == Some(want as i64)
            });
            let got = records(&events);
            assert_eq!(got.len(), want - 10, "{}", cluster.name);
            for (place, record) in got.iter().enumerate() {
                let expected = &values[(place + 10) * 3 + partition as usize];
                assert_eq!(record.value.as_ref(), Some(expected));
            }
        }
    });
}

#[test]
fn the_end_is_told_and_told_again_after_new_records() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        let partition = at("t", 0);
        let mut reader = cluster.reader(&[(partition.clone(), Start::Earliest)]);
        let told = |end| {
            let partition = partition.clone();
            move |events: &[_]| caught_up(events, &partition) == Some(end)
        };
        poll_until(&mut reader, cluster.name, told(0));
        cluster.write(&partition, &["a", "b"]);
        let events = poll_until(&mut reader, cluster.name, told(2));
        assert_eq!(values(&events), ["a", "b"]);
        cluster.write(&partition, &["c"]);
        let events = poll_until(&mut reader, cluster.name, told(3));
        assert_eq!(values(&events), ["c"], "{}", cluster.name);
    });
}

#[test]
fn a_reader_begins_where_it_is_told() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        cluster.write(&at("t", 0), &["a", "b", "c"]);
        for (start, expected) in [
            (Start::Earliest, vec!["a", "b", "c"]),
            (Start::At(1), vec!["b", "c"]),
            (Start::Latest, vec![]),
        ] {
            let mut reader = cluster.reader(&[(at("t", 0), start)]);
            let events = poll_until(&mut reader, cluster.name, |events| {
                caught_up(events, &at("t", 0)) == Some(3)
            });
            assert_eq!(values(&events), expected, "{} {start:?}", cluster.name);
        }
    });
}

#[test]
fn a_reader_begins_at_the_first_record_of_a_time() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        let mut writer = cluster.transport.writer("w").unwrap();
        let (topic, headers) = (writer.topic("t").unwrap(), Headers::default());
        for time in [1_000, 3_000, 2_000, 5_000] {
            let value = time.to_string();
            let record = Outgoing {
                topic,
                partition: 0,
                timestamp: Timestamp::from_millis(time),
                key: None,
                value: Some(value.as_bytes()),
                headers: &headers,
            };
            writer.send(&[record]).unwrap();
        }
        writer.flush().unwrap();
        let since = |ms| Start::Since(Timestamp::from_millis(ms));
        let read = |ms, count| {
            let mut reader = cluster.reader(&[(at("t", 0), since(ms)), (at("t", 1), since(ms))]);
            let events = poll_until(&mut reader, cluster.name, |events| {
                values(events).len() == count && caught_up(events, &at("t", 0)) == Some(4)
            });
            values(&events)
        };
        assert_eq!(read(-1, 4), ["1000", "3000", "2000", "5000"], "{}", cluster.name);
        assert_eq!(read(1_500, 3), ["3000", "2000", "5000"], "{}", cluster.name);
        assert_eq!(read(5_000, 1), ["5000"], "{}", cluster.name);
        assert!(read(5_001, 0).is_empty(), "{}", cluster.name);
    });
}

#[test]
fn another_assignment_replaces_the_one_before() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        cluster.write(&at("t", 0), &["a"]);
        cluster.write(&at("t", 1), &["b"]);
        let mut reader = cluster.reader(&[(at("t", 0), Start::Earliest)]);
        poll_until(&mut reader, cluster.name, |events| values(events) == ["a"]);
        reader.assign(&[(at("t", 1), Start::Earliest)]).unwrap();
        cluster.write(&at("t", 0), &["never seen"]);
        let events = poll_until(&mut reader, cluster.name, |events| {
            caught_up(events, &at("t", 1)) == Some(1)
        });
        assert_eq!(values(&events), ["b"], "{}", cluster.name);
    });
}

#[test]
fn an_offset_out_of_range_is_an_error_that_names_it() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        cluster.write(&at("t", 0), &["a"]);
        let mut reader = cluster.reader(&[(at("t", 0), Start::At(5))]);
        let mut events = Vec::new();
        let error = loop {
            match reader.poll(10, TICK, &mut events) {
                Ok(()) => assert_eq!(events, [], "{}", cluster.name),
                Err(error) => break error,
            }
        };
        let expected =
            matches!(&error, TransportError::OutOfRange { partition, offset: 5 } if *partition == at("t", 0));
        assert!(expected, "{}: {error}", cluster.name);
    });
}

#[test]
fn topics_are_described_and_made_once() {
    on_each(|cluster| {
        let described = cluster.transport.describe(&["t", "u"]).unwrap();
        assert_eq!(described, [None, None], "{}", cluster.name);
        cluster.topic("t", 3);
        cluster.transport.create(&[TopicSpec::new("t", 5)]).unwrap();
        let described = cluster.transport.describe(&["u", "t"]).unwrap();
        assert_eq!(described[0], None, "asking creates nothing");
        let topic = described[1].as_ref().unwrap();
        assert_eq!(topic.partitions, 3);
        assert!(topic.id.is_some());
    });
}

#[test]
fn offsets_tell_where_partitions_begin_and_end() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        cluster.write(&at("t", 1), &["a", "b", "c"]);
        let both = [at("t", 1), at("t", 0)];
        assert_eq!(cluster.transport.start_offsets(&both).unwrap(), [0, 0]);
        assert_eq!(cluster.transport.end_offsets(&both).unwrap(), [3, 0]);
        assert_eq!(cluster.transport.high_watermarks(&both).unwrap(), [3, 0]);
        cluster.transport.delete_records(&[(at("t", 1), 2)]).unwrap();
        cluster.transport.delete_records(&[(at("t", 1), 1)]).unwrap();
        assert_eq!(
            cluster.transport.start_offsets(&both).unwrap(),
            [2, 0],
            "{}",
            cluster.name
        );
        let missing = cluster.transport.end_offsets(&[at("missing", 0)]);
        assert!(missing.is_err(), "{}", cluster.name);
    });
}

/// librdkafka reads the time 0 as now, decades later, so there it becomes 1.
#[test]
fn a_record_of_the_first_millisecond_of_time_keeps_it_within_one() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        let mut writer = cluster.transport.writer("w").unwrap();
        let (topic, headers) = (writer.topic("t").unwrap(), Headers::default());
        let first = Outgoing {
            topic,
            partition: 0,
            timestamp: Timestamp::from_millis(0),
            key: None,
            value: Some(&b"v"[..]),
            headers: &headers,
        };
        writer.send(&[first]).unwrap();
        writer.flush().unwrap();
        let mut reader = cluster.reader(&[(at("t", 0), Start::Earliest)]);
        let events = poll_until(&mut reader, cluster.name, |events| records(events).len() == 1);
        let expected = i64::from(cluster.name == "librdkafka");
        let got = records(&events).first().map(|record| record.timestamp.millis());
        assert_eq!(got, Some(expected), "{}", cluster.name);
    });
}
