//! The codec against the `kafka-protocol` crate, against lies, and against memory. Messages are made from the schemas, byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

mod agreement;
mod allocation;
mod apis;
mod batches;
mod headers;
mod lies;
mod random;
#[path = "../../../../xtask/src/codegen/schema.rs"]
#[allow(
    dead_code,
    reason = "the generator uses more of the schemas than the tests do"
)]
mod schema;
