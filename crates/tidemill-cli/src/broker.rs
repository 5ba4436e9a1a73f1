//! `tidemill broker`: a broker in a process of its own, and a look at its data directories.

use std::path::PathBuf;

mod batches;
mod dump_log;
mod format;
mod verify;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use tidemill_broker::{Broker, BrokerConfig};
use tokio::signal::unix::{SignalKind, signal};

/// What can be done with a broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker and serve until SIGTERM or SIGINT.
    Start(Start),
    /// Make the data directories of a new broker.
    Format(format::Format),
    /// Print what is in segment files.
    DumpLog(dump_log::DumpLog),
    /// Check every batch in the data directories of a broker that is stopped.
    Verify(verify::Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    settings: Settings,
    /// Where to write the process id once the broker serves.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
}

/// Where settings come from: the file, then `KAFKA_*` variables, then overrides; what comes later holds.
#[derive(Debug, Args)]
struct Settings {
    /// A `server.properties` with Kafka's settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that holds instead of the file's; may come more than once.
    #[arg(long = "override", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Start(start) => {
            let config = start.settings.config()?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve(config, &start))
        }
        Command::Format(format) => format.run(),
        Command::DumpLog(dump) => dump.run(),
        Command::Verify(verify) => verify.run(),
    }
}

impl Settings {
    fn config(&self) -> anyhow::Result<BrokerConfig> {
        let mut config = match &self.config {
            None => BrokerConfig::server(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                BrokerConfig::from_properties(&text).with_context(|| format!("{}", path.display()))?
            }
        };
        config = config.with_environment(variables()?)?;
        for setting in &self.overrides {
            let (name, value) = setting
                .split_once('=')
                .with_context(|| format!("--override {setting}: expected NAME=VALUE"))?;
            config = config.set(name.trim(), value.trim())?;
        }
        Ok(config)
    }
}

/// The variables of the environment. Those of others may not be UTF-8, and are passed over.
fn variables() -> anyhow::Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(value) if name.starts_with("KAFKA_") => bail!("{name} is not UTF-8: {}", value.display()),
            Err(_) => {}
        }
    }
    Ok(variables)
}

async fn serve(config: BrokerConfig, start: &Start) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let broker = Broker::start(config).await?;
    if let Some(path) = &start.pid_file {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("tidemill broker listening on {}", broker.address());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&broker, start),
        }
    }
    tracing::info!("stopping");
    broker.shutdown().await;
    Ok(())
}

/// Reads the settings again. A file that cannot be read changes nothing: the broker goes on.
fn reload(broker: &Broker, start: &Start) {
    match start.settings.config() {
        Ok(config) => {
            for name in broker.reload(&config) {
                tracing::warn!(setting = name, "differs now and holds from the next start on");
            }
        }
        Err(error) => tracing::error!("settings were not read again: {error:#}"),
    }
}
