//! The streams programs that are measured, each run in a process of its own.
//!
//! They are the programs of `peers/StreamsBench.java`, and print a line of the same form: the rate between
//! the first and the last input record, CPU seconds and resident memory of this process.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use tidemill::prelude::*;
use tokio::sync::Notify;

use crate::process::usage;
use crate::wire::{Connection, keyed_batch, now_ms, produce_frame};

/// Which program, how many records, and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program.
    mode: Mode,
    /// Records of topic `events`.
    #[arg(long)]
    records: u64,
    /// The broker's address.
    #[arg(long)]
    bootstrap: String,
    /// What is promised about each record.
    #[arg(long, default_value = "at_least_once")]
    guarantee: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Flips one byte of each value, to a topic.
    Map,
    /// Counts by key, to a topic.
    Count,
    /// Counts by key in windows of 10 seconds, to a topic.
    Window,
    /// Counts by key, stops, and times a second start on its state up to its first record.
    Restart,
    /// Joins each record with table `profiles`, to a topic.
    Join,
    /// Counts by key, deletes the state, starts again and times the replay of the changelog.
    Restore,
}

const EVENTS: Topic<String, Vec<u8>> = Topic::new("events");
const PROFILES: Topic<String, Vec<u8>> = Topic::new("profiles");
const MAPPED: Topic<String, Vec<u8>> = Topic::new("out-map");
const JOINED: Topic<String, Vec<u8>> = Topic::new("out-join");
const COUNTED: Topic<String, Option<i64>> = Topic::new("out-count");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const COUNTED_WINDOWS: Topic<String, Option<i64>> = Topic::new("out-window");
const WINDOWS: StoreName<Windowed<String>, i64> = StoreName::new("windows");

/// When the first and the last of the input records passed.
#[derive(Default)]
struct Passed {
    seen: AtomicU64,
    first: OnceLock<Instant>,
    last: OnceLock<Instant>,
    done: Notify,
}

impl Passed {
    fn note(&self, records: u64) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if seen == 1 {
            self.first.get_or_init(Instant::now);
        }
        if seen == records {
            self.last.get_or_init(Instant::now);
            self.done.notify_one();
        } else if seen > records {
            self.done.notify_one();
        }
    }
}

impl Passed {
    /// Until the last record has passed; an error when the program ends before.
    async fn wait(&self, running: &Running) -> Result<()> {
        tokio::select! {
            () = self.done.notified() => Ok(()),
            state = running.ended() => Err(anyhow!("the program went to {state:?} before its last record")),
        }
    }
}

/// Runs one program to its last record and prints its line.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run_async(options))
}

async fn run_async(options: &Options) -> Result<()> {
    let passed = Arc::new(Passed::default());
    let app = program(options, &passed);
    let folder = tempfile::tempdir()?;
    let mut config = Config::new()
        .bootstrap_servers(&options.bootstrap)
        .state_dir(folder.path())
        .set("processing.guarantee", &options.guarantee)?;
    if options.mode == Mode::Restore {
        // Nearly every update reaches the changelog, as in Kafka Streams without its cache.
        config = config.set("commit.interval.ms", 40)?;
    }
    let begin = Instant::now();
    let running = app.start(config.clone()).await?;
    passed.wait(&running).await?;
    running.stop().await?;
    let (first, last) = passed
        .first
        .get()
        .zip(passed.last.get())
        .context("no record passed")?;
    let rate = options.records as f64 / last.duration_since(*first).as_secs_f64();
    if options.mode == Mode::Restore {
        restore(&app, config.clone(), folder.path()).await?;
    }
    if options.mode == Mode::Restart {
        restart(&app, config, options, &passed).await?;
    }
    let used = usage(std::process::id())?;
    println!(
        "tidemill {:?} n={} rate={rate:.0}/s first={:.2}s cpu={:.1}s rss={}K",
        options.mode,
        options.records,
        first.duration_since(begin).as_secs_f64(),
        used.cpu_seconds,
        used.resident_bytes / 1024,
    );
    Ok(())
}

fn program(options: &Options, passed: &Arc<Passed>) -> App {
    // Each run is an application of its own, so that it reads from the start.
    let app = App::new(format!("bench-{:?}-{}", options.mode, std::process::id()).to_lowercase());
    let profiles = (options.mode == Mode::Join).then(|| app.table(&PROFILES));
    let (passed, records) = (Arc::clone(passed), options.records);
    let events = app.stream(&EVENTS).peek(move |_, _| passed.note(records));
    match profiles {
        Some(profiles) => events
            .join_table(&profiles, |_, event, profile| joined(event, &profile))
            .to(&JOINED),
        None if options.mode == Mode::Map => events.map_values(flipped).to(&MAPPED),
        None if options.mode == Mode::Window => events
            .group_by_key()
            .window(Tumbling::of(10 * SECOND))
            .count(&WINDOWS)
            .to_stream()
            .map(|window, count| (window.key, count))
            .to(&COUNTED_WINDOWS),
        None => events.group_by_key().count(&COUNTS).to_stream().to(&COUNTED),
    }
    app
}

fn flipped(mut value: Vec<u8>) -> Vec<u8> {
    if let Some(first) = value.first_mut() {
        *first ^= 1;
    }
    value
}

fn joined(mut event: Vec<u8>, profile: &[u8]) -> Vec<u8> {
    event.extend_from_slice(profile.get(..8).unwrap_or(profile));
    event
}

/// Starts once more on the state that is there, with one record more to read.
async fn restart(app: &App, config: Config, options: &Options, passed: &Passed) -> Result<()> {
    let frame = produce_frame(
        "events",
        &[keyed_batch(&["one more".to_owned()], b"v", now_ms())],
        1,
    )?;
    let mut connection = Connection::open(&options.bootstrap)?;
    connection.send(&frame)?;
    connection.produced()?;
    let begin = Instant::now();
    let running = app.start(config).await?;
    passed.wait(&running).await?;
    println!("tidemill restart seconds={:.3}", begin.elapsed().as_secs_f64());
    running.stop().await?;
    Ok(())
}

/// When the replay began and ended, and how many records it brought.
#[derive(Default)]
struct Replay {
    begin: Option<Instant>,
    end: Option<Instant>,
    records: u64,
}

async fn restore(app: &App, config: Config, folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder)?;
    // Guards the figures between the threads that restore and this one.
    let replay = Arc::new(Mutex::new(Replay::default()));
    let noted = Arc::clone(&replay);
    let running = app
        .launch(config)
        .on_restore(move |progress| {
            let mut replay = noted.lock().expect("nobody panics with it");
            replay.begin.get_or_insert_with(Instant::now);
            if progress.is_complete() {
                replay.records += progress.records;
                replay.end = Some(Instant::now());
            }
        })
        .start()
        .await?;
    running
        .ready()
        .await
        .map_err(|state| anyhow!("it went to {state:?} instead of running"))?;
    running.stop().await?;
    let replay = replay.lock().expect("nobody panics with it");
    let (begin, end) = replay.begin.zip(replay.end).context("nothing was restored")?;
    let seconds = end.duration_since(begin).as_secs_f64();
    let rate = replay.records as f64 / seconds;
    println!(
        "tidemill restore records={} seconds={seconds:.2} rate={rate:.0}/s",
        replay.records
    );
    Ok(())
}
