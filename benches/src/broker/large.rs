//! Whether a log gets slower as it grows: the same appends and reads on a topic with 1 MB and on one with gigabytes.

use anyhow::Result;

use super::Options;
use super::replay::{Pace, fetch_from, produce};
use crate::peers::Server;
use crate::table::{Asked, Table, median};
use crate::wire::Connection;

/// What a round appends and reads.
const ROUND_BYTES: u64 = 300_000_000;
const ROUNDS: usize = 5;
const SMALL: &str = "large-small";
const FULL: &str = "large-full";

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let server = Server::tidemill()?;
    produce(&server, SMALL, 1_000_000)?;
    produce(&server, FULL, options.large_gb * 1_000_000_000)?;
    let (mut appends, mut reads) = ((vec![], vec![]), (vec![], vec![]));
    for _ in 0..ROUNDS {
        let (append, read) = round(&server, FULL)?;
        appends.0.push(append.cpu_per_gb);
        reads.0.push(read.cpu_per_gb);
        // The small log is a new one each time, or it would not stay small.
        let small = format!("{SMALL}-{}", appends.1.len());
        produce(&server, &small, 1_000_000)?;
        let (append, read) = round(&server, &small)?;
        appends.1.push(append.cpu_per_gb);
        reads.1.push(read.cpu_per_gb);
    }
    for (what, (large, small)) in [("append", appends), ("read", reads)] {
        table.costs(
            &format!("{what}, CPU, log of {} GB beside one of 1 MB", options.large_gb),
            median(large),
            median(small),
            "s/GB",
            Asked::AtMost(1.05),
        );
    }
    Ok(())
}

/// Appends and reads what was appended.
fn round(server: &Server, topic: &str) -> Result<(Pace, Pace)> {
    let before = Connection::open(&server.address)?.ends(topic)?;
    let append = produce(server, topic, ROUND_BYTES)?;
    Ok((append, fetch_from(server, topic, before)?))
}
