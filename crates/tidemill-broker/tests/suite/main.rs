//! The broker from outside, request by request over sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

mod configs;
mod connections;
mod consumer_groups;
mod fetch;
mod group_requests;
mod listeners;
mod log_dirs;
mod produce;
mod storage;
mod support;
mod topics;
mod transactions;
