//! A log that moves to another log directory while it is in use, and what is left of it after a crash on the way.

use tidemill_protocol::batch::{Batch, Batches, ProducerStamp};

use super::*;
use crate::{AppendError, CleanupPolicy, CompactionLimits, ReadError, RelocateError};
use RelocationPace::{GoOn, Stop, Wait};

const T0: fn() -> TopicPartition = || TopicPartition::new("t", 0);

/// Segments of a few batches each, so that a move has several to copy.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

fn compacting() -> LogConfig {
    LogConfig {
        cleanup_policy: CleanupPolicy::Compact,
        min_cleanable_dirty_ratio: 0.0,
        ..config()
    }
}

fn open_with(disk: &MemoryDisk, config: &LogConfig) -> LogDirs {
    let without_tails = LogDirsOptions {
        tail_cache_bytes: 0,
        ..options(&["/a", "/b"])
    };
    let (dirs, reports) =
        LogDirs::open(Arc::new(disk.clone()), without_tails, &|_| config.clone(), NOW).unwrap();
    assert!(reports.iter().all(|(_, report)| report.is_clean()), "{reports:?}");
    dirs
}

fn put(log: &Log, key: &str, value: &str) {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(1000, Some(key.as_bytes()), Some(value.as_bytes()), []);
    send(log, builder.build(), Origin::Client).unwrap();
}

fn send(log: &Log, batch: Bytes, origin: Origin) -> Result<crate::Appended, AppendError> {
    let append = Append {
        leader_epoch: LeaderEpoch(0),
        now: NOW,
        origin,
    };
    let appended = log.append(batch, append)?;
    log.advance_high_watermark(appended.last_offset.plus(1));
    Ok(appended)
}

/// A batch of producer 9, whose second sending must be told from its first one after a move too.
fn numbered(sequence: i32, transactional: bool) -> Bytes {
    let stamp = ProducerStamp {
        id: 9,
        epoch: 0,
        base_sequence: sequence,
    };
    let builder = BatchBuilder::new(Compression::None).producer(stamp);
    let mut builder = if transactional {
        builder.transactional()
    } else {
        builder
    };
    builder.push(1000, Some(b"p"), Some(sequence.to_string().as_bytes()), []);
    builder.build()
}

fn abort_marker() -> Bytes {
    let stamp = ProducerStamp {
        id: 9,
        epoch: 0,
        base_sequence: -1,
    };
    let mut builder = BatchBuilder::new(Compression::None)
        .producer(stamp)
        .transactional()
        .control();
    builder.push(1000, Some(&[0, 0, 0, 0]), Some(&[0, 0, 0, 0, 0, 3]), []);
    builder.build()
}

/// Partition t-0 in /a with something of everything: old records deleted, a transaction aborted, a producer's numbers.
fn filled(disk: &MemoryDisk) -> (LogDirs, Arc<Log>) {
    let dirs = open_with(disk, &config());
    let log = dirs.create(T0(), Uuid::from_u128(7), config(), NOW).unwrap();
    (0..30).for_each(|n| put(&log, &n.to_string(), &format!("value-{n}")));
    send(&log, numbered(0, true), Origin::Client).unwrap();
    send(&log, abort_marker(), Origin::Coordinator).unwrap();
    send(&log, numbered(1, false), Origin::Client).unwrap();
    log.delete_before(Offset(12)).unwrap();
    dirs.checkpoint().unwrap();
    (dirs, log)
}

/// Everything a reader can learn.
#[derive(Debug, PartialEq)]
struct Told {
    start: Offset,
    end: Offset,
    records: Vec<(i64, String)>,
    aborted: Vec<crate::AbortedTransaction>,
    at_time: Option<Offset>,
}

fn told(log: &Log) -> Told {
    let (mut records, mut aborted) = (Vec::new(), Vec::new());
    let mut from = log.log_start_offset();
    while from < log.log_end_offset() {
        let fetched = log
            .read(from, ReadUpTo::LastStable, 300, FirstBatch::Always)
            .unwrap();
        if fetched.next_offset == from {
            break;
        }
        from = fetched.next_offset;
        for transaction in &fetched.aborted {
            if !aborted.contains(transaction) {
                aborted.push(*transaction);
            }
        }
        let bytes = fetched.into_bytes().unwrap().concat();
        for batch in Batches::new(&bytes) {
            records.extend(texts(&batch.unwrap()));
        }
    }
    let start = log.log_start_offset();
    records.retain(|(offset, _)| *offset >= start.0);
    let at_time = log.offset_for_timestamp(Timestamp(1000)).unwrap();
    Told {
        start,
        end: log.log_end_offset(),
        records,
        aborted,
        at_time: at_time.map(|found| found.offset),
    }
}

fn texts(batch: &Batch<'_>) -> Vec<(i64, String)> {
    batch.check_crc().unwrap();
    let payload = batch.payload(1 << 20).unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    batch
        .records(&payload)
        .map(|record| {
            let record = record.unwrap();
            (record.offset, text(record.value))
        })
        .collect()
}

fn folders(disk: &MemoryDisk) -> Vec<String> {
    let mut names = Vec::new();
    for dir in ["/a", "/b"] {
        for entry in disk.list(Path::new(dir)).unwrap() {
            if let DirEntry::Dir { name } = entry {
                names.push(format!("{dir}/{name}"));
            }
        }
    }
    names.sort();
    names
}

fn move_on(dirs: &LogDirs) -> Option<Result<PathBuf, RelocateError>> {
    dirs.relocate_next(NOW, &mut |_| GoOn).map(|(_, result)| result)
}

#[test]
fn a_log_that_has_moved_is_the_same_elsewhere_and_stays_there() {
    let disk = MemoryDisk::new();
    let (dirs, log) = filled(&disk);
    let before = told(&log);
    assert_eq!((before.start, before.aborted.len()), (Offset(12), 1));
    dirs.relocate(&T0(), Path::new("/b")).unwrap();
    let under_way = dirs.relocations_under_way();
    assert_eq!(
        under_way.first().map(|one| (one.lag, one.copied_bytes)),
        Some((21, 0))
    );
    assert_eq!(move_on(&dirs).unwrap().unwrap(), Path::new("/b/t-0"));
    assert!(move_on(&dirs).is_none() && dirs.relocations_under_way().is_empty());
    assert_eq!((&*log.dir(), told(&log)), (Path::new("/b/t-0"), before));
    dirs.tick(NOW);
    assert_eq!(folders(&disk), ["/b/t-0"]);
    assert_eq!(disk.content(Path::new("/b/t-0/moved")), None);
    assert_eq!(
        create(&dirs, "next", 0).dir().parent(),
        Some(Path::new("/a")),
        "a directory knows how many it has"
    );

    let again = send(&log, numbered(1, false), Origin::Client).unwrap();
    assert!(again.duplicate, "producers are known");
    put(&log, "more", "more");
    let before = told(&log);
    for left in [disk.kill(), disk.crash()] {
        let dirs = open_with(&left, &config());
        let log = dirs.log(&T0()).unwrap();
        assert_eq!(log.topic_id(), Some(Uuid::from_u128(7)));
        let told = told(&log);
        assert!(
            told.records.len() + 1 >= before.records.len(),
            "only the last was not synced"
        );
        assert_eq!((told.start, &told.aborted), (before.start, &before.aborted));
    }
    dirs.close().unwrap();
    drop(dirs);
    assert_eq!(told_of(&open_with(&disk, &config())), before);
}

fn told_of(dirs: &LogDirs) -> Told {
    told(&dirs.log(&T0()).unwrap())
}

#[test]
fn a_log_moves_back_and_forth() {
    let disk = MemoryDisk::new();
    let (dirs, log) = filled(&disk);
    for (round, dir) in ["/b", "/a", "/b", "/a"].into_iter().enumerate() {
        put(&log, "round", &round.to_string());
        let before = told(&log);
        dirs.relocate(&T0(), Path::new(dir)).unwrap();
        assert_eq!(move_on(&dirs).unwrap().unwrap(), Path::new(dir).join("t-0"));
        assert_eq!(told(&log), before);
    }
    dirs.delete(&[T0()]).unwrap();
    dirs.tick(NOW);
    assert_eq!(folders(&disk), [""; 0]);
}

#[test]
fn a_crash_after_any_step_of_a_move_loses_nothing_and_the_move_goes_on() {
    let before = told(&filled(&MemoryDisk::new()).1);
    let mut steps = 0;
    loop {
        let disk = MemoryDisk::new();
        let (dirs, log) = filled(&disk);
        log.flush().unwrap();
        disk.halt_after(steps);
        let asked = dirs.relocate(&T0(), Path::new("/b"));
        let moved = move_on(&dirs);
        for (how, left) in [("kill", disk.kill()), ("power cut", disk.crash())] {
            let dirs = open_with(&left, &config());
            let log = dirs.log(&T0()).unwrap();
            assert_eq!(told(&log), before, "{how} after step {steps}");
            let resumed = move_on(&dirs);
            assert!(
                resumed.is_none_or(|moved| moved.is_ok()),
                "{how} after step {steps}"
            );
            assert_eq!(told(&log), before, "{how} after step {steps}");
            let again = send(&log, numbered(1, false), Origin::Client).unwrap();
            assert!(again.duplicate, "{how} after step {steps}");
            put(&log, "more", "after");
            dirs.relocate(&T0(), Path::new("/a")).unwrap();
            assert!(move_on(&dirs).is_none_or(|moved| moved.is_ok()));
            dirs.tick(NOW);
            assert_eq!(folders(&left), ["/a/t-0"], "{how} after step {steps}");
            dirs.close().unwrap();
            drop(dirs);
            let told = told_of(&open_with(&left, &config()));
            assert_eq!(told.records.len(), before.records.len() + 1);
        }
        if !disk.is_halted() {
            asked.unwrap();
            moved.unwrap().unwrap();
            break;
        }
        steps += 1;
    }
    assert!(steps > 60, "a move changes the disk {steps} times");
}

#[test]
fn a_move_that_a_write_or_sync_fails_leaves_the_log_where_it_was_and_in_use() {
    for fail in [MemoryDisk::fail_write, MemoryDisk::fail_sync] {
        let mut failures = 0;
        for nth in 0.. {
            let disk = MemoryDisk::new();
            let (dirs, log) = filled(&disk);
            let before = told(&log);
            dirs.relocate(&T0(), Path::new("/b")).unwrap();
            fail(&disk, nth);
            let result = move_on(&dirs).unwrap();
            assert_eq!(told(&log), before, "fault {nth}");
            if result.is_ok() {
                break;
            }
            failures += 1;
            if log.is_read_only() {
                // The rename could not be made durable: only an opening can tell which place it is.
                assert_eq!(told_of(&open_with(&disk.kill(), &config())), before);
                continue;
            }
            assert_eq!(&*log.dir(), Path::new("/a/t-0"));
            put(&log, "more", "more");
            dirs.tick(NOW);
            assert_eq!(folders(&disk), ["/a/t-0"], "fault {nth}");
            dirs.relocate(&T0(), Path::new("/b")).unwrap();
            move_on(&dirs).unwrap().unwrap();
            assert_eq!(told(&log).records.len(), before.records.len() + 1);
        }
        assert!(failures > 10, "{failures}");
    }
}

#[test]
fn appends_reads_retention_and_deletes_go_on_while_a_log_moves() {
    let disk = MemoryDisk::new();
    let (dirs, log) = filled(&disk);
    dirs.relocate(&T0(), Path::new("/b")).unwrap();
    let mut asked = 0;
    let (_, moved) = dirs
        .relocate_next(NOW, &mut |_| {
            asked += 1;
            if asked <= 3 {
                (0..6).for_each(|n| put(&log, "during", &format!("{asked}-{n}")));
                assert_eq!(told(&log).end, log.log_end_offset());
            }
            if asked == 2 {
                log.delete_before(Offset(20)).unwrap();
                dirs.enforce_retention(NOW);
                dirs.checkpoint().unwrap();
            }
            GoOn
        })
        .unwrap();
    moved.unwrap();
    let before = told(&log);
    assert_eq!(before.start, Offset(20));
    assert_eq!(before.end, Offset(33 + 3 * 6));
    assert_eq!(&*log.dir(), Path::new("/b/t-0"));
    dirs.tick(NOW);
    let files = disk.list(Path::new("/b/t-0")).unwrap();
    let bases: Vec<&str> = files
        .iter()
        .filter_map(|file| match file {
            DirEntry::File { name, .. } => name.strip_suffix(".log"),
            DirEntry::Dir { .. } => None,
        })
        .collect();
    assert_eq!(
        bases.len(),
        log.segment_count(),
        "segments deleted meanwhile are not in the copy"
    );
    drop(dirs);
    assert_eq!(told_of(&open_with(&disk.kill(), &config())), before);
}

#[test]
fn a_compaction_that_ends_while_a_log_moves_is_in_the_copy() {
    let disk = MemoryDisk::new();
    let dirs = open_with(&disk, &compacting());
    let log = dirs.create(T0(), Uuid::from_u128(7), compacting(), NOW).unwrap();
    (0..40).for_each(|n| put(&log, &(n % 5).to_string(), &n.to_string()));
    dirs.relocate(&T0(), Path::new("/b")).unwrap();
    let limits = CompactionLimits {
        offset_map_bytes: 1 << 16,
    };
    let mut compactions = 0;
    let (_, moved) = dirs
        .relocate_next(NOW, &mut |_| {
            if compactions == 0 {
                let (_, done) = dirs.compact_dirtiest(NOW, &limits, &mut |_| true).unwrap();
                assert!(done.unwrap().bytes_after > 0);
                compactions += 1;
            }
            GoOn
        })
        .unwrap();
    moved.unwrap();
    let before = told(&log);
    assert!(before.records.len() < 20 && log.compacted_to() > Offset(0));
    dirs.close().unwrap();
    drop(dirs);
    let dirs = open_with(&disk.kill(), &compacting());
    assert_eq!(told_of(&dirs), before);
    // A log with gaps must be known as one after a crash too.
    drop(dirs);
    let dirs = open_with(&disk.kill(), &compacting());
    assert_eq!(told_of(&dirs), before);
    let log = dirs.log(&T0()).unwrap();
    assert_eq!(&*log.dir(), Path::new("/b/t-0"));
    assert!(log.compacted_to() > Offset(0));
}

#[test]
fn a_move_is_called_off_by_asking_for_the_place_where_the_log_is() {
    let disk = MemoryDisk::new();
    let (dirs, log) = filled(&disk);
    dirs.relocate(&T0(), Path::new("/b")).unwrap();
    assert_eq!(folders(&disk), ["/a/t-0", "/b/t-0.0-future"]);
    dirs.relocate(&T0(), Path::new("/a")).unwrap();
    assert!(dirs.relocations_under_way().is_empty() && move_on(&dirs).is_none());
    dirs.relocate(&T0(), Path::new("/b")).unwrap();
    let during = dirs.relocate_next(NOW, &mut |_| {
        dirs.relocate(&T0(), Path::new("/a")).unwrap();
        Wait
    });
    assert!(matches!(during, Some((_, Err(RelocateError::Stopped)))));
    assert!(dirs.relocations_under_way().is_empty() && move_on(&dirs).is_none());
    dirs.tick(NOW);
    assert_eq!(
        (&*log.dir(), folders(&disk)),
        (Path::new("/a/t-0"), vec!["/a/t-0".to_string()])
    );
}

#[test]
fn a_stop_leaves_a_move_for_the_next_start_and_a_deletion_ends_it() {
    let disk = MemoryDisk::new();
    let (dirs, log) = filled(&disk);
    dirs.relocate(&T0(), Path::new("/b")).unwrap();
    let stopped = dirs.relocate_next(NOW, &mut |_| Stop);
    assert!(matches!(stopped, Some((_, Err(RelocateError::Stopped)))));
    let before = told(&log);
    dirs.close().unwrap();
    drop(dirs);
    let dirs = open_with(&disk, &config());
    assert_eq!(dirs.relocations_under_way().len(), 1);
    let log = dirs.log(&T0()).unwrap();
    assert_eq!((&*log.dir(), told(&log)), (Path::new("/a/t-0"), before));
    let ended = dirs.relocate_next(NOW, &mut |_| {
        dirs.delete(&[T0()]).unwrap();
        GoOn
    });
    assert!(matches!(ended, Some((_, Err(RelocateError::Stopped)))));
    assert!(matches!(
        log.read(Offset(20), ReadUpTo::LogEnd, 10, FirstBatch::Always),
        Err(ReadError::Closed)
    ));
    dirs.tick(NOW);
    assert_eq!(folders(&disk), [""; 0]);
}

#[test]
fn a_place_that_cannot_be_is_refused() {
    let disk = MemoryDisk::new();
    let (dirs, log) = filled(&disk);
    let refused = |partition: i32, dir: &str| {
        let partition = TopicPartition::new("t", partition);
        dirs.relocate(&partition, Path::new(dir)).unwrap_err()
    };
    assert!(matches!(refused(0, "/c"), RelocationRefused::UnknownDirectory(_)));
    assert!(matches!(refused(1, "/b"), RelocationRefused::UnknownPartition(_)));
    dirs.relocate(&T0(), Path::new("/a")).unwrap();
    assert!(move_on(&dirs).is_none(), "it is there already");
    put(&log, "x", "x");
    disk.fail_sync(0);
    log.flush().unwrap_err();
    assert!(matches!(refused(0, "/b"), RelocationRefused::Poisoned(_)));
}

#[test]
fn long_names_fit_what_a_file_system_takes() {
    let disk = MemoryDisk::new();
    let dirs = open_with(&disk, &config());
    let long = TopicPartition::new("x".repeat(249), 0);
    dirs.create(long.clone(), Uuid::from_u128(7), config(), NOW)
        .unwrap();
    dirs.relocate(&long, Path::new("/b")).unwrap();
    assert!(folders(&disk).iter().all(|name| name.len() <= 255 + "/a/".len()));
    move_on(&dirs).unwrap().unwrap();
    dirs.delete(&[long]).unwrap();
    assert!(folders(&disk).iter().all(|name| name.len() <= 255 + "/a/".len()));
}
