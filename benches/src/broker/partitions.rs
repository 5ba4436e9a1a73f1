//! 10,000 partitions: how long a start after a clean stop takes, and how much memory.

use std::time::Instant;

use anyhow::Result;

use super::ready::first_metadata;
use crate::peers::Server;
use crate::process::usage;
use crate::table::{Table, median};
use crate::wire::Connection;

const TOPICS: usize = 10;
const PARTITIONS: i32 = 1_000;
const STARTS: usize = 5;

pub(super) fn measure(table: &mut Table) -> Result<()> {
    let mut server = Server::tidemill(&[])?;
    for topic in 0..TOPICS {
        Connection::open(&server.address)?.create(&format!("many-{topic}"), PARTITIONS, &[])?;
    }
    let mut seconds = Vec::new();
    for _ in 0..STARTS {
        let stopped = server.stop_cleanly()?;
        let begin = Instant::now();
        server = stopped.start()?;
        first_metadata(&server.address)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    table.limited(
        "10,000 partitions, clean start to first Metadata",
        median(seconds),
        "s",
        1.0,
    );
    let resident = usage(server.pid)?.resident_bytes as f64 / 1e6;
    table.limited("10,000 partitions, resident memory", resident, "MB", 200.0);
    Ok(())
}
