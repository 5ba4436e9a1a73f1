//! The streams library beside Kafka Streams: the same load, the same programs, on Apache Kafka as the broker for both,
//! and ours on our own broker as well.

mod compile;
mod driver;
mod latency;
mod programs;

use anyhow::Result;

use crate::table::Table;

/// What to measure, and how much of it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these, separated by commas; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Records of topic `events`.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Which programs: map, count, window, join, restore, restart; with `/eos` behind it exactly-once.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "map,count,window,join,count/eos,window/eos,restore,restart"
    )]
    programs: Vec<String>,
    /// Rounds of each; the best of each side counts, since a JVM's first round is slow.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Ours alone, on our own broker.
    #[arg(long)]
    alone: bool,
}

/// One group of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// Programs over the standard load.
    Programs,
    /// From a record to its count at 10,000 records a second.
    Latency,
    /// Records a second through `TestDriver`.
    Driver,
    /// How long a topology of 100 operators compiles.
    Compile,
}

const ALL: [Section; 4] = [
    Section::Programs,
    Section::Latency,
    Section::Driver,
    Section::Compile,
];

/// Measures and prints the table.
pub(crate) fn measure(options: &Options) -> Result<()> {
    let sections = if options.only.is_empty() {
        &ALL[..]
    } else {
        &options.only
    };
    let mut table = Table::default();
    for section in sections {
        match section {
            Section::Programs => programs::measure(options, &mut table)?,
            Section::Latency => latency::measure(options, &mut table)?,
            Section::Driver => driver::measure(&mut table)?,
            Section::Compile => compile::measure(&mut table)?,
        }
    }
    println!("\n{}", table.markdown("Tidemill", "Kafka Streams"));
    Ok(())
}
