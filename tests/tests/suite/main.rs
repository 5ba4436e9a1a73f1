//! Everything together: our broker, our clients, other people's clients, and programs on them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

mod broker_clients;
mod consumer;
mod groups;
mod real_clients;
mod runtime;
mod transport;
