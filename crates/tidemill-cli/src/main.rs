//! The command `tidemill`.

mod broker;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// A log broker that speaks Kafka's protocol.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker.
    #[command(subcommand)]
    Broker(broker::Command),
}

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().command {
        Command::Broker(command) => broker::run(command),
    }
}
