//! What happens by the clock: retention, flushes that are due, checkpoints.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock;
use crate::shared::Shared;

/// How often flushes and caches are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often recovery points are written, so that a crash has less to check.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Runs until the broker stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let start = Instant::now();
    let retention_first = shared
        .settings
        .initial_task_delay
        .min(shared.settings.retention_check_interval);
    let mut tick = interval_at(start + TICK, TICK);
    let mut checkpoint = interval_at(start + CHECKPOINT, CHECKPOINT);
    let mut retention = interval_at(start + retention_first, shared.settings.retention_check_interval);
    for interval in [&mut tick, &mut checkpoint, &mut retention] {
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut stopping = shared.stopping.subscribe();
    loop {
        let task = tokio::select! {
            _ = tick.tick() => Task::Tick,
            _ = checkpoint.tick() => Task::Checkpoint,
            _ = retention.tick() => Task::Retention,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let dirs = Arc::clone(&shared.dirs);
        let worker = Arc::clone(&shared);
        let work = tokio::task::spawn_blocking(move || match task {
            Task::Tick => {
                dirs.tick(clock::now());
                worker.fetch_sessions.expire(clock::now());
            }
            Task::Checkpoint => {
                if let Err(error) = dirs.checkpoint() {
                    tracing::error!(%error, "checkpoints were not written");
                }
            }
            Task::Retention => {
                let deleted = dirs.enforce_retention(clock::now());
                worker.metrics.segments_deleted.inc_by(deleted as u64);
                if deleted > 0 {
                    tracing::info!(segments = deleted, "deleted by retention");
                }
            }
        });
        if let Err(error) = work.await {
            tracing::error!(%error, "housekeeping failed");
        }
    }
}

enum Task {
    Tick,
    Checkpoint,
    Retention,
}
