//! The thread that moves logs to other log directories, and how fast it may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_log::{RelocateError, RelocationPace};

use crate::clock;
use crate::shared::Shared;

/// The longest the thread sleeps to keep to its share before it looks whether it shall stop.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// Runs until the broker stops: first what an earlier run left undone, then whatever is asked for.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    loop {
        let worker = Arc::clone(&shared);
        if let Err(error) = tokio::task::spawn_blocking(move || move_all(&worker)).await {
            tracing::error!(%error, "moving logs failed");
        }
        tokio::select! {
            () = shared.movers.notified() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

fn move_all(shared: &Shared) {
    while !*shared.stopping.borrow() {
        let mut pace = Pace {
            shared,
            began: Instant::now(),
            bytes: 0,
        };
        let moved = shared
            .dirs
            .relocate_next(clock::now(), &mut |bytes| pace.go_on(bytes));
        match moved {
            None => return,
            Some((partition, Ok(dir))) => tracing::info!(%partition, to = %dir.display(), "moved"),
            Some((partition, Err(RelocateError::Stopped))) => {
                tracing::info!(%partition, "a move was called off");
            }
            Some((partition, Err(error))) => tracing::error!(%partition, %error, "not moved"),
        }
    }
}

/// Keeps a move to its bytes a second.
struct Pace<'a> {
    shared: &'a Shared,
    began: Instant,
    bytes: u64,
}

impl Pace<'_> {
    /// Takes a part of the time that `bytes` cost by the setting as it is now.
    fn go_on(&mut self, bytes: u64) -> RelocationPace {
        self.bytes += bytes;
        let values = self.shared.values();
        let per_second = values.number("replica.alter.log.dirs.io.max.bytes.per.second");
        let due = self.bytes as f64 / per_second as f64;
        let ahead = due - self.began.elapsed().as_secs_f64();
        if *self.shared.stopping.borrow() {
            RelocationPace::Stop
        } else if ahead < 0.001 {
            RelocationPace::GoOn
        } else {
            std::thread::sleep(Duration::from_secs_f64(ahead.min(SLEEP_MAX.as_secs_f64())));
            RelocationPace::Wait
        }
    }
}
