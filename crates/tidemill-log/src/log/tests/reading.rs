use super::*;

#[test]
fn offsets_and_epochs_are_assigned_and_the_rest_stays_as_it_came() {
    let (_, log) = new_log(small());
    append(&log, batch_of(&["a", "b"], 10));
    let sent = batch_of(&["c", "d", "e"], 20);
    let append = Append {
        leader_epoch: LeaderEpoch(4),
        ..client()
    };
    let appended = log.append(sent.clone(), append).unwrap();
    assert_eq!(
        (appended.base_offset, appended.last_offset),
        (Offset(2), Offset(4))
    );
    assert_eq!(appended.log_append_time, None);

    let fetched = log
        .read(Offset(2), ReadUpTo::LogEnd, 1 << 20, FirstBatch::Always)
        .unwrap();
    let bytes = fetched.into_bytes().unwrap().concat();
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!(batch.header().base_offset, 2);
    assert_eq!(batch.header().leader_epoch, 4);
    assert_eq!(bytes[16..], sent[16..]);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(4)));
    let end = log.end_offset_for_epoch(LeaderEpoch(0)).unwrap();
    assert_eq!((end.leader_epoch, end.end_offset), (LeaderEpoch(0), Offset(2)));
}

#[test]
fn a_read_starts_with_the_batch_that_contains_the_offset() {
    let config = LogConfig {
        segment_bytes: 500,
        ..small()
    };
    let (_, log) = new_log(config);
    fill(&log, 60);
    assert!(log.segment_count() > 3);
    for from in 0..60 {
        let records = read(&log, from, 1).unwrap();
        assert_eq!(records[0].0, from / 3 * 3, "from {from}");
        assert_eq!(records.len(), 3);
        assert_eq!(records, numbered(from / 3 * 3..from / 3 * 3 + 3));
    }
    assert_eq!(contents(&log), numbered(0..60));
    assert_eq!(read(&log, 60, 1000).unwrap(), []);
    for outside in [-1, 61] {
        assert!(matches!(
            read(&log, outside, 1000),
            Err(ReadError::OutOfRange { .. })
        ));
    }
}

#[test]
fn a_read_takes_whole_batches_up_to_the_bytes_asked_for() {
    let (_, log) = new_log(small());
    fill(&log, 30);
    let one = read(&log, 0, 1).unwrap();
    assert_eq!(one.len(), 3);
    let size = log.size_bytes() as usize;
    let mut last = 3;
    for bytes_max in 1..=size {
        let fetched = log
            .read(Offset(0), ReadUpTo::LogEnd, bytes_max, FirstBatch::OnlyIfItFits)
            .unwrap();
        assert!(fetched.len() <= bytes_max);
        let records = read(&log, 0, bytes_max).unwrap();
        assert_eq!(records, numbered(0..records.len() as i64));
        assert!(records.len() >= last, "more room, more batches");
        last = records.len();
    }
    assert_eq!(last, 30);
    let first = log
        .read(Offset(0), ReadUpTo::LogEnd, 10, FirstBatch::OnlyIfItFits)
        .unwrap();
    assert!(first.is_empty());
    assert_eq!(first.next_offset, Offset(0));
}

#[test]
fn nothing_above_the_high_watermark_is_seen() {
    for tail_bytes in [0, 1 << 20] {
        let (disk, options) = no_tail(&MemoryDisk::new());
        let options = OpenOptions {
            tail_budget: Arc::new(TailBudget::new(tail_bytes)),
            ..options
        };
        let (log, _) = Log::open(disk, options, small(), NOW).unwrap();
        for values in [["a", "b"], ["c", "d"], ["e", "f"]] {
            log.append(batch_of(&values, 1), client()).unwrap();
        }
        assert_eq!(read(&log, 0, 1000).unwrap(), []);
        assert!(log.advance_high_watermark(Offset(4)));
        assert!(!log.advance_high_watermark(Offset(3)));
        assert_eq!(read(&log, 1, 1000).unwrap().len(), 4);
        assert_eq!(read(&log, 4, 1000).unwrap(), []);
        assert!(log.advance_high_watermark(Offset(99)));
        assert_eq!(log.high_watermark(), Offset(6));
        assert_eq!(read(&log, 0, 1000).unwrap().len(), 6);
    }
}

#[test]
fn the_tail_serves_small_batches_and_the_file_large_ones() {
    let (disk, options) = no_tail(&MemoryDisk::new());
    let options = OpenOptions {
        tail_budget: Arc::new(TailBudget::new(1 << 20)),
        ..options
    };
    let (log, _) = Log::open(disk, options, small(), NOW).unwrap();
    let large = "x".repeat(20_000);
    append(&log, batch_of(&["small"], 1));
    append(&log, batch_of(&["other"], 1));
    let of_tail = log
        .read(Offset(0), ReadUpTo::HighWatermark, 1 << 20, FirstBatch::Always)
        .unwrap();
    assert!(matches!(of_tail.parts[..], [FetchPart::Memory(_)]));
    let all = [
        (0, "small".to_owned()),
        (1, "other".to_owned()),
        (2, large.clone()),
        (3, "last".to_owned()),
    ];
    assert_eq!(read(&log, 0, 1 << 20).unwrap(), all[..2]);

    append(&log, batch_of(&[&large], 1));
    append(&log, batch_of(&["last"], 1));
    let from = |offset| {
        log.read(
            Offset(offset),
            ReadUpTo::HighWatermark,
            1 << 20,
            FirstBatch::Always,
        )
        .unwrap()
        .parts
    };
    assert!(
        matches!(from(0)[..], [FetchPart::File(_)]),
        "a large batch leaves the tail empty"
    );
    assert!(matches!(from(3)[..], [FetchPart::Memory(_)]));
    assert_eq!(read(&log, 0, 1 << 20).unwrap(), all);

    log.age(Timestamp(NOW.0 + 60_000));
    assert!(matches!(from(3)[..], [FetchPart::File(_)]));
    assert_eq!(read(&log, 0, 1 << 20).unwrap(), all);
}

#[test]
fn readers_that_go_on_where_they_stopped_miss_nothing() {
    for segment_bytes in [600, 1 << 20] {
        let (_, log) = new_log(LogConfig {
            segment_bytes,
            ..small()
        });
        fill(&log, 60);
        // More readers than are remembered, each with its own size, all in turn.
        let mut readers: [(i64, Vec<_>); 12] = std::array::from_fn(|_| (0, Vec::new()));
        while readers.iter().any(|(at, _)| *at < 60) {
            for (size, (at, got)) in readers.iter_mut().enumerate() {
                let fetched = log
                    .read(
                        Offset(*at),
                        ReadUpTo::HighWatermark,
                        100 * (size + 1),
                        FirstBatch::Always,
                    )
                    .unwrap();
                assert!(*at == 60 || fetched.next_offset.0 > *at);
                *at = fetched.next_offset.0;
                got.extend(fetched.into_bytes().unwrap());
            }
        }
        let (_, first) = &readers[0];
        for (_, got) in &readers {
            assert_eq!(got.concat(), first.concat());
        }
        assert_eq!(contents(&log), numbered(0..60));
    }
}

#[test]
fn a_clean_stop_and_start_changes_nothing() {
    let config = LogConfig {
        segment_bytes: 1000,
        ..small()
    };
    let (disk, log) = new_log(config.clone());
    fill(&log, 60);
    log.close().unwrap();
    assert!(matches!(
        log.append(batch_of(&["x"], 1), client()),
        Err(AppendError::Closed)
    ));
    assert!(matches!(read(&log, 0, 10), Err(ReadError::Closed)));
    let (log, report) = open_clean(&disk.crash(), config);
    assert_eq!(report, RecoveryReport::default(), "nothing had to be checked");
    assert_eq!(contents(&log), numbered(0..60));
    fill(&log, 90);
    assert_eq!(contents(&log), numbered(0..90));
}

#[test]
fn segments_roll_by_age_of_their_records() {
    let (_, log) = new_log(LogConfig {
        segment_ms: 1000,
        ..small()
    });
    append(&log, batch_of(&["a"], 5_000));
    append(&log, batch_of(&["b"], 6_000));
    assert_eq!(log.segment_count(), 1);
    append(&log, batch_of(&["c"], 6_001));
    assert_eq!(log.segment_count(), 2);
    log.roll(NOW).unwrap();
    log.roll(NOW).unwrap();
    assert_eq!(log.segment_count(), 3, "an empty segment is not rolled");
    assert_eq!(contents(&log).len(), 3);
}

#[test]
fn a_segment_ends_when_its_index_is_full() {
    let (_, log) = new_log(LogConfig {
        segment_index_bytes: 16,
        ..small()
    });
    fill(&log, 60);
    assert!(log.segment_count() > 2);
    assert_eq!(contents(&log), numbered(0..60));
}
