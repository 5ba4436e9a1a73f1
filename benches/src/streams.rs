//! The streams library beside Kafka Streams: the same load, the same modes, on Apache Kafka as the
//! broker for both, and ours on our own broker as well.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::peers::{Server, script};
use crate::table::{Asked, Table};

/// What to measure, and how much of it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Records of topic `events`.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Which programs, separated by blanks: map, count, join, restore.
    #[arg(long, default_value = "map count join restore")]
    modes: String,
    /// Rounds of each; the best of each side counts, since a JVM's first round is slow.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
}

/// The best round of one program.
#[derive(Clone, Copy, Default)]
struct Best {
    rate: f64,
    cpu_seconds: f64,
    resident_mb: f64,
}

/// Measures every mode and prints the table.
pub(crate) fn measure(options: &Options) -> Result<()> {
    let mut table = Table::default();
    let kafka = Server::kafka()?;
    let modes: Vec<&str> = options.modes.split_whitespace().collect();
    let mut ours_by_mode = Vec::new();
    for &mode in &modes {
        let peer = best(options.rounds, || {
            kafka_streams(&kafka.address, options.records, mode)
        })?;
        let ours = best(options.rounds, || tidemill(&kafka.address, options.records, mode))?;
        table.rates(
            &format!("{mode}, both on Kafka, records/s"),
            ours.rate,
            peer.rate,
            Asked::Nothing,
        );
        table.costs(
            &format!("{mode}, CPU"),
            ours.cpu_seconds,
            peer.cpu_seconds,
            "s",
            Asked::AtMost(1.0 / 3.0),
        );
        table.costs(
            &format!("{mode}, resident memory"),
            ours.resident_mb,
            peer.resident_mb,
            "MB",
            Asked::AtMost(0.2),
        );
        ours_by_mode.push((mode, peer.rate));
    }
    drop(kafka);
    let own = Server::tidemill()?;
    load(&own.address, options.records)?;
    for (mode, peer_rate) in ours_by_mode {
        let ours = best(options.rounds, || tidemill(&own.address, options.records, mode))?;
        table.rates(
            &format!("{mode}, ours on our broker, records/s"),
            ours.rate,
            peer_rate,
            Asked::Nothing,
        );
    }
    println!("\n{}", table.markdown("Tidemill", "Kafka Streams"));
    Ok(())
}

fn best(rounds: usize, mut round: impl FnMut() -> Result<Best>) -> Result<Best> {
    let mut best = Best::default();
    for _ in 0..rounds {
        let one = round()?;
        if one.rate > best.rate {
            best = one;
        }
    }
    Ok(best)
}

fn kafka_streams(bootstrap: &str, records: u64, mode: &str) -> Result<Best> {
    parse(
        &script("streams-bench.sh", &[bootstrap, &records.to_string(), mode])?,
        mode,
    )
}

/// Creates the topics and writes the standard load; the script does both when they are missing.
fn load(bootstrap: &str, records: u64) -> Result<()> {
    script("streams-bench.sh", &[bootstrap, &records.to_string(), "map"]).map(drop)
}

/// Our program in a process of its own, so that its CPU seconds and memory are its own.
fn tidemill(bootstrap: &str, records: u64, mode: &str) -> Result<Best> {
    let output = Command::new(std::env::current_exe()?)
        .args([
            "run",
            mode,
            "--records",
            &records.to_string(),
            "--bootstrap",
            bootstrap,
        ])
        .output()
        .context("the program could not be started")?;
    if !output.status.success() {
        bail!("{mode} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    parse(&String::from_utf8(output.stdout)?, mode)
}

/// Both sides print `… MODE … rate=R/s … cpu=C s … rss=K K`; a restore prints its own line before it.
fn parse(printed: &str, mode: &str) -> Result<Best> {
    let field = |line: &str, name: &str| -> Option<f64> {
        let rest = line.split_once(&format!("{name}="))?.1;
        rest.split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()?
            .parse()
            .ok()
    };
    let line = |wanted: &str| printed.lines().find(|line| line.contains(wanted));
    let whole = line("cpu=").with_context(|| format!("{mode} printed no figures: {printed}"))?;
    let rate_line = if mode == "restore" {
        line("restore records=").unwrap_or(whole)
    } else {
        whole
    };
    let rate = field(rate_line, "rate").context("no rate")?;
    eprintln!("  {}", rate_line.trim());
    Ok(Best {
        rate,
        cpu_seconds: field(whole, "cpu").unwrap_or_default(),
        resident_mb: field(whole, "rss").unwrap_or_default() * 1024.0 / 1e6,
    })
}
