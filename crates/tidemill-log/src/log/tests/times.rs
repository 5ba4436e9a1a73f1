use super::*;

fn at(log: &Log, time: i64) -> Option<(i64, i64)> {
    log.offset_for_timestamp(Timestamp(time))
        .unwrap()
        .map(|found| (found.timestamp.0, found.offset.0))
}

#[test]
fn the_first_record_that_is_not_older_is_found_across_segments() {
    let (disk, log) = new_log(LogConfig {
        segment_bytes: 1000,
        ..small()
    });
    fill(&log, 60);
    for log in [&log, &open(&disk.kill(), small()).0] {
        assert_eq!(at(log, 0), Some((1000, 0)));
        for offset in 0..60 {
            assert_eq!(at(log, 1000 + offset), Some((1000 + offset, offset)));
        }
        assert_eq!(at(log, 1060), None);
        let newest = log.offset_of_max_timestamp().unwrap().unwrap();
        assert_eq!((newest.timestamp, newest.offset), (Timestamp(1059), Offset(59)));
        assert_eq!(newest.leader_epoch, Some(LeaderEpoch(0)));
    }
}

#[test]
fn times_out_of_order_are_found_too() {
    let (_, log) = new_log(small());
    for time in [50, 10, 90, 20, 70] {
        append(&log, batch_of(&["x"], time));
    }
    assert_eq!(at(&log, 1), Some((50, 0)));
    assert_eq!(at(&log, 51), Some((90, 2)));
    assert_eq!(at(&log, 91), None);
    assert_eq!(log.offset_of_max_timestamp().unwrap().unwrap().offset, Offset(2));
}

#[test]
fn records_before_the_log_start_are_not_found() {
    let (_, log) = new_log(small());
    append(&log, batch_of(&["a", "b", "c"], 100));
    append(&log, batch_of(&["d"], 50));
    append(&log, batch_of(&["e"], 101));
    log.delete_before(Offset(2)).unwrap();
    assert_eq!(at(&log, 0), Some((102, 2)));
    log.delete_before(Offset(3)).unwrap();
    assert_eq!(at(&log, 60), Some((101, 4)));
}

#[test]
fn compressed_records_are_found_inside_their_batch() {
    let (_, log) = new_log(small());
    let mut builder = BatchBuilder::new(Compression::Lz4);
    for time in 0..10 {
        builder.push(time * 10, None, Some(b"v"), []);
    }
    append(&log, builder.build());
    assert_eq!(at(&log, 41), Some((50, 5)));
}

#[test]
fn append_time_replaces_the_records_times() {
    let config = LogConfig {
        timestamp_type: TimestampType::LogAppendTime,
        ..small()
    };
    let (_, log) = new_log(config);
    let appended = append(&log, batch_of(&["a", "b"], 5));
    assert_eq!(appended.log_append_time, Some(NOW));
    assert_eq!(
        read(&log, 0, 1000).unwrap().len(),
        2,
        "the checksum is right again"
    );
    assert_eq!(at(&log, 6), Some((NOW.0, 0)));
}

#[test]
fn an_empty_log_has_no_times() {
    let (_, log) = new_log(small());
    assert_eq!(at(&log, 0), None);
    assert_eq!(log.offset_of_max_timestamp().unwrap(), None);
}
