//! What compaction leaves, and what a crash leaves of a compaction.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemill_protocol::batch::Record;

use super::*;
use crate::{CompactError, Compacted, CompactionLimits};

mod beside;
mod crashes;
mod model;
mod producers;

/// A compacted log of small segments, whose tombstones go at the second look.
fn compacting() -> LogConfig {
    LogConfig {
        cleanup_policy: CleanupPolicy::Compact,
        segment_bytes: 600,
        delete_retention_ms: 1000,
        ..small()
    }
}

const LIMITS: CompactionLimits = CompactionLimits {
    offset_map_bytes: 1 << 20,
};

fn compact_at(log: &Log, now: i64) -> Compacted {
    log.compact(Timestamp(now), &LIMITS, &mut |_| true).unwrap()
}

fn compact(log: &Log) -> Compacted {
    compact_at(log, NOW.0)
}

/// A key and its value; `None` is a tombstone.
type Pair<'a> = (&'a str, Option<&'a str>);

fn pairs(codec: Compression, pairs: &[Pair<'_>]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for ((key, value), time) in pairs.iter().zip(1000..) {
        builder.push(time, Some(key.as_bytes()), value.map(str::as_bytes), []);
    }
    builder.build()
}

fn put(log: &Log, key: &str, value: &str) {
    append(log, pairs(Compression::None, &[(key, Some(value))]));
}

fn delete(log: &Log, key: &str) {
    append(log, pairs(Compression::None, &[(key, None)]));
}

/// One record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    offset: i64,
    timestamp: i64,
    key: String,
    value: Option<String>,
}

impl From<&Record<'_>> for Seen {
    fn from(record: &Record<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Seen {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(text).unwrap_or_default(),
            value: record.value.map(text),
        }
    }
}

/// Every whole batch from the start on, as a reader gets them that follows `next_offset`.
fn batches(log: &Log, up_to: ReadUpTo) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut from = log.log_start_offset();
    loop {
        let fetched = log.read(from, up_to, 500, FirstBatch::Always).unwrap();
        if fetched.is_empty() {
            return found;
        }
        assert!(fetched.next_offset > from, "a reader gets on");
        from = fetched.next_offset;
        let bytes = Bytes::from(fetched.into_bytes().unwrap().concat());
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            found.push(Bytes::copy_from_slice(batch.bytes()));
        }
    }
}

/// All records, markers left out.
fn seen(log: &Log) -> Vec<Seen> {
    let mut all = Vec::new();
    for bytes in batches(log, ReadUpTo::HighWatermark) {
        let batch = Batch::parse(&bytes).unwrap();
        if batch.header().attributes.is_control() {
            continue;
        }
        let payload = batch.payload(1 << 20).unwrap();
        all.extend(batch.records(&payload).map(|record| Seen::from(&record.unwrap())));
    }
    let offsets: Vec<_> = all.iter().map(|one| one.offset).collect();
    assert!(
        offsets.is_sorted_by(|one, next| one < next),
        "offsets go up: {offsets:?}"
    );
    all
}

/// What a reader from the start ends up with.
fn table(log: &Log) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for record in seen(log) {
        match record.value {
            Some(value) => table.insert(record.key, value),
            None => table.remove(&record.key),
        };
    }
    table
}

fn offsets(log: &Log) -> Vec<i64> {
    seen(log).iter().map(|one| one.offset).collect()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    for codec in [
        Compression::None,
        Compression::Lz4,
        Compression::Zstd,
        Compression::Gzip,
        Compression::Snappy,
    ] {
        let (_, log) = new_log(compacting());
        for round in 0..10 {
            let values: Vec<String> = (0..4).map(|key| format!("{round}-{key}")).collect();
            let keys = ["a", "b", "c", "d"];
            let batch: Vec<Pair<'_>> = keys
                .iter()
                .zip(&values)
                .map(|(k, v)| (*k, Some(v.as_str())))
                .collect();
            append(&log, pairs(codec, &batch));
        }
        log.roll(NOW).unwrap();
        let before = table(&log);
        let bytes = log.size_bytes();
        let done = compact(&log);
        assert_eq!((done.from, done.to), (Offset(0), Offset(40)));
        assert!(log.size_bytes() < bytes);
        assert_eq!(offsets(&log), [36, 37, 38, 39]);
        assert_eq!(seen(&log)[0].timestamp, 1000);
        assert_eq!(table(&log), before);
        assert_eq!(
            (log.log_start_offset(), log.log_end_offset()),
            (Offset(0), Offset(40))
        );
        // From an offset that is gone, readers get what comes after it.
        assert_eq!(read(&log, 5, 10_000).unwrap()[0].0, 36);
    }
}

#[test]
fn the_active_segment_and_what_is_not_committed_stay() {
    let (_, log) = new_log(compacting());
    put(&log, "a", "1");
    put(&log, "a", "2");
    assert_eq!(compact(&log).to, Offset(0), "there is only the active segment");
    log.roll(NOW).unwrap();
    log.append(pairs(Compression::None, &[("a", Some("3"))]), client())
        .unwrap();
    log.roll(NOW).unwrap();
    compact(&log);
    log.advance_high_watermark(Offset(3));
    assert_eq!(offsets(&log), [1, 2]);
}

#[test]
fn a_tombstone_goes_once_its_time_is_over_and_not_before() {
    let (_, log) = new_log(compacting());
    put(&log, "a", "1");
    put(&log, "b", "1");
    delete(&log, "a");
    log.roll(NOW).unwrap();
    compact(&log);
    assert_eq!(offsets(&log), [1, 2]);
    let batch = batches(&log, ReadUpTo::HighWatermark).pop().unwrap();
    let header = *Batch::parse(&batch).unwrap().header();
    assert!(header.attributes.has_delete_horizon());
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (NOW.0 + 1000, 1000)
    );
    assert_eq!(seen(&log)[1].timestamp, 1000, "the record's time is what it was");
    for (now, left) in [(999, vec![1, 2, 3]), (1000, vec![1, 4])] {
        put(&log, "c", "1");
        log.roll(NOW).unwrap();
        compact_at(&log, NOW.0 + now);
        assert_eq!(offsets(&log), left);
    }
}

#[test]
fn compaction_is_due_by_the_share_of_what_is_new_or_by_its_age() {
    let config = LogConfig {
        min_cleanable_dirty_ratio: 0.6,
        max_compaction_lag_ms: 500_000,
        ..compacting()
    };
    let (_, log) = new_log(config.clone());
    let due = |now: i64| log.compaction_due(Timestamp(now)).unwrap().is_some();
    (0..8).for_each(|n| put(&log, &n.to_string(), "1"));
    assert!(!due(2000), "nothing is sealed");
    log.roll(NOW).unwrap();
    assert!(due(2000));
    compact(&log);
    assert!(!due(2000), "nothing is new");
    (0..8).for_each(|n| put(&log, &n.to_string(), "2"));
    log.roll(NOW).unwrap();
    assert!(!due(2000), "half is new");
    assert!(due(501_001), "and has waited long enough");
    log.reconfigure(LogConfig {
        min_cleanable_dirty_ratio: 0.4,
        ..config.clone()
    });
    assert!(due(2000));
    log.reconfigure(LogConfig {
        min_compaction_lag_ms: 10_000,
        ..config.clone()
    });
    assert!(!due(2000), "the records are too young");
    assert_eq!(compact_at(&log, 2000).to, Offset(8));
    log.reconfigure(LogConfig {
        cleanup_policy: CleanupPolicy::Delete,
        ..config
    });
    assert!(!due(501_001));
}

#[test]
fn more_keys_than_the_map_holds_take_several_passes() {
    let (_, log) = new_log(compacting());
    for round in 0..2 {
        for key in 0..60 {
            put(&log, &format!("key-{key}"), &round.to_string());
        }
    }
    log.roll(NOW).unwrap();
    let before = table(&log);
    let little = CompactionLimits { offset_map_bytes: 0 };
    let mut passes = 0;
    while log.compacted_to() < Offset(120) {
        let done = log.compact(NOW, &little, &mut |_| true).unwrap();
        assert!(done.to > done.from, "every pass gets on");
        assert_eq!(table(&log), before);
        passes += 1;
    }
    assert!(passes >= 5, "{passes} passes");
    assert_eq!(offsets(&log), (60..120).collect::<Vec<_>>());
}

#[test]
fn a_batch_larger_than_the_map_is_compacted_bit_by_bit() {
    let (_, log) = new_log(LogConfig {
        segment_bytes: 10_000,
        ..compacting()
    });
    let keys: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for _ in 0..2 {
        let batch: Vec<Pair<'_>> = keys.iter().map(|key| (key.as_str(), Some("v"))).collect();
        append(&log, pairs(Compression::Lz4, &batch));
    }
    log.roll(NOW).unwrap();
    let little = CompactionLimits { offset_map_bytes: 0 };
    while log.compacted_to() < Offset(100) {
        log.compact(NOW, &little, &mut |_| true).unwrap();
    }
    assert_eq!(offsets(&log), (50..100).collect::<Vec<_>>());
}

#[test]
fn segments_that_became_small_become_one() {
    let (_, log) = new_log(compacting());
    for n in 0..200 {
        put(&log, &(n % 3).to_string(), "value");
    }
    let before = log.segment_count();
    assert!(before > 20);
    compact(&log);
    (0..8).for_each(|n| put(&log, &(n % 3).to_string(), "value"));
    compact(&log);
    assert!(
        log.segment_count() < before / 3,
        "{} segments",
        log.segment_count()
    );
    assert_eq!(table(&log).len(), 3);
}

#[test]
fn what_does_not_change_is_not_written() {
    let (disk, log) = new_log(compacting());
    (0..3).for_each(|n| put(&log, &n.to_string(), "1"));
    log.roll(NOW).unwrap();
    let before = disk.content(&file(0, "log")).unwrap();
    let done = compact(&log);
    assert_eq!((done.to, done.bytes_before), (Offset(3), done.bytes_after));
    assert_eq!(disk.content(&file(0, "log")).unwrap(), before);
    assert!(disk.content(&file(0, "log.cleaned")).is_none());
}

#[test]
fn a_reader_that_began_before_reads_on() {
    let (_, log) = new_log(compacting());
    (0..30).for_each(|n| put(&log, "k", &n.to_string()));
    let segments = log.segments();
    let fetched = log
        .read(Offset(0), ReadUpTo::LogEnd, 300, FirstBatch::Always)
        .unwrap();
    compact(&log);
    let old = Batches::new(&fetched.into_bytes().unwrap().concat())
        .map(|batch| batch.unwrap().header().base_offset)
        .collect::<Vec<_>>();
    assert_eq!(old[0], 0, "what was fetched before is still there");
    let first = segments.first().unwrap();
    let batch = first.find(Offset(1)).unwrap().unwrap();
    assert_eq!(
        batch.header.base_offset,
        Offset(1),
        "by the old index in the old file"
    );
    assert_eq!(table(&log).get("k").map(String::as_str), Some("29"));
}

#[test]
fn a_batch_that_went_bad_is_not_compacted_and_nothing_changes() {
    // A record, which a checksum covers, and a base offset, which none does.
    for at in [65, 70] {
        let (disk, log) = new_log(compacting());
        (0..12).for_each(|n| put(&log, "k", &n.to_string()));
        disk.corrupt(&file(0, "log"), |bytes| bytes[at] ^= 1);
        let failed = log.compact(NOW, &LIMITS, &mut |_| true).unwrap_err();
        assert!(
            matches!(failed, CompactError::Batch { .. } | CompactError::Order { .. }),
            "{failed:?}"
        );
        assert!(disk.content(&file(0, "log.cleaned")).is_none());
        assert_eq!(log.compacted_to(), Offset(0));
        assert_eq!(log.compaction_due(NOW).unwrap(), None, "it is not tried again");
        put(&log, "k", "goes on");
    }
}

#[test]
fn a_compaction_can_be_stopped_and_leaves_nothing_behind() {
    let (disk, log) = new_log(compacting());
    (0..40).for_each(|n| put(&log, "k", &n.to_string()));
    let mut left = 50;
    let stopped = log.compact(NOW, &LIMITS, &mut |_| {
        left -= 1;
        left > 0
    });
    assert!(matches!(stopped, Err(CompactError::Stopped)));
    assert!(
        !disk
            .list(Path::new(DIR))
            .unwrap()
            .iter()
            .any(|entry| format!("{entry:?}").contains("cleaned"))
    );
    compact(&log);
    assert_eq!(table(&log).get("k").map(String::as_str), Some("39"));
}

#[test]
fn retention_goes_on_over_what_compaction_emptied() {
    let config = LogConfig {
        cleanup_policy: CleanupPolicy::CompactAndDelete,
        retention_ms: Some(10_000_000),
        ..compacting()
    };
    let (_, log) = new_log(config);
    (0..40).for_each(|n| put(&log, "k", &n.to_string()));
    compact(&log);
    log.enforce_retention(Timestamp(NOW.0 + 20_000_000)).unwrap();
    assert_eq!(log.log_start_offset(), Offset(40));
    assert_eq!(log.size_bytes(), 0);
}

#[test]
fn a_restart_finds_the_compacted_log() {
    let (disk, log) = new_log(compacting());
    (0..60).for_each(|n| put(&log, &(n % 7).to_string(), &n.to_string()));
    compact(&log);
    let (before, size) = (seen(&log), log.size_bytes());
    let by_time = log.offset_for_timestamp(Timestamp(1000)).unwrap();
    log.close().unwrap();
    for (log, report) in [
        open_clean(&disk.kill(), compacting()),
        open(&disk.kill(), compacting()),
    ] {
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((seen(&log), log.size_bytes()), (before.clone(), size));
        assert_eq!(log.offset_for_timestamp(Timestamp(1000)).unwrap(), by_time);
    }
}
