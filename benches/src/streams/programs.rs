//! Whole programs over the standard load, each in a process of its own.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Options;
use crate::peers::{Server, script};
use crate::table::{Asked, Table};

/// The best round of one program.
#[derive(Clone, Copy, Default)]
struct Best {
    rate: f64,
    cpu_seconds: f64,
    resident_mb: f64,
    restart_seconds: f64,
}

/// A program and what it promises of each record.
#[derive(Clone, Copy)]
struct Program<'a> {
    mode: &'a str,
    guarantee: &'static str,
}

impl<'a> Program<'a> {
    fn of(text: &'a str) -> Program<'a> {
        match text.split_once('/') {
            Some((mode, _)) => Program {
                mode,
                guarantee: "exactly_once_v2",
            },
            None => Program {
                mode: text,
                guarantee: "at_least_once",
            },
        }
    }

    /// How many times Kafka Streams' records a second are asked for.
    fn asked(self) -> Asked {
        let at_least_once = self.guarantee == "at_least_once";
        match self.mode {
            "map" if at_least_once => Asked::AtLeast(2.0),
            "count" if at_least_once => Asked::AtLeast(2.5),
            "join" | "restore" if at_least_once => Asked::AtLeast(3.0),
            "count" | "window" => Asked::AtLeast(4.0),
            _ => Asked::Nothing,
        }
    }

    /// Kafka Streams has no such program: a restart takes it its session's timeout.
    fn has_peer(self) -> bool {
        self.mode != "restart"
    }
}

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let mut peer_rates = Vec::new();
    if !options.alone {
        let kafka = Server::kafka(&[])?;
        for text in &options.programs {
            let program = Program::of(text);
            let peer = if program.has_peer() {
                best(options.rounds, || {
                    kafka_streams(&kafka.address, options.records, program)
                })?
            } else {
                Best::default()
            };
            let ours = best(options.rounds, || {
                tidemill(&kafka.address, options.records, program)
            })?;
            rows(table, text, program, ours, peer);
            peer_rates.push(peer.rate);
        }
    }
    let own = Server::tidemill(&[])?;
    load(&own.address, options.records)?;
    for (place, text) in options.programs.iter().enumerate() {
        let program = Program::of(text);
        let ours = best(options.rounds, || {
            tidemill(&own.address, options.records, program)
        })?;
        let peer_rate = peer_rates.get(place).copied().unwrap_or(f64::NAN);
        table.rates(
            &format!("{text}, ours on our broker, records/s"),
            ours.rate,
            peer_rate,
            Asked::Nothing,
        );
        if options.alone {
            eprintln!(
                "  {text}: {:.1} s of CPU, {:.0} MB",
                ours.cpu_seconds, ours.resident_mb
            );
        }
        if program.mode == "restart" {
            table.limited("restart, ours on our broker", ours.restart_seconds, "s", 1.0);
        }
    }
    Ok(())
}

fn rows(table: &mut Table, text: &str, program: Program<'_>, ours: Best, peer: Best) {
    if !program.has_peer() {
        let name = "clean restart with 100,000 rows, start to first record";
        table.limited(name, ours.restart_seconds, "s", 1.0);
        return;
    }
    table.rates(
        &format!("{text}, both on Kafka, records/s"),
        ours.rate,
        peer.rate,
        program.asked(),
    );
    table.costs(
        &format!("{text}, CPU"),
        ours.cpu_seconds,
        peer.cpu_seconds,
        "s",
        Asked::AtMost(1.0 / 3.0),
    );
    table.costs(
        &format!("{text}, resident memory"),
        ours.resident_mb,
        peer.resident_mb,
        "MB",
        Asked::AtMost(0.2),
    );
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

fn kafka_streams(bootstrap: &str, records: u64, program: Program<'_>) -> Result<Best> {
    let arguments = [bootstrap, &records.to_string(), program.mode, program.guarantee];
    parse(&script("streams-bench.sh", &arguments)?, program.mode)
}

/// Creates the topics and writes the standard load; the script does both when they are missing.
fn load(bootstrap: &str, records: u64) -> Result<()> {
    script("streams-bench.sh", &[bootstrap, &records.to_string(), " "]).map(drop)
}

/// Our program in a process of its own, so that its CPU seconds and memory are its own.
fn tidemill(bootstrap: &str, records: u64, program: Program<'_>) -> Result<Best> {
    let output = Command::new(std::env::current_exe()?)
        .args(["run", program.mode, "--records", &records.to_string()])
        .args(["--bootstrap", bootstrap, "--guarantee", program.guarantee])
        .output()
        .context("the program could not be started")?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            program.mode,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&String::from_utf8(output.stdout)?, program.mode)
}

/// Both sides print `… MODE … rate=R/s … cpu=C s … rss=K K`; a restore and a restart print a line of their own before it.
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
    let restart = line("restart seconds=").and_then(|line| field(line, "seconds"));
    eprintln!("  {}", rate_line.trim());
    Ok(Best {
        rate,
        cpu_seconds: field(whole, "cpu").unwrap_or_default(),
        resident_mb: field(whole, "rss").unwrap_or_default() * 1024.0 / 1e6,
        restart_seconds: restart.unwrap_or(f64::NAN),
    })
}
