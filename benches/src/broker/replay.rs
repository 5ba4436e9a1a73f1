//! Produce requests that were encoded beforehand, and Fetches whose records nobody looks at: what the broker itself
//! can take and give. The broker is held to one core.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{Options, freshen_page_cache};
use crate::peers::Server;
use crate::process::usage;
use crate::table::{Asked, Table};
use crate::wire::{Connection, batch, now_ms, produce_frame};

const WRITTEN: &str = "replay-in";
const READ: &str = "replay-out";
const PARTITIONS: usize = 3;
const RECORD_BYTES: usize = 200;
/// Records of one batch; a request has a batch for each partition.
const BATCH_RECORDS: u64 = 1_250;
/// Requests that wait for their answers.
const IN_FLIGHT: u64 = 4;
const FETCH_BYTES: i32 = 1 << 20;

/// What is written is deleted again at this pace, so that the broker writes to memory that the machine has: on a virtual
/// one, page cache that was never touched, or not lately, costs more to get than everything else a broker does with it.
const RETENTION: [(&str, &str); 3] = [
    ("segment.bytes", "67108864"),
    ("retention.bytes", "67108864"),
    ("file.delete.delay.ms", "0"),
];
const SETTINGS: [&str; 2] = [
    "log.retention.check.interval.ms=100",
    "log.initial.task.delay.ms=100",
];
/// What a round writes to a topic that keeps everything: more would take longer than freed memory stays with the machine.
const KEPT_BYTES: u64 = 500_000_000;
/// Rounds of each; the median counts, after one of writing that warms up.
const ROUNDS: usize = 3;

/// Bytes, and records a second, and CPU seconds a gigabyte.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) gigabytes_per_second: f64,
    pub(super) records_per_second: f64,
    pub(super) cpu_per_gb: f64,
}

/// What is asked of a row in gigabytes and in records a second.
struct Row {
    name: &'static str,
    gigabytes: Asked,
    records: Asked,
    of: fn(&Figures) -> Pace,
}

const ROWS: [Row; 3] = [
    Row {
        name: "in",
        gigabytes: Asked::AtLeast(1.0),
        records: Asked::AtLeast(2.5),
        of: |figures| figures.written,
    },
    Row {
        name: "in, all of it kept",
        gigabytes: Asked::Nothing,
        records: Asked::Nothing,
        of: |figures| figures.kept,
    },
    Row {
        name: "out",
        gigabytes: Asked::Nothing,
        records: Asked::AtLeast(5.5),
        of: |figures| figures.read,
    },
];

/// One server's rounds.
struct Figures {
    written: Pace,
    kept: Pace,
    read: Pace,
}

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let (ours, peers) = options.both_with(&SETTINGS, |server| figures(server, options))?;
    for row in ROWS {
        let our = (row.of)(&ours);
        let peer = |of: fn(Pace) -> f64| peers.as_ref().map_or(f64::NAN, |peers| of((row.of)(peers)));
        let what = row.name;
        table.measured(
            &format!("replay {what}, one core, GB/s"),
            our.gigabytes_per_second,
            peer(|pace| pace.gigabytes_per_second),
            "GB/s",
            row.gigabytes,
        );
        table.measured(
            &format!("replay {what}, one core, 200-byte records/s"),
            our.records_per_second / 1e6,
            peer(|pace| pace.records_per_second / 1e6),
            "M/s",
            row.records,
        );
        table.measured(
            &format!("replay {what}, broker CPU"),
            our.cpu_per_gb,
            peer(|pace| pace.cpu_per_gb),
            "s/GB",
            Asked::Nothing,
        );
    }
    Ok(())
}

fn figures(server: &Server, options: &Options) -> Result<Figures> {
    hold_to_one_core(server)?;
    let bytes = options.replay_gb * 1_000_000_000;
    Connection::open(&server.address)?.create(WRITTEN, i32::try_from(PARTITIONS)?, &RETENTION)?;
    produce(server, WRITTEN, bytes)?;
    let mut kept = 0;
    Ok(Figures {
        written: middle(|| produce(server, WRITTEN, bytes))?,
        kept: middle(|| {
            kept += 1;
            freshen_page_cache(KEPT_BYTES + KEPT_BYTES / 4)?;
            produce(server, &format!("replay-kept-{kept}"), KEPT_BYTES)
        })?,
        read: {
            produce(server, READ, bytes)?;
            middle(|| fetch(server, READ))?
        },
    })
}

/// The round of the middle rate.
fn middle(round: impl FnMut() -> Result<Pace>) -> Result<Pace> {
    let mut rounds: Vec<Pace> = std::iter::repeat_with(round)
        .take(ROUNDS)
        .collect::<Result<_>>()?;
    rounds.sort_by(|one, other| one.records_per_second.total_cmp(&other.records_per_second));
    rounds.get(ROUNDS / 2).copied().context("there were rounds")
}

/// Every thread of the broker on the first core; the clients have the others.
fn hold_to_one_core(server: &Server) -> Result<()> {
    let pid = server.pid.to_string();
    let held = Command::new("taskset")
        .args(["-a", "-c", "-p", "0", &pid])
        .output()?;
    ensure!(
        held.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&held.stderr)
    );
    Ok(())
}

/// Replays a Produce until about `bytes` are written.
pub(super) fn produce(server: &Server, topic: &str, bytes: u64) -> Result<Pace> {
    let mut connection = Connection::open(&server.address)?;
    connection.create(topic, i32::try_from(PARTITIONS)?, &[])?;
    let value = [b'v'; RECORD_BYTES];
    let records = vec![&value[..]; usize::try_from(BATCH_RECORDS)?];
    let frame = produce_frame(topic, &vec![batch(&records, now_ms()); PARTITIONS], 1)?;
    let requests = bytes / frame.len() as u64;
    let (begin, before) = (Instant::now(), usage(server.pid)?.cpu_seconds);
    for sent in 0..requests + IN_FLIGHT {
        if sent < requests {
            connection.send(&frame)?;
        }
        if sent >= IN_FLIGHT {
            connection.produced()?;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let gigabytes = (requests * frame.len() as u64) as f64 / 1e9;
    Ok(Pace {
        gigabytes_per_second: gigabytes / seconds,
        records_per_second: (requests * BATCH_RECORDS * PARTITIONS as u64) as f64 / seconds,
        cpu_per_gb: (usage(server.pid)?.cpu_seconds - before) / gigabytes,
    })
}

/// Fetches a topic from its start to its end.
fn fetch(server: &Server, topic: &str) -> Result<Pace> {
    fetch_from(server, topic, [0; PARTITIONS])
}

/// Fetches a topic from these offsets to its end.
pub(super) fn fetch_from(server: &Server, topic: &str, start: [i64; PARTITIONS]) -> Result<Pace> {
    let mut connection = Connection::open(&server.address)?;
    let mut offsets = start;
    let mut bytes = 0;
    let (begin, before) = (Instant::now(), usage(server.pid)?.cpu_seconds);
    let mut end = begin;
    loop {
        let got = connection.fetch(topic, &mut offsets, FETCH_BYTES)?;
        if got == 0 {
            break;
        }
        bytes += got;
        end = Instant::now();
    }
    let seconds = end.duration_since(begin).as_secs_f64();
    let gigabytes = bytes as f64 / 1e9;
    let records = offsets.iter().sum::<i64>() - start.iter().sum::<i64>();
    Ok(Pace {
        gigabytes_per_second: gigabytes / seconds,
        records_per_second: records as f64 / seconds,
        cpu_per_gb: (usage(server.pid)?.cpu_seconds - before) / gigabytes,
    })
}
