//! The command `tidemill`.

mod broker;
mod dead_letters;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// A log broker that speaks Kafka's protocol.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version)]
struct Cli {
    /// How log lines look on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker.
    #[command(subcommand)]
    Broker(broker::Command),
    /// Look at dead letters, or send them back to where they came from.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line, its fields by name.
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    match cli.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    let done = match cli.command {
        Command::Broker(command) => broker::run(command),
        Command::DeadLetters(command) => dead_letters::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with all causes: where in our code it arose is of no use to whoever set a wrong port.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
