//! How long it takes to compact a log in which each key was written many times, and what appends to it feel meanwhile.
//!
//! The log is written under `cleanup.policy=delete` and then set to `compact`. It is compacted when the broker's
//! `cleaner-offset-checkpoint` reaches what was the active segment, which neither broker touches.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tidemill_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::{Options, freshen_page_cache};
use crate::peers::Server;
use crate::process::usage;
use crate::table::{Asked, Table, percentile};
use crate::wire::{Connection, keyed_batch, now_ms, produce_frame};

const TOPIC: &str = "compacted";
const VALUE: [u8; 100] = [b'v'; 100];
const BATCH_RECORDS: u64 = 1_000;
/// About what a record takes in a batch, with its key.
const RECORD_BYTES: u64 = 118;
const SEGMENT_BYTES: &str = "67108864";
const IN_FLIGHT: u64 = 4;
/// Records of an append that is timed; one is sent each millisecond.
const TIMED_RECORDS: u64 = 10;
const PAUSE: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_secs(300);
/// IncrementalAlterConfigs: a topic, and "set".
const TOPIC_RESOURCE: i8 = 2;
const SET: i8 = 0;

struct Figures {
    seconds: f64,
    cpu_seconds: f64,
    appends_p99_ms: f64,
    megabytes_left: f64,
}

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let (ours, peers) = options.both(|server| figures(server, options))?;
    let peer = |of: fn(&Figures) -> f64| peers.as_ref().map_or(f64::NAN, of);
    let log = format!("{} MB, {} keys", options.compacted_mb, options.keys);
    table.costs(
        &format!("compaction of {log}: time"),
        ours.seconds,
        peer(|p| p.seconds),
        "s",
        Asked::AtMost(1.0),
    );
    table.costs(
        "compaction: broker CPU, with the appends",
        ours.cpu_seconds,
        peer(|p| p.cpu_seconds),
        "s",
        Asked::Nothing,
    );
    table.measured(
        "compaction: appends meanwhile, p99",
        ours.appends_p99_ms,
        peer(|p| p.appends_p99_ms),
        "ms",
        Asked::AtMost(5.0),
    );
    table.measured(
        "compaction: what is left",
        ours.megabytes_left,
        peer(|p| p.megabytes_left),
        "MB",
        Asked::Nothing,
    );
    Ok(())
}

fn figures(server: &Server, options: &Options) -> Result<Figures> {
    let mut connection = Connection::open(&server.address)?;
    let settings = [
        ("segment.bytes", SEGMENT_BYTES),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    connection.create(TOPIC, 1, &settings)?;
    let mut keys = Keys {
        state: 1,
        keys: options.keys,
    };
    freshen_page_cache(options.compacted_mb * 2_000_000)?;
    fill(&mut connection, options.compacted_mb * 1_000_000, &mut keys)?;
    let folder = server.logs.join(format!("{TOPIC}-0"));
    let (active, before) = segments(&folder)?;
    ensure!(
        before >= options.compacted_mb * 900_000,
        "the log has only {before} bytes"
    );

    let done = AtomicBool::new(false);
    let cpu_before = usage(server.pid)?.cpu_seconds;
    let (seconds, mut appends) = std::thread::scope(|scope| {
        let appends = scope.spawn(|| append_until(server, &done, &mut keys));
        let compacted = compact(&mut connection, &server.logs, active);
        done.store(true, Ordering::Relaxed);
        let appends = appends.join().map_err(|_| anyhow!("the appends panicked"))??;
        anyhow::Ok((compacted?, appends))
    })?;
    let cpu_seconds = usage(server.pid)?.cpu_seconds - cpu_before;
    let (_, after) = segments(&folder)?;
    ensure!(after < before, "{before} bytes became {after}");
    Ok(Figures {
        seconds,
        cpu_seconds,
        appends_p99_ms: percentile(&mut appends, 99).context("no append was timed")?,
        megabytes_left: after as f64 / 1e6,
    })
}

/// Keys in an order that has no runs: a step of a linear congruence each.
struct Keys {
    state: u64,
    keys: u64,
}

impl Keys {
    fn next(&mut self) -> String {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        format!("key-{:07}", (self.state >> 33) % self.keys)
    }

    fn frame(&mut self, records: u64) -> Result<Vec<u8>> {
        let keys: Vec<String> = (0..records).map(|_| self.next()).collect();
        produce_frame(TOPIC, &[keyed_batch(&keys, &VALUE, now_ms())], 1)
    }
}

fn fill(connection: &mut Connection, bytes: u64, keys: &mut Keys) -> Result<()> {
    let requests = bytes / (BATCH_RECORDS * RECORD_BYTES);
    for sent in 0..requests + IN_FLIGHT {
        if sent < requests {
            connection.send(&keys.frame(BATCH_RECORDS)?)?;
        }
        if sent >= IN_FLIGHT {
            connection.produced()?;
        }
    }
    Ok(())
}

/// Asks for compaction and waits until the checkpoint has `active`; how many seconds that took.
fn compact(connection: &mut Connection, logs: &Path, active: u64) -> Result<f64> {
    let begin = Instant::now();
    set(connection, "cleanup.policy", "compact")?;
    while compacted_to(logs)? < active {
        ensure!(begin.elapsed() < WAIT_MAX, "not compacted after {WAIT_MAX:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn set(connection: &mut Connection, name: &str, value: &str) -> Result<()> {
    let config = AlterableConfig {
        name: name.into(),
        config_operation: SET,
        value: Some(value.into()),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: TOPIC.into(),
            configs: vec![config],
        }],
        validate_only: false,
    };
    for response in connection.call(&request, 1)?.responses {
        if !response.error_code.is_ok() {
            bail!("{name} was not set: {:?}", response.error_code);
        }
    }
    Ok(())
}

/// The first offset that was never compacted, as the broker wrote it down.
fn compacted_to(logs: &Path) -> Result<u64> {
    // Kafka's is missing until its first compaction is done.
    let text = std::fs::read_to_string(logs.join("cleaner-offset-checkpoint")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{TOPIC} 0 ")));
    Ok(line.map_or(Ok(0), str::parse)?)
}

/// The base offset of the active segment, and the bytes of all.
fn segments(folder: &Path) -> Result<(u64, u64)> {
    let (mut active, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(base) = name.strip_suffix(".log") else {
            continue;
        };
        active = active.max(base.parse()?);
        bytes += entry.metadata()?.len();
    }
    Ok((active, bytes))
}

/// Milliseconds of each append, one after the other, until `done`.
fn append_until(server: &Server, done: &AtomicBool, keys: &mut Keys) -> Result<Vec<f64>> {
    let mut connection = Connection::open(&server.address)?;
    let mut taken = Vec::new();
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        let frame = keys.frame(TIMED_RECORDS)?;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let begin = Instant::now();
        connection.send(&frame)?;
        connection.produced()?;
        taken.push(begin.elapsed().as_secs_f64() * 1000.0);
        next = (next + PAUSE).max(begin);
    }
    Ok(taken)
}
