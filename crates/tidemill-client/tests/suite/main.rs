//! The native client, and brokers that are well or not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

mod hostile;
#[cfg(feature = "broker")]
mod in_process;
