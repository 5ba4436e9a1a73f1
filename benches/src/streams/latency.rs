//! From a record to its count, at 10,000 records a second: a program counts, one connection sends, another waits for the
//! counts, and one clock sees both.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::Options;
use crate::here;
use crate::peers::Server;
use crate::table::{Asked, Table, percentile};
use crate::wire::{Connection, keyed_batch, now_ms, produce_frame};

/// Records of one request, of which one is sent each millisecond.
const BURST: usize = 10;
const BURSTS: usize = 20_000;
/// Bursts that warm up.
const WARM: usize = 8_000;
const PARTITIONS: usize = 3;
const VALUE: [u8; 100] = [b'v'; 100];
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    for guarantee in ["at_least_once", "exactly_once_v2"] {
        let start = || {
            if options.alone {
                Server::tidemill(&[])
            } else {
                Server::kafka(&[])
            }
        };
        let ours = p99_ms(&start()?, |server| tidemill(server, guarantee))?;
        let peer = if options.alone {
            f64::NAN
        } else {
            p99_ms(&start()?, |server| kafka_streams(server, guarantee))?
        };
        table.costs(
            &format!("count at 10,000 records/s, {guarantee}, p99"),
            ours,
            peer,
            "ms",
            Asked::AtMost(1.0),
        );
    }
    Ok(())
}

/// A program that is stopped when it is dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("a program could not be stopped: {error}");
        }
    }
}

/// More records than it will see, so that it runs until it is stopped.
const ENDLESS: &str = "1000000000";

fn tidemill(server: &Server, guarantee: &str) -> Result<Program> {
    let child = Command::new(std::env::current_exe()?)
        .args([
            "run",
            "count",
            "--records",
            ENDLESS,
            "--bootstrap",
            &server.address,
        ])
        .args(["--guarantee", guarantee])
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Program(child))
}

fn kafka_streams(server: &Server, guarantee: &str) -> Result<Program> {
    let child = Command::new("bash")
        .arg(here().join("peers/kafka.sh"))
        .args([
            "run",
            "StreamsBench",
            "latency",
            ENDLESS,
            &server.address,
            guarantee,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Program(child))
}

fn p99_ms(server: &Server, start: impl FnOnce(&Server) -> Result<Program>) -> Result<f64> {
    let mut sender = Connection::open(&server.address)?;
    for topic in ["events", "out-count"] {
        sender.create(topic, i32::try_from(PARTITIONS)?, &[])?;
    }
    let _program = start(server)?;
    let mut receiver = Receiver {
        connection: Connection::open(&server.address)?,
        offsets: [0; PARTITIONS],
    };
    // It works when the first count is there.
    sender.send(&burst(0)?)?;
    sender.produced()?;
    receiver.arrivals(BURST)?;
    let count = BURST * (BURSTS - 1);
    let (sent, arrived) = std::thread::scope(|scope| {
        let arrivals = scope.spawn(|| receiver.arrivals(count));
        let sent = departures(&mut sender)?;
        let arrived = arrivals.join().map_err(|_| anyhow!("the receiver panicked"))??;
        anyhow::Ok((sent, arrived))
    })?;
    let mut latencies: Vec<f64> = arrived
        .into_iter()
        .filter(|(number, _)| *number >= WARM * BURST)
        .filter_map(|(number, at)| {
            Some(at.duration_since(*sent.get(number / BURST - 1)?).as_secs_f64() * 1000.0)
        })
        .collect();
    percentile(&mut latencies, 99).context("no counts")
}

/// Every key comes once, so every record has a count of its own.
fn burst(number: usize) -> Result<Vec<u8>> {
    let keys: Vec<String> = (0..BURST).map(|at| (number * BURST + at).to_string()).collect();
    // All in one partition; the next burst goes to the next.
    let mut batches = vec![bytes::Bytes::new(); number % PARTITIONS];
    batches.push(keyed_batch(&keys, &VALUE, now_ms()));
    produce_frame("events", &batches, 1)
}

/// When each burst was sent, from the second on.
fn departures(sender: &mut Connection) -> Result<Vec<Instant>> {
    let mut sent = Vec::with_capacity(BURSTS);
    let mut next = Instant::now();
    for number in 1..BURSTS {
        next += Duration::from_millis(1);
        let frame = burst(number)?;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        sent.push(Instant::now());
        sender.send(&frame)?;
        sender.produced()?;
    }
    Ok(sent)
}

struct Receiver {
    connection: Connection,
    offsets: [i64; PARTITIONS],
}

impl Receiver {
    /// When so many counts were there, each with its record's number.
    fn arrivals(&mut self, count: usize) -> Result<Vec<(usize, Instant)>> {
        let mut arrived = Vec::with_capacity(count);
        let mut heard = Instant::now();
        while arrived.len() < count {
            let before = arrived.len();
            let mut numbers = Vec::new();
            self.connection
                .fetch_each("out-count", &mut self.offsets, 1 << 20, |batch| {
                    if batch.header().attributes.is_control() {
                        return Ok(());
                    }
                    let payload = batch.payload(64 << 20)?;
                    for record in batch.records(&payload) {
                        let key = record?.key.context("a count without a key")?;
                        numbers.push(std::str::from_utf8(key)?.parse::<usize>()?);
                    }
                    Ok(())
                })?;
            let now = Instant::now();
            arrived.extend(numbers.into_iter().map(|number| (number, now)));
            if arrived.len() > before {
                heard = now;
            } else if heard.elapsed() > SILENCE_MAX {
                bail!("{} of {count} counts came", arrived.len());
            }
        }
        Ok(arrived)
    }
}
