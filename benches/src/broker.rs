//! The broker beside Apache Kafka, section by section: the same clients load both, in the same run.

mod compaction;
mod footprint;
mod large;
mod matrix;
mod paced;
mod partitions;
mod ready;
mod replay;
mod requests;
mod tools;

use anyhow::Result;

use crate::peers::Server;
use crate::table::Table;

/// What to measure, and how much of it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these sections, separated by commas; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Our broker alone, without Apache Kafka beside it.
    #[arg(long)]
    alone: bool,
    /// Records a round of producing and of consuming with Kafka's tools.
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    /// Rounds of each; the median counts, after one that warms up.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Records of a round of `EndToEndLatency`.
    #[arg(long, default_value_t = 5_000)]
    latency_records: u64,
    /// Gigabytes that a replay of encoded requests writes and reads.
    #[arg(long, default_value_t = 2)]
    replay_gb: u64,
    /// Requests of one record each, over 32 connections.
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// Gigabytes in the log that is compared with a small one.
    #[arg(long, default_value_t = 20)]
    large_gb: u64,
    /// Megabytes in the log that is compacted.
    #[arg(long, default_value_t = 1_000)]
    compacted_mb: u64,
    /// Keys in it.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
}

/// One group of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// `ProducerPerformance`, `ConsumerPerformance` and `EndToEndLatency`.
    Tools,
    /// The first two with 200 bytes and 1 KiB, acks=1 and all, none and lz4.
    Matrix,
    /// Encoded Produce requests and Fetches, in bytes and records a second.
    Replay,
    /// Requests of one record over 32 connections.
    Requests,
    /// From producer to consumer at 100 and 1,000 records a second.
    Paced,
    /// A log of 1 MB beside one of many gigabytes.
    Large,
    /// Compaction of a log in which each key was written many times.
    Compaction,
    /// 10,000 partitions.
    Partitions,
    /// Memory at rest, size of the binary.
    Footprint,
    /// From nothing to the first answer.
    Ready,
}

const ALL: [Section; 10] = [
    Section::Tools,
    Section::Matrix,
    Section::Replay,
    Section::Requests,
    Section::Paced,
    Section::Large,
    Section::Compaction,
    Section::Partitions,
    Section::Footprint,
    Section::Ready,
];

/// Measures both brokers and prints the table.
pub(crate) fn measure(options: &Options) -> Result<()> {
    let sections = if options.only.is_empty() {
        &ALL[..]
    } else {
        &options.only
    };
    let mut table = Table::default();
    for section in sections {
        match section {
            Section::Tools => tools::measure(options, &mut table)?,
            Section::Matrix => matrix::measure(options, &mut table)?,
            Section::Replay => replay::measure(options, &mut table)?,
            Section::Requests => requests::measure(options, &mut table)?,
            Section::Paced => paced::measure(options, &mut table)?,
            Section::Large => large::measure(options, &mut table)?,
            Section::Compaction => compaction::measure(options, &mut table)?,
            Section::Partitions => partitions::measure(&mut table)?,
            Section::Footprint => footprint::measure(&mut table)?,
            Section::Ready => ready::measure(&mut table)?,
        }
    }
    println!("\n{}", table.markdown("Tidemill", "Apache Kafka"));
    Ok(())
}

impl Options {
    /// Measures our broker, then Kafka unless it is left out.
    fn both<F>(&self, figures: impl FnMut(&Server) -> Result<F>) -> Result<(F, Option<F>)> {
        self.both_with(&[], figures)
    }

    /// As [`both`](Self::both), each with more settings.
    fn both_with<F>(
        &self,
        settings: &[&str],
        mut figures: impl FnMut(&Server) -> Result<F>,
    ) -> Result<(F, Option<F>)> {
        let ours = figures(&Server::tidemill(settings)?)?;
        let peers = if self.alone {
            None
        } else {
            Some(figures(&Server::kafka(settings)?)?)
        };
        Ok((ours, peers))
    }
}

/// Writes `bytes` and deletes them, so that the kernel has memory that was page cache a moment ago: what it has not
/// touched lately costs a virtual machine several times as much, and who meets how much of that would be left to chance.
fn freshen_page_cache(bytes: u64) -> Result<()> {
    use std::io::Write;
    let mut file = tempfile::tempfile()?;
    let piece = vec![1; 1 << 20];
    for _ in 0..bytes >> 20 {
        file.write_all(&piece)?;
    }
    Ok(())
}
