//! Work that may wait for the disk, away from the threads that serve connections.

use std::panic;

/// Runs `work` on a thread of its own and waits for it. A panic goes on here.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => panic::resume_unwind(payload),
            // The runtime is going down, and whoever waits here with it.
            Err(_) => std::future::pending().await,
        },
    }
}
