//! The threads that compact, and how fast they may.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_log::{CompactError, CompactionLimits};
use tokio::task::JoinSet;

use crate::clock;
use crate::settings::Values;
use crate::shared::Shared;

/// The longest a thread sleeps to keep to its share before it looks whether the broker stops.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// What the settings say to one of the threads.
#[derive(Debug, Clone, Copy)]
struct Share {
    limits: CompactionLimits,
    backoff: Duration,
    bytes_per_second: f64,
}

impl Share {
    fn of(values: &Values) -> Share {
        let threads = values.number("log.cleaner.threads").max(1);
        let buffer = values.number("log.cleaner.dedupe.buffer.size") / threads;
        let backoff = u64::try_from(values.number("log.cleaner.backoff.ms")).unwrap_or(0);
        Share {
            limits: CompactionLimits {
                offset_map_bytes: usize::try_from(buffer).unwrap_or(usize::MAX),
            },
            backoff: Duration::from_millis(backoff),
            bytes_per_second: values.fraction("log.cleaner.io.max.bytes.per.second") / threads as f64,
        }
    }
}

/// Starts the threads; they end when the broker stops.
pub(crate) fn spawn(shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
    if !shared.values().boolean("log.cleaner.enable") {
        return;
    }
    for _ in 0..shared.values().number("log.cleaner.threads") {
        tasks.spawn(run(Arc::clone(shared)));
    }
}

async fn run(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    loop {
        let share = Share::of(&shared.values());
        let worker = Arc::clone(&shared);
        let work = tokio::task::spawn_blocking(move || compact(&worker, share));
        let wait = match work.await {
            Ok(ControlFlow::Continue(())) => Duration::ZERO,
            Ok(ControlFlow::Break(())) => share.backoff,
            Err(error) => {
                tracing::error!(%error, "compaction failed");
                share.backoff
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        if *shared.stopping.borrow() {
            return;
        }
    }
}

/// Compacts one log, if one needs it; says whether to look for another at once.
fn compact(shared: &Shared, share: Share) -> ControlFlow<()> {
    let mut pace = Pace {
        shared,
        bytes_per_second: share.bytes_per_second,
        began: Instant::now(),
        bytes: 0,
    };
    let done = shared
        .dirs
        .compact_dirtiest(clock::now(), &share.limits, &mut |bytes| pace.go_on(bytes));
    match done {
        None => ControlFlow::Break(()),
        Some((partition, Ok(done))) => {
            shared.metrics.compactions.inc();
            shared.metrics.compacted_bytes.inc_by(done.bytes_before);
            let (before, after) = (done.bytes_before, done.bytes_after);
            tracing::info!(%partition, from = %done.from, to = %done.to, before, after, "compacted");
            ControlFlow::Continue(())
        }
        Some((_, Err(CompactError::Stopped))) => ControlFlow::Break(()),
        Some((partition, Err(error))) => {
            shared.metrics.compaction_failures.inc();
            tracing::error!(%partition, %error, "not compacted");
            ControlFlow::Break(())
        }
    }
}

/// Keeps one compaction to its share of bytes a second.
struct Pace<'a> {
    shared: &'a Shared,
    bytes_per_second: f64,
    began: Instant,
    bytes: u64,
}

impl Pace<'_> {
    /// Takes the time that `bytes` cost, and says whether to go on.
    fn go_on(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let due = self.bytes as f64 / self.bytes_per_second;
        while !*self.shared.stopping.borrow() {
            let ahead = due - self.began.elapsed().as_secs_f64();
            if ahead < 0.001 {
                return true;
            }
            std::thread::sleep(Duration::from_secs_f64(ahead.min(SLEEP_MAX.as_secs_f64())));
        }
        false
    }
}
