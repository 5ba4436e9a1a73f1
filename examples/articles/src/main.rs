//! The article pipeline as a program.

use std::io::{IsTerminal, stderr};

use anyhow::Result;
use clap::Parser;
use tidemill_articles::options::Options;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
    tidemill_articles::pipeline::run(Options::parse()).await
}
