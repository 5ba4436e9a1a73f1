//! Idempotence and transactions, right through compaction.

use super::*;

fn stamp(id: i64, epoch: i16, base_sequence: i32) -> ProducerStamp {
    ProducerStamp {
        id,
        epoch,
        base_sequence,
    }
}

fn numbered_batch(stamp: ProducerStamp, transactional: bool, batch: &[Pair<'_>]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).producer(stamp);
    if transactional {
        builder = builder.transactional();
    }
    for (key, value) in batch {
        builder.push(1000, Some(key.as_bytes()), value.map(str::as_bytes), []);
    }
    builder.build()
}

fn mark(log: &Log, id: i64, epoch: i16, committed: bool) {
    let mut builder = BatchBuilder::new(Compression::None)
        .producer(stamp(id, epoch, -1))
        .transactional()
        .control();
    let key = [0, 0, 0, u8::from(committed)];
    builder.push(1000, Some(&key), Some(&[0; 6]), []);
    let origin = Append {
        origin: Origin::Coordinator,
        ..client()
    };
    let appended = log.append(builder.build(), origin).unwrap();
    log.advance_high_watermark(appended.last_offset.plus(1));
}

/// The offsets of the markers that are left.
fn markers(log: &Log) -> Vec<i64> {
    let all = batches(log, ReadUpTo::HighWatermark);
    let headers = all.iter().map(|bytes| *Batch::parse(bytes).unwrap().header());
    headers
        .filter(|header| header.attributes.is_control())
        .map(|header| header.base_offset)
        .collect()
}

fn aborted(log: &Log) -> Vec<(i64, i64)> {
    let fetched = log
        .read(
            log.log_start_offset(),
            ReadUpTo::LastStable,
            100_000,
            FirstBatch::Always,
        )
        .unwrap();
    fetched
        .aborted
        .iter()
        .map(|txn| (txn.first_offset.0, txn.last_offset.0))
        .collect()
}

fn next(log: &Log) {
    put(log, "next", "1");
    log.roll(NOW).unwrap();
}

#[test]
fn a_producers_last_batch_keeps_its_sequence_though_its_records_are_gone() {
    let (disk, log) = new_log(compacting());
    append(
        &log,
        numbered_batch(stamp(7, 0, 0), false, &[("a", Some("1")), ("b", Some("1"))]),
    );
    append(&log, numbered_batch(stamp(7, 0, 2), false, &[("a", Some("2"))]));
    put(&log, "a", "3");
    put(&log, "b", "3");
    log.roll(NOW).unwrap();
    compact(&log);
    assert_eq!(offsets(&log), [3, 4]);
    let left: Vec<_> = batches(&log, ReadUpTo::HighWatermark)
        .iter()
        .map(|bytes| *Batch::parse(bytes).unwrap().header())
        .collect();
    assert_eq!(
        (left[0].base_offset, left[0].record_count, left[0].base_sequence),
        (2, 0, 2)
    );
    // Without the snapshots, the state comes from the batches alone.
    let after = disk.kill();
    for entry in after.list(Path::new(DIR)).unwrap() {
        if let crate::DirEntry::File { name, .. } = entry
            && name.ends_with("snapshot")
        {
            after.remove(&Path::new(DIR).join(name)).unwrap();
        }
    }
    let (log, _) = open(&after, compacting());
    let again = log
        .append(
            numbered_batch(stamp(7, 0, 2), false, &[("a", Some("2"))]),
            client(),
        )
        .unwrap();
    assert!(again.duplicate);
    assert_eq!(again.base_offset, Offset(2));
    let gap = log.append(
        numbered_batch(stamp(7, 0, 9), false, &[("a", Some("9"))]),
        client(),
    );
    assert!(matches!(
        gap,
        Err(AppendError::Producer(ProducerError::OutOfOrder { .. }))
    ));
    append(&log, numbered_batch(stamp(7, 0, 3), false, &[("a", Some("4"))]));

    // A newer batch of the producer, and the empty one is not needed any more.
    log.roll(NOW).unwrap();
    compact(&log);
    let left = batches(&log, ReadUpTo::HighWatermark);
    assert!(
        left.iter()
            .all(|bytes| Batch::parse(bytes).unwrap().header().record_count > 0)
    );
}

#[test]
fn aborted_records_go_at_once_and_their_marker_after_its_time() {
    let (disk, log) = new_log(compacting());
    put(&log, "a", "kept");
    append(
        &log,
        numbered_batch(stamp(7, 0, 0), true, &[("a", Some("aborted"))]),
    );
    mark(&log, 7, 0, false);
    // The producer goes on: neither its aborted batch nor its marker is the last it wrote.
    append(
        &log,
        numbered_batch(stamp(7, 0, 1), true, &[("b", Some("committed"))]),
    );
    mark(&log, 7, 0, true);
    log.roll(NOW).unwrap();
    assert_eq!(aborted(&log), [(1, 2)]);
    compact(&log);
    assert_eq!(offsets(&log), [0, 3]);
    assert_eq!(markers(&log), [2, 4]);
    assert_eq!(
        aborted(&log),
        [(1, 2)],
        "its marker is there, so readers must know of it"
    );
    assert_eq!(disk.content(&file(0, "txnindex")).unwrap().len(), 34);

    next(&log);
    compact_at(&log, NOW.0 + 999);
    assert_eq!(markers(&log), [2, 4]);
    next(&log);
    compact_at(&log, NOW.0 + 1000);
    assert_eq!(markers(&log), [4], "the commit's records are there, so it is");
    assert_eq!(aborted(&log), []);
    assert_eq!(disk.content(&file(0, "txnindex")).unwrap().len(), 0);
    log.close().unwrap();
    let (log, _) = open(&disk.kill(), compacting());
    assert_eq!((markers(&log), aborted(&log)), (vec![4], vec![]));
}

#[test]
fn an_aborted_record_does_not_take_the_one_before_it_along() {
    let (_, log) = new_log(compacting());
    put(&log, "a", "1");
    append(&log, numbered_batch(stamp(7, 0, 0), true, &[("a", None)]));
    mark(&log, 7, 0, false);
    log.roll(NOW).unwrap();
    compact(&log);
    assert_eq!(table(&log).get("a").map(String::as_str), Some("1"));
}

#[test]
fn an_open_transaction_holds_compaction_back() {
    let (_, log) = new_log(compacting());
    put(&log, "a", "1");
    log.roll(NOW).unwrap();
    append(&log, numbered_batch(stamp(7, 0, 0), true, &[("a", Some("2"))]));
    log.roll(NOW).unwrap();
    put(&log, "a", "3");
    log.roll(NOW).unwrap();
    assert_eq!(compact(&log).to, Offset(1));
    mark(&log, 7, 0, true);
    log.roll(NOW).unwrap();
    assert_eq!(compact(&log).to, Offset(4));
    assert_eq!(table(&log).get("a").map(String::as_str), Some("3"));
}

#[test]
fn a_producer_known_by_its_marker_alone_stays_known() {
    let (_, log) = new_log(compacting());
    append(&log, numbered_batch(stamp(7, 0, 0), true, &[("a", Some("1"))]));
    mark(&log, 7, 1, false);
    put(&log, "b", "1");
    log.roll(NOW).unwrap();
    for round in 0..3 {
        next(&log);
        compact_at(&log, NOW.0 + 2000 * round);
    }
    assert_eq!(markers(&log), [1]);
}
