//! A log on a disk in memory: what it answers, and what is left of it after faults.

use std::path::PathBuf;

use bytes::Bytes;
use tidemill_protocol::batch::{Batch, BatchBuilder, BatchError, Batches, ProducerStamp};
use tidemill_protocol::compression::Compression;

use super::*;
use crate::{
    Append, AppendError, CleanupPolicy, InvalidBatch, MemoryDisk, Origin, ProducerError, TimestampType,
};

mod compaction;
mod concurrent;
mod crash;
mod damage;
mod deleting;
mod faults;
mod hostile;
mod model;
mod producers;
mod reading;
mod times;

const DIR: &str = "/logs/t-0";
const NOW: Timestamp = Timestamp(1_000_000);

/// A small log: index entries every 200 bytes, so that short tests have several.
fn small() -> LogConfig {
    LogConfig {
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

fn no_tail(disk: &MemoryDisk) -> (Arc<dyn Disk>, OpenOptions) {
    let options = OpenOptions {
        tail_budget: Arc::new(TailBudget::new(0)),
        ..OpenOptions::new(DIR, TopicPartition::new("t", 0))
    };
    (Arc::new(disk.clone()), options)
}

/// Opens without a tail cache, so that reads go to the files.
fn open(disk: &MemoryDisk, config: LogConfig) -> (Log, RecoveryReport) {
    let (disk, options) = no_tail(disk);
    Log::open(disk, options, config, NOW).unwrap()
}

fn open_clean(disk: &MemoryDisk, config: LogConfig) -> (Log, RecoveryReport) {
    let (disk, options) = no_tail(disk);
    Log::open(
        disk,
        OpenOptions {
            shutdown: Shutdown::Clean,
            ..options
        },
        config,
        NOW,
    )
    .unwrap()
}

fn new_log(config: LogConfig) -> (MemoryDisk, Log) {
    let disk = MemoryDisk::new();
    let (log, report) = open(&disk, config);
    assert!(report.is_clean());
    (disk, log)
}

fn client() -> Append {
    Append {
        leader_epoch: LeaderEpoch(0),
        now: NOW,
        origin: Origin::Client,
    }
}

/// A batch of these values, a millisecond apart from `time` on.
fn batch_of(values: &[&str], time: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for (value, time) in values.iter().zip(time..) {
        builder.push(time, Some(b"k"), Some(value.as_bytes()), []);
    }
    builder.build()
}

/// Appends and makes it visible.
fn append(log: &Log, batch: Bytes) -> Appended {
    let appended = log.append(batch, client()).unwrap();
    log.advance_high_watermark(appended.last_offset.plus(1));
    appended
}

/// What one read gives: the records' offsets and values, from the start of its first batch.
fn read(log: &Log, from: i64, bytes_max: usize) -> Result<Vec<(i64, String)>, ReadError> {
    let fetched = log.read(
        Offset(from),
        ReadUpTo::HighWatermark,
        bytes_max,
        FirstBatch::Always,
    )?;
    let next = fetched.next_offset;
    let bytes = fetched.into_bytes()?.concat();
    let mut records = Vec::new();
    for batch in Batches::new(&bytes) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        for record in batch.records(&payload) {
            let record = record.unwrap();
            let value = record.value.map(|v| String::from_utf8(v.to_vec()).unwrap());
            records.push((record.offset, value.unwrap_or_default()));
        }
        assert!(Offset(batch.header().next_offset()) <= next);
    }
    Ok(records)
}

/// All records, read batch by batch.
fn contents(log: &Log) -> Vec<(i64, String)> {
    let mut records: Vec<(i64, String)> = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.high_watermark() {
        let fetched = log
            .read(from, ReadUpTo::HighWatermark, 300, FirstBatch::Always)
            .unwrap();
        assert!(fetched.next_offset > from, "a reader gets on");
        records.extend(read(log, from.0, 300).unwrap());
        from = fetched.next_offset;
    }
    records.retain(|(offset, _)| *offset >= log.log_start_offset().0);
    records
}

fn numbered(range: std::ops::Range<i64>) -> Vec<(i64, String)> {
    range.map(|n| (n, format!("value-{n}"))).collect()
}

/// Appends records `value-<offset>` in batches of three until the log ends at `end`.
fn fill(log: &Log, end: i64) {
    while log.log_end_offset().0 < end {
        let base = log.log_end_offset().0;
        let values: Vec<String> = (base..end.min(base + 3)).map(|n| format!("value-{n}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        append(log, batch_of(&values, 1000 + base));
    }
}

fn file(base: i64, suffix: &str) -> PathBuf {
    crate::segment::file_path(Path::new(DIR), Offset(base), suffix)
}
