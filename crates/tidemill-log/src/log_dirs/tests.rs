use std::io::IoSlice;

use bytes::Bytes;
use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;

use super::*;
use crate::{Append, FirstBatch, LeaderEpoch, MemoryDisk, Origin, ReadUpTo};

mod relocations;

const NOW: Timestamp = Timestamp(1000);

fn options(dirs: &[&str]) -> LogDirsOptions {
    LogDirsOptions {
        dirs: dirs.iter().map(PathBuf::from).collect(),
        node_id: 1,
        new_cluster_id: "cluster-a".into(),
        tail_cache_bytes: 1 << 20,
        recovery_threads_per_dir: 2,
    }
}

fn open(disk: &MemoryDisk, options: LogDirsOptions) -> Result<(LogDirs, Vec<Recovered>), OpenError> {
    LogDirs::open(Arc::new(disk.clone()), options, &|_| LogConfig::default(), NOW)
}

fn two_dirs(disk: &MemoryDisk) -> (LogDirs, Vec<Recovered>) {
    open(disk, options(&["/a", "/b"])).unwrap()
}

fn create(dirs: &LogDirs, topic: &str, partition: i32) -> Arc<Log> {
    let partition = TopicPartition::new(topic, partition);
    dirs.create(partition, Uuid::from_u128(7), LogConfig::default(), NOW)
        .unwrap()
}

fn append(log: &Log, value: &str) {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(1, None, Some(value.as_bytes()), []);
    let append = Append {
        leader_epoch: LeaderEpoch(0),
        now: NOW,
        origin: Origin::Client,
    };
    let appended = log.append(builder.build(), append).unwrap();
    log.advance_high_watermark(appended.last_offset.plus(1));
}

fn end(dirs: &LogDirs, topic: &str, partition: i32) -> Option<i64> {
    dirs.log(&TopicPartition::new(topic, partition))
        .map(|log| log.log_end_offset().0)
}

#[test]
fn new_partitions_go_to_the_directory_with_the_fewest() {
    let disk = MemoryDisk::new();
    let (dirs, _) = two_dirs(&disk);
    let places: Vec<String> = (0..4)
        .map(|p| {
            create(&dirs, "t", p)
                .dir()
                .parent()
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    assert_eq!(places, ["/a", "/b", "/a", "/b"]);
    dirs.delete(&[TopicPartition::new("t", 1), TopicPartition::new("t", 3)])
        .unwrap();
    for p in [5, 6] {
        assert_eq!(create(&dirs, "t", p).dir().parent(), Some(Path::new("/b")));
    }
    let again = dirs.create(
        TopicPartition::new("t", 0),
        Uuid::nil(),
        LogConfig::default(),
        NOW,
    );
    assert!(matches!(again, Err(OpenError::Exists(_))));
}

#[test]
fn partitions_come_back_after_a_clean_stop_without_being_checked() {
    let disk = MemoryDisk::new();
    let (dirs, _) = two_dirs(&disk);
    for p in 0..20 {
        let log = create(&dirs, "t", p);
        (0..p).for_each(|n| append(&log, &n.to_string()));
    }
    dirs.log(&TopicPartition::new("t", 9))
        .unwrap()
        .delete_before(Offset(4))
        .unwrap();
    dirs.close().unwrap();
    drop(dirs);
    assert!(disk.content(Path::new("/a/.kafka_cleanshutdown")).is_some());

    let (dirs, reports) = two_dirs(&disk);
    assert_eq!(reports.len(), 20);
    assert!(
        reports
            .iter()
            .all(|(_, report)| *report == RecoveryReport::default())
    );
    for p in 0..20 {
        assert_eq!(end(&dirs, "t", p), Some(i64::from(p)));
    }
    let ninth = dirs.log(&TopicPartition::new("t", 9)).unwrap();
    assert_eq!(ninth.log_start_offset(), Offset(4));
    assert_eq!(ninth.topic_id(), Some(Uuid::from_u128(7)));
    assert_eq!(
        disk.content(Path::new("/a/.kafka_cleanshutdown")),
        None,
        "from now on a crash is a crash"
    );
    let cut = disk.crash();
    assert_eq!(
        cut.content(Path::new("/a/.kafka_cleanshutdown")),
        None,
        "also a power cut"
    );
    drop((dirs, ninth));
    let (_, reports) = two_dirs(&disk);
    assert!(reports.iter().all(|(_, report)| report.checked_segments == 1));
}

#[test]
fn a_crash_loses_nothing_that_was_written_and_checks_from_the_recovery_point() {
    let disk = MemoryDisk::new();
    let (dirs, _) = two_dirs(&disk);
    let log = create(&dirs, "t", 0);
    for n in 0..3 {
        append(&log, &n.to_string());
        log.roll(NOW).unwrap();
    }
    log.flush().unwrap();
    dirs.checkpoint().unwrap();
    append(&log, "last");
    assert_eq!(
        disk.content(Path::new("/a/recovery-point-offset-checkpoint"))
            .unwrap(),
        b"0\n1\nt 0 3\n"
    );
    let (dirs, reports) = two_dirs(&disk.kill());
    assert_eq!(
        reports.first().map(|(_, report)| report.checked_segments),
        Some(1)
    );
    let log = dirs.log(&TopicPartition::new("t", 0)).unwrap();
    let fetched = log
        .read(Offset(3), ReadUpTo::HighWatermark, 1000, FirstBatch::Always)
        .unwrap();
    assert_eq!(fetched.next_offset, Offset(4));
}

#[test]
fn a_deleted_partition_leaves_nothing_for_its_successor() {
    let disk = MemoryDisk::new();
    let (dirs, _) = open(&disk, options(&["/a"])).unwrap();
    let log = create(&dirs, "t", 0);
    (0..5).for_each(|n| append(&log, &n.to_string()));
    log.delete_before(Offset(3)).unwrap();
    log.flush().unwrap();
    dirs.checkpoint().unwrap();
    dirs.delete(&[TopicPartition::new("t", 0), TopicPartition::new("unknown", 0)])
        .unwrap();
    assert_eq!(end(&dirs, "t", 0), None);
    assert!(
        log.read(Offset(3), ReadUpTo::LogEnd, 10, FirstBatch::Always)
            .is_err()
    );
    dirs.tick(NOW);
    let left = disk.list(Path::new("/a")).unwrap();
    assert!(
        !left.iter().any(|entry| matches!(entry, DirEntry::Dir { .. })),
        "{left:?}"
    );
    append(&create(&dirs, "t", 0), "new");
    let (dirs, _) = open(&disk.kill(), options(&["/a"])).unwrap();
    let log = dirs.log(&TopicPartition::new("t", 0)).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(0), Offset(1))
    );
}

#[test]
fn what_was_being_deleted_in_a_crash_is_gone_after_it() {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/a/t-0.00ff-delete")).unwrap();
    disk.create_dir(Path::new("/a/not a partition")).unwrap();
    let file = disk
        .create(Path::new("/a/t-0.00ff-delete/00000000000000000000.log"))
        .unwrap();
    file.write_at(0, &mut [IoSlice::new(b"x")]).unwrap();
    let (dirs, reports) = open(&disk, options(&["/a"])).unwrap();
    assert!(dirs.logs().is_empty() && reports.is_empty());
    assert!(disk.list(Path::new("/a/t-0.00ff-delete")).is_err());
    assert!(disk.list(Path::new("/a/not a partition")).is_ok());
}

#[test]
fn directories_of_others_are_refused() {
    let disk = MemoryDisk::new();
    let (dirs, _) = two_dirs(&disk);
    assert!(matches!(open(&disk, options(&["/b"])), Err(OpenError::InUse(dir)) if dir == Path::new("/b")));
    drop(dirs);
    let text = disk.content(Path::new("/a/meta.properties")).unwrap();
    assert_eq!(text, b"cluster.id=cluster-a\nnode.id=1\nversion=1\n");
    let (dirs, _) = open(
        &disk,
        LogDirsOptions {
            new_cluster_id: "b".into(),
            ..options(&["/a", "/c"])
        },
    )
    .unwrap();
    assert_eq!(
        dirs.cluster_id(),
        "cluster-a",
        "the directories' own id stands, also for a new one"
    );
    drop(dirs);
    let other = open(
        &disk,
        LogDirsOptions {
            node_id: 2,
            ..options(&["/a"])
        },
    );
    assert!(matches!(
        other,
        Err(OpenError::ForeignDirectory { key: "node.id", .. })
    ));
    disk.corrupt(Path::new("/b/meta.properties"), |bytes| {
        *bytes = b"version=0\nbroker.id=1\ncluster.id=x\n".into()
    });
    let mixed = open(&disk, options(&["/a", "/b"]));
    assert!(matches!(
        mixed,
        Err(OpenError::ForeignDirectory {
            key: "cluster.id",
            ..
        })
    ));
    assert!(matches!(open(&disk, options(&[])), Err(OpenError::NoDirectory)));
}

#[test]
fn a_partition_in_two_directories_is_refused() {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/a/t-0")).unwrap();
    disk.create_dir(Path::new("/b/t-0")).unwrap();
    assert!(matches!(
        open(&disk, options(&["/a", "/b"])),
        Err(OpenError::Twice { .. })
    ));
}

#[test]
fn a_log_that_cannot_be_closed_leaves_its_directory_unclean() {
    let disk = MemoryDisk::new();
    let (dirs, _) = two_dirs(&disk);
    append(&create(&dirs, "t", 0), "in a");
    append(&create(&dirs, "t", 1), "in b");
    disk.fail_sync(0);
    let first = dirs.log(&TopicPartition::new("t", 0)).unwrap();
    first.flush().unwrap_err();
    dirs.close().unwrap_err();
    assert_eq!(disk.content(Path::new("/a/.kafka_cleanshutdown")), None);
    assert!(disk.content(Path::new("/b/.kafka_cleanshutdown")).is_some());
}

#[test]
fn the_same_works_on_the_file_system() {
    let root = tempfile::tempdir().unwrap();
    let open = || {
        let dirs = LogDirsOptions {
            dirs: vec![root.path().join("x")],
            ..options(&[])
        };
        LogDirs::open(Arc::new(crate::FileDisk), dirs, &|_| LogConfig::default(), NOW).unwrap()
    };
    let (dirs, _) = open();
    let large: Bytes = "x".repeat(100_000).into();
    for p in 0..3 {
        let log = create(&dirs, "t", p);
        append(&log, "small");
        append(&log, std::str::from_utf8(&large).unwrap());
    }
    dirs.close().unwrap();
    drop(dirs);
    let (dirs, reports) = open();
    assert!(reports.iter().all(|(_, report)| report.checked_segments == 0));
    for p in 0..3 {
        let log = dirs.log(&TopicPartition::new("t", p)).unwrap();
        let fetched = log
            .read(Offset(0), ReadUpTo::HighWatermark, 1 << 20, FirstBatch::Always)
            .unwrap();
        assert_eq!(fetched.next_offset, Offset(2));
        assert!(fetched.len() > 100_000);
        assert_eq!(
            fetched.clone().into_bytes().unwrap().concat().len(),
            fetched.len()
        );
        append(&log, "more");
    }
    drop(dirs);
    let (dirs, reports) = open();
    assert!(
        reports
            .iter()
            .all(|(_, report)| report.is_clean() && report.checked_segments == 1)
    );
    assert_eq!(end(&dirs, "t", 2), Some(3));
}
