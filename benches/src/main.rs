//! The measurements, each beside its peer in the same run. `cargo xtask bench broker|streams` calls this.
//!
//! Figures are ratios on one machine in one run; absolute ones move with the machine. What is measured,
//! and the last table, stand in `benches/README.md`.

mod broker;
mod peers;
mod process;
mod streams;
mod table;
mod wire;
mod workload;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Tidemill's measurements, beside Apache Kafka and Kafka Streams")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The broker beside Apache Kafka, with Kafka's own tools as the clients.
    Broker(broker::Options),
    /// The streams library beside Kafka Streams, on the same broker and the same load.
    Streams(streams::Options),
    /// One streams program in a process of its own, as `streams` starts it.
    Run(workload::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Broker(options) => broker::measure(&options),
        What::Streams(options) => streams::measure(&options),
        What::Run(options) => workload::run(&options),
    }
}

/// The folder of this crate, where the peers' scripts lie.
fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
