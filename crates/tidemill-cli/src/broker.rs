//! `tidemill broker`: a broker in a process of its own.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use tidemill_broker::{Broker, BrokerConfig};
use tokio::signal::unix::{SignalKind, signal};

/// What can be done with a broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker and serve until SIGTERM or SIGINT.
    Start(Start),
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// A `server.properties` with Kafka's settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that holds instead of the file's; may come more than once.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let Command::Start(start) = command;
    let config = config(&start)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config))
}

fn config(start: &Start) -> anyhow::Result<BrokerConfig> {
    let mut config = match &start.config {
        None => BrokerConfig::server(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            BrokerConfig::from_properties(&text).with_context(|| format!("{}", path.display()))?
        }
    };
    for setting in &start.overrides {
        let (name, value) = setting
            .split_once('=')
            .with_context(|| format!("--override {setting}: expected NAME=VALUE"))?;
        config = config.set(name.trim(), value.trim())?;
    }
    Ok(config)
}

async fn serve(config: BrokerConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let broker = Broker::start(config).await?;
    println!("tidemill broker listening on {}", broker.address());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    broker.shutdown().await;
    Ok(())
}
