//! Whether a log gets slower as it grows: the same appends and reads on a topic with 1 MB and on one with 20 GB, in turn.

use anyhow::Result;

use super::Options;
use super::replay::{Pace, fetch_from, produce};
use crate::peers::Server;
use crate::table::{Asked, Table, median};
use crate::wire::Connection;

/// What a round appends and reads: short, so that whatever else the machine does meets as many rounds of both.
const ROUND_BYTES: u64 = 100_000_000;
const ROUNDS: usize = 15;
const SMALL_BYTES: u64 = 1_000_000;
const FULL: &str = "large-full";

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let server = Server::tidemill(&[])?;
    produce(&server, FULL, options.large_gb * 1_000_000_000)?;
    let (mut large, mut small) = (Rates::default(), Rates::default());
    for place in 0..ROUNDS {
        // The small log is a new one each time, or it would not stay small.
        let new = format!("large-small-{place}");
        produce(&server, &new, SMALL_BYTES)?;
        // Who comes second finds what the first left to be written to the disk, so they take turns.
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
        table.rates(
            &format!(
                "{what}, records/s, log of {} GB beside one of 1 MB",
                options.large_gb
            ),
            median(large),
            median(small),
            Asked::AtLeast(0.95),
        );
    }
    Ok(())
}

/// Records a second of each round.
#[derive(Default)]
struct Rates {
    appends: Vec<f64>,
    fetches: Vec<f64>,
}

impl Rates {
    /// Appends, and reads what was appended.
    fn round(&mut self, server: &Server, topic: &str) -> Result<()> {
        rustix::fs::sync();
        let before = Connection::open(&server.address)?.ends(topic)?;
        let rate = |pace: Pace| pace.records_per_second;
        self.appends.push(rate(produce(server, topic, ROUND_BYTES)?));
        self.fetches.push(rate(fetch_from(server, topic, before)?));
        Ok(())
    }
}
