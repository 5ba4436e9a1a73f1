//! Programs and brokers as processes that are killed. They have a test program of their own: while a process is being
//! started it holds copies of the locks of its parent, so a broker in the parent could not take its folder again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

mod crashes;
mod faults;
#[cfg(target_os = "linux")]
mod full_disk;
