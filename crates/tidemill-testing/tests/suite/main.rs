//! What programs do, in virtual time: operators, processors, failures, restarts, and the bytes they leave behind.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

mod built_in;
mod calls;
mod changelog;
mod driver;
mod fallible;
mod global_store;
mod headers;
mod hex;
mod joins;
mod kafka_bytes;
mod processor_headers;
mod processors;
mod read_only;
mod record_times;
mod retry;
mod simulation;
mod table_rows;
mod transform_values;
mod ttl;
mod windows;
