use super::*;

fn of_producer(sequence: i32, epoch: i16, records: i32, transactional: bool) -> Bytes {
    let stamp = ProducerStamp {
        id: 9,
        epoch,
        base_sequence: sequence,
    };
    let mut builder = BatchBuilder::new(Compression::None).producer(stamp);
    if transactional {
        builder = builder.transactional();
    }
    for n in 0..records {
        builder.push(100, None, Some(format!("p{}", sequence + n).as_bytes()), []);
    }
    builder.build()
}

fn marker(commit: bool) -> Bytes {
    let stamp = ProducerStamp {
        id: 9,
        epoch: 0,
        base_sequence: -1,
    };
    let mut builder = BatchBuilder::new(Compression::None)
        .producer(stamp)
        .transactional()
        .control();
    let key = [0, 0, 0, u8::from(commit)];
    builder.push(100, Some(&key), Some(&[0, 0, 0, 0, 0, 3]), []);
    builder.build()
}

/// Writes two records of a transaction and the marker that aborts it.
pub(super) fn abort_a_transaction(log: &Log) {
    append(log, of_producer(0, 0, 2, true));
    let marked = log.append(marker(false), coordinator()).unwrap();
    log.advance_high_watermark(marked.last_offset.plus(1));
}

fn coordinator() -> Append {
    Append {
        origin: Origin::Coordinator,
        ..client()
    }
}

#[test]
fn a_batch_sent_twice_is_written_once_also_across_a_crash_and_a_clean_stop() {
    let (disk, log) = new_log(small());
    append(&log, batch_of(&["x"], 1));
    append(&log, of_producer(0, 0, 3, false));
    let first = append(&log, of_producer(3, 0, 2, false));
    assert!(!first.duplicate);
    let again = append(&log, of_producer(3, 0, 2, false));
    assert_eq!(
        again,
        Appended {
            duplicate: true,
            ..first
        }
    );
    assert_eq!(log.log_end_offset(), Offset(6));

    let (log, _) = open(&disk.kill(), small());
    assert_eq!(append(&log, of_producer(0, 0, 3, false)).base_offset, Offset(1));
    assert_eq!(append(&log, of_producer(3, 0, 2, false)).base_offset, Offset(4));
    log.roll(NOW).unwrap();
    let gap = log.append(of_producer(6, 0, 1, false), client()).unwrap_err();
    assert!(
        matches!(gap, AppendError::Producer(ProducerError::OutOfOrder { .. })),
        "{gap}"
    );

    let (disk, log) = new_log(small());
    let first = append(&log, of_producer(0, 0, 3, false));
    log.close().unwrap();
    let (log, report) = open_clean(&disk.crash(), small());
    assert_eq!(report.checked_segments, 0);
    let again = append(&log, of_producer(0, 0, 3, false));
    assert_eq!(
        again,
        Appended {
            duplicate: true,
            ..first
        }
    );
    let fenced = log.append(of_producer(0, -1, 1, false), client());
    assert!(matches!(
        fenced,
        Err(AppendError::Producer(ProducerError::Fenced { .. }))
    ));
}

#[test]
fn a_torn_snapshot_is_passed_over() {
    let (disk, log) = new_log(small());
    append(&log, of_producer(0, 0, 3, false));
    log.close().unwrap();
    disk.corrupt(&file(3, "snapshot"), |bytes| bytes.truncate(20));
    let (log, _) = open_clean(&disk, small());
    assert!(append(&log, of_producer(0, 0, 3, false)).duplicate);
}

#[test]
fn snapshots_of_earlier_closings_do_not_pile_up() {
    let (disk, mut log) = new_log(small());
    for n in 0..5 {
        append(&log, of_producer(n, 0, 1, false));
        log.close().unwrap();
        log = open_clean(&disk, small()).0;
    }
    let entries = disk.list(Path::new(DIR)).unwrap();
    let snapshots = entries
        .iter()
        .filter(|e| matches!(e, crate::DirEntry::File { name, .. } if name.ends_with("snapshot")));
    assert_eq!(snapshots.count(), 1);
    assert!(append(&log, of_producer(4, 0, 1, false)).duplicate);
}

#[test]
fn open_transactions_hold_back_the_last_stable_offset() {
    let (disk, log) = new_log(small());
    append(&log, batch_of(&["x"], 1));
    append(&log, of_producer(0, 0, 2, true));
    append(&log, batch_of(&["y"], 1));
    assert_eq!(
        (log.last_stable_offset(), log.high_watermark()),
        (Offset(1), Offset(4))
    );
    let stable = |log: &Log, from| {
        log.read(Offset(from), ReadUpTo::LastStable, 10_000, FirstBatch::Always)
            .unwrap()
    };
    assert_eq!(stable(&log, 0).next_offset, Offset(1));

    let (reopened, _) = open(&disk.kill(), small());
    assert_eq!(reopened.last_stable_offset(), Offset(1));

    let ended = log.append(marker(false), coordinator()).unwrap();
    assert_eq!(ended.base_offset, Offset(4));
    assert_eq!(
        log.last_stable_offset(),
        Offset(1),
        "the marker is not committed yet"
    );
    log.advance_high_watermark(Offset(5));
    assert_eq!(log.last_stable_offset(), Offset(5));
    let expected = AbortedTransaction {
        producer_id: crate::ProducerId(9),
        first_offset: Offset(1),
        last_offset: Offset(4),
        last_stable_offset: Offset(5),
    };
    for log in [&log, &open(&disk.kill(), small()).0] {
        assert_eq!(log.last_stable_offset(), Offset(5));
        assert_eq!(stable(log, 0).aborted, [expected]);
        assert_eq!(stable(log, 3).aborted, [expected]);
        assert_eq!(stable(log, 5).aborted, []);
    }
    assert_eq!(disk.content(&file(0, "txnindex")).unwrap().len(), 34);

    log.append(of_producer(2, 0, 1, true), client()).unwrap();
    log.append(marker(true), coordinator()).unwrap();
    log.advance_high_watermark(Offset(7));
    assert_eq!(log.last_stable_offset(), Offset(7));
    assert_eq!(stable(&log, 5).aborted, []);
    log.close().unwrap();
    let (log, _) = open_clean(&disk.crash(), small());
    assert_eq!(stable(&log, 0).aborted, [expected]);
}

use crate::AbortedTransaction;

#[test]
fn markers_come_from_coordinators_only() {
    let (_, log) = new_log(small());
    let refused = log.append(marker(true), client());
    assert!(matches!(
        refused,
        Err(AppendError::Invalid(InvalidBatch::Content(BatchError::Control)))
    ));
}
