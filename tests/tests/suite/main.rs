//! Everything together: our broker, our clients, other people's clients, and programs on them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

use std::time::Duration;

mod consumer;
mod groups;
mod real_clients;
mod runtime;
mod server;
mod transport;

/// Nothing here takes this long; a test that does hangs, and says so.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client that is polled waits for the next event.
const TICK: Duration = Duration::from_millis(20);
