use super::*;

#[test]
fn bad_batches_are_refused_and_leave_nothing() {
    let config = LogConfig {
        max_message_bytes: 2000,
        segment_bytes: 5000,
        ..small()
    };
    let (disk, log) = new_log(config);
    fill(&log, 6);
    let before = disk.content(&file(0, "log")).unwrap();
    let good = batch_of(&["a", "b"], 10);
    for at in 17..good.len() {
        let mut flipped = good.to_vec();
        flipped[at] ^= 1;
        log.append(flipped.into(), client()).unwrap_err();
    }
    for cut in 0..good.len() {
        log.append(good.slice(..cut), client()).unwrap_err();
    }
    let two = Bytes::from([&good[..], &good[..]].concat());
    assert!(matches!(
        log.append(two, client()),
        Err(AppendError::Invalid(InvalidBatch::Several(2)))
    ));
    let large = batch_of(&[&"x".repeat(2000)], 10);
    assert!(matches!(
        log.append(large, client()),
        Err(AppendError::TooLarge { max: 2000, .. })
    ));
    let huge = batch_of(&[&"x".repeat(6000)], 10);
    assert!(matches!(
        log.append(huge, client()),
        Err(AppendError::TooLarge { max: 5000, .. })
    ));
    let late = batch_of(&["a"], NOW.0 + 3_600_001);
    assert!(matches!(
        log.append(late, client()),
        Err(AppendError::TimestampOutOfRange { .. })
    ));
    assert_eq!(disk.content(&file(0, "log")).unwrap(), before);
    assert_eq!(contents(&log), numbered(0..6));
}

#[test]
fn a_compacted_topic_needs_keys() {
    let (_, log) = new_log(LogConfig {
        cleanup_policy: CleanupPolicy::Compact,
        ..small()
    });
    append(&log, batch_of(&["a"], 1));
    for compression in [Compression::None, Compression::Zstd] {
        let mut builder = BatchBuilder::new(compression);
        builder.push(1, Some(b"k"), Some(b"v"), []);
        builder.push(1, None, Some(b"v"), []);
        let refused = log.append(builder.build(), client());
        assert!(matches!(
            refused,
            Err(AppendError::Invalid(InvalidBatch::NullKey(1)))
        ));
    }
}

#[test]
fn coordinators_may_append_several_batches_at_once() {
    let (_, log) = new_log(small());
    let two = [batch_of(&["a", "b"], 1), batch_of(&["c"], 2)].concat();
    let appended = log
        .append(
            two.into(),
            Append {
                origin: Origin::Coordinator,
                ..client()
            },
        )
        .unwrap();
    assert_eq!(
        (appended.base_offset, appended.last_offset),
        (Offset(0), Offset(2))
    );
    log.advance_high_watermark(Offset(3));
    assert_eq!(contents(&log).len(), 3);
}

#[test]
fn a_failed_or_torn_write_leaves_the_log_as_it_was() {
    let (disk, log) = new_log(small());
    fill(&log, 6);
    disk.fail_write(0);
    assert!(matches!(
        log.append(batch_of(&["x"], 1), client()),
        Err(AppendError::Disk(_))
    ));
    for kept in [1, 30, 61, 65] {
        disk.tear_write(0, kept);
        assert!(matches!(
            log.append(batch_of(&["x"], 1), client()),
            Err(AppendError::Disk(_))
        ));
    }
    assert!(!log.is_read_only());
    assert_eq!(log.log_end_offset(), Offset(6));
    fill(&log, 12);
    assert_eq!(contents(&log), numbered(0..12));
    let (log, report) = open(&disk.kill(), small());
    assert!(report.is_clean());
    assert_eq!(contents(&log), numbered(0..12));
}

#[test]
fn after_a_failed_sync_the_log_is_read_only() {
    let (disk, log) = new_log(LogConfig {
        flush_messages: Some(9),
        ..small()
    });
    fill(&log, 6);
    assert_eq!(log.recovery_point(), Offset(0));
    disk.fail_sync(0);
    let refused = log.append(batch_of(&["value-6", "value-7", "value-8"], 1006), client());
    assert!(matches!(refused, Err(AppendError::Poisoned)));
    assert!(log.is_read_only());
    assert!(matches!(
        log.append(batch_of(&["x"], 1), client()),
        Err(AppendError::Poisoned)
    ));
    assert!(matches!(log.flush(), Err(FlushError::Poisoned)));
    assert!(matches!(log.close(), Err(FlushError::Poisoned)));
    assert_eq!(
        contents(&log),
        numbered(0..6),
        "what was committed is still served"
    );
}

#[test]
fn what_was_flushed_survives_a_power_cut_and_the_rest_is_forgotten() {
    let config = LogConfig {
        segment_bytes: 1000,
        ..small()
    };
    let (disk, log) = new_log(config.clone());
    fill(&log, 40);
    assert_eq!(log.flush().unwrap(), Offset(40));
    assert_eq!(log.recovery_point(), Offset(40));
    fill(&log, 60);
    let (log, report) = open(&disk.crash(), config);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(contents(&log), numbered(0..40));
}

#[test]
fn flush_ms_flushes_when_records_have_waited() {
    let (_, log) = new_log(LogConfig {
        flush_ms: Some(50),
        ..small()
    });
    fill(&log, 3);
    log.flush_if_due(Timestamp(NOW.0 + 49)).unwrap();
    assert_eq!(log.recovery_point(), Offset(0));
    log.flush_if_due(Timestamp(NOW.0 + 50)).unwrap();
    assert_eq!(log.recovery_point(), Offset(3));
}

#[test]
fn a_failure_to_roll_leaves_the_active_segment_in_use() {
    let config = LogConfig {
        segment_bytes: 1000,
        ..small()
    };
    let (disk, log) = new_log(config);
    fill(&log, 24);
    for nth in 0..3 {
        disk.fail_write(nth);
        let _ = log.roll(NOW);
        disk.fail_write(u64::MAX);
        let base = log.log_end_offset().0;
        fill(&log, base + 3);
    }
    let end = log.log_end_offset().0;
    assert_eq!(contents(&log), numbered(0..end));
}
