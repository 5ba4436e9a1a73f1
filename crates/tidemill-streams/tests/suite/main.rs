//! What topologies tell of themselves, and what tasks keep.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

#[macro_use]
mod golden;

mod describe;
mod describe_joins;
mod discard;
mod order;
mod topology;
