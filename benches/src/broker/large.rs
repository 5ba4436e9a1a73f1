//! Whether a log gets slower as it grows: the same appends and fetches on a topic with 1 MB and on one with 20 GB, in turn.

use anyhow::Result;

use super::replay::{Pace, fetch_from, produce};
use super::{Options, freshen_page_cache};
use crate::peers::Server;
use crate::table::{Asked, Table, percentile};
use crate::wire::Connection;

/// What a round appends and reads: short, so that whatever else the machine does meets as many rounds of both.
const ROUND_BYTES: u64 = 100_000_000;
const ROUNDS: usize = 30;
/// The better quarter of the rounds counts: what else the machine does, and memory that a virtual one has to get from its
/// host first, can only slow a round down, and by more than what is looked for.
const BETTER_QUARTER: usize = 75;
const SMALL_BYTES: u64 = 1_000_000;
const FULL: &str = "large-full";
/// Written and deleted before each round.
const FRESH_BYTES: u64 = 150_000_000;

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let server = Server::tidemill(&[])?;
    produce(&server, FULL, options.large_gb * 1_000_000_000)?;
    let (mut large, mut small) = (Paces::default(), Paces::default());
    for place in 0..ROUNDS {
        // The small log is a new one each time, or it would not stay small.
        let new = format!("large-small-{place}");
        produce(&server, &new, SMALL_BYTES)?;
        // Whatever the second round of a pair inherits from the first, both inherit it as often.
        if place % 2 == 0 {
            large.round(&server, FULL)?;
            small.round(&server, &new)?;
        } else {
            small.round(&server, &new)?;
            large.round(&server, FULL)?;
        }
    }
    for (what, large, small) in [
        ("append", large.appends, small.appends),
        ("fetch", large.fetches, small.fetches),
    ] {
        let name = format!("{what}, log of {} GB beside one of 1 MB", options.large_gb);
        let of = |paces: &[Pace], figure: fn(&Pace) -> f64, percent| {
            let mut figures: Vec<f64> = paces.iter().map(figure).collect();
            percentile(&mut figures, percent).unwrap_or(f64::NAN)
        };
        table.rates(
            &format!("{name}, records/s"),
            of(&large, |pace| pace.records_per_second, BETTER_QUARTER),
            of(&small, |pace| pace.records_per_second, BETTER_QUARTER),
            Asked::AtLeast(0.95),
        );
        table.costs(
            &format!("{name}, CPU"),
            of(&large, |pace| pace.cpu_per_gb, 100 - BETTER_QUARTER),
            of(&small, |pace| pace.cpu_per_gb, 100 - BETTER_QUARTER),
            "s/GB",
            Asked::Nothing,
        );
    }
    Ok(())
}

/// The rounds on one of the logs.
#[derive(Default)]
struct Paces {
    appends: Vec<Pace>,
    fetches: Vec<Pace>,
}

impl Paces {
    /// Appends, and reads what was appended.
    fn round(&mut self, server: &Server, topic: &str) -> Result<()> {
        rustix::fs::sync();
        freshen_page_cache(FRESH_BYTES)?;
        let before = Connection::open(&server.address)?.ends(topic)?;
        self.appends.push(produce(server, topic, ROUND_BYTES)?);
        self.fetches.push(fetch_from(server, topic, before)?);
        Ok(())
    }
}
