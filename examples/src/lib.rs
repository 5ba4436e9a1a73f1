//! A question a file. Programs that read or write a log are in `examples/`; stream programs are modules here, each with
//! its test in virtual time and a page in the book, and run by name:
//!
//! ```sh
//! cargo run --release -p tidemill-examples -- access-log
//! ```

mod cluster;
#[cfg(test)]
mod pages;
mod run;
mod sample;

pub mod access_log;
pub mod alerts;
pub mod payments;
pub mod rate_limit;
pub mod recommend;
pub mod visits;
pub mod word_count;

pub use cluster::Cluster;
pub use run::Run;
