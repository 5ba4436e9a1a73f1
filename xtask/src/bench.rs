//! `cargo xtask bench`: figures beside Apache Kafka and Kafka Streams, measured in one run.

use anyhow::{Result, bail};

use crate::{command, setup};

/// Builds what is measured, then hands over to the harness in `benches/`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some(what @ ("broker" | "streams")) = arguments.first().map(String::as_str) else {
        bail!("say what to measure: cargo xtask bench broker, or cargo xtask bench streams");
    };
    setup::ensure()?;
    // The command by itself, as users build it: together with the harness it would have the harness's features, and with
    // them librdkafka.
    command::cargo(&["build", "--release", "--package", "tidemill-cli"])?;
    let mut all = vec!["run", "--release", "--package", "tidemill-benches", "--", what];
    all.extend(
        arguments
            .iter()
            .skip(1)
            .filter(|word| *word != "--")
            .map(String::as_str),
    );
    command::cargo(&all)
}
