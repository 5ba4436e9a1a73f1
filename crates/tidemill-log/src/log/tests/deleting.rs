use super::*;

fn rolled(config: LogConfig) -> (MemoryDisk, Log) {
    let (disk, log) = new_log(LogConfig {
        segment_bytes: 300,
        ..config
    });
    fill(&log, 30);
    (disk, log)
}

fn files(disk: &MemoryDisk) -> usize {
    disk.list(Path::new(DIR)).unwrap().len()
}

#[test]
fn segments_older_than_retention_go_from_the_front() {
    let (disk, log) = rolled(LogConfig {
        retention_ms: Some(100),
        ..small()
    });
    let before = (log.segment_count(), files(&disk));
    assert_eq!(log.enforce_retention(Timestamp(1100)).unwrap(), 0);
    let removed = log.enforce_retention(Timestamp(1115)).unwrap();
    assert!(removed > 0);
    assert_eq!(log.segment_count(), before.0 - removed);
    assert!(files(&disk) < before.1);
    let start = log.log_start_offset().0;
    assert!(start > 0 && start <= 15, "{start}");
    assert_eq!(contents(&log), numbered(start..30));
    assert!(matches!(
        read(&log, start - 1, 100),
        Err(ReadError::OutOfRange { .. })
    ));

    log.enforce_retention(Timestamp(9999)).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(30), Offset(30))
    );
    assert_eq!((log.segment_count(), log.size_bytes()), (1, 0));
    fill(&log, 33);
    let (log, _) = open(&disk.kill(), small());
    assert_eq!(
        (log.log_start_offset(), contents(&log)),
        (Offset(30), numbered(30..33))
    );
}

#[test]
fn the_size_of_a_partition_is_bounded() {
    let (_, log) = rolled(LogConfig {
        retention_bytes: Some(500),
        retention_ms: None,
        ..small()
    });
    log.enforce_retention(NOW).unwrap();
    assert!(
        log.size_bytes() >= 500 && log.size_bytes() < 1000,
        "{}",
        log.size_bytes()
    );
    let start = log.log_start_offset().0;
    assert_eq!(contents(&log), numbered(start..30));
    assert_eq!(log.enforce_retention(NOW).unwrap(), 0);
}

#[test]
fn compacted_topics_are_not_deleted_by_age() {
    let config = LogConfig {
        retention_ms: Some(1),
        cleanup_policy: CleanupPolicy::Compact,
        ..small()
    };
    let (_, log) = rolled(config);
    assert_eq!(log.enforce_retention(Timestamp(i64::MAX)).unwrap(), 0);
}

#[test]
fn only_committed_records_are_deleted() {
    let (disk, log) = new_log(LogConfig {
        segment_bytes: 300,
        retention_ms: Some(1),
        ..small()
    });
    fill(&log, 12);
    log.append(batch_of(&["x"], 1), client()).unwrap();
    assert!(matches!(
        log.delete_before(Offset(13)),
        Err(DeleteError::AboveHighWatermark { .. })
    ));
    assert_eq!(log.delete_before(Offset(7)).unwrap(), Offset(7));
    assert_eq!(log.delete_before(Offset(3)).unwrap(), Offset(7));
    assert_eq!(contents(&log), numbered(7..12));
    let options = |log_start| OpenOptions {
        log_start,
        ..no_tail(&disk).1
    };
    let killed = disk.kill();
    let (again, _) = Log::open(Arc::new(killed.clone()), options(Offset(7)), small(), NOW).unwrap();
    assert_eq!(again.log_start_offset(), Offset(7));
    let (again, _) = Log::open(Arc::new(killed), options(Offset(500)), small(), NOW).unwrap();
    assert_eq!(
        (again.log_start_offset(), again.log_end_offset()),
        (Offset(500), Offset(500))
    );

    log.enforce_retention(Timestamp(i64::MAX)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(13));
    assert!(
        log.log_start_offset() <= Offset(12),
        "the last record is not committed"
    );
}

#[test]
fn a_range_of_a_deleted_segment_stays_readable() {
    let (_, log) = rolled(small());
    let fetched = log
        .read(Offset(0), ReadUpTo::HighWatermark, 100, FirstBatch::Always)
        .unwrap();
    log.delete_before(Offset(30)).unwrap();
    assert_eq!(fetched.into_bytes().unwrap().concat().len(), fetched_len());
}

fn fetched_len() -> usize {
    batch_of(&["value-0", "value-1", "value-2"], 1).len()
}
