//! `ProducerPerformance` and `ConsumerPerformance` over sizes, acks and codecs.

use anyhow::{Context, Result};

use super::Options;
use super::tools::{Load, Round, round};
use crate::table::Table;

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let mut loads = Vec::new();
    for record_bytes in [200, 1024] {
        for acks in ["1", "all"] {
            for codec in ["none", "lz4"] {
                loads.push(Load {
                    // As many bytes in each, and half as many as a round of the tools: there are nine.
                    records: options.records * 100 / record_bytes,
                    record_bytes,
                    acks,
                    codec,
                });
            }
        }
    }
    let (ours, peers) = options.both(|server| {
        // One round that does not count: a JVM compiles what is called often.
        loads
            .iter()
            .take(1)
            .try_for_each(|load| round(server, "matrix-warm", load).map(drop))?;
        let rounds = loads.iter().enumerate();
        rounds
            .map(|(place, load)| round(server, &format!("matrix-{place}"), load))
            .collect::<Result<Vec<Round>>>()
    })?;
    for (place, load) in loads.iter().enumerate() {
        let our = ours.get(place).context("a round a load")?;
        let peer = peers.as_ref().and_then(|peers| peers.get(place));
        let name = format!("{} B, acks={}, {}", load.record_bytes, load.acks, load.codec);
        our.produce
            .rows(&format!("{name}: produce"), peer.map(|peer| peer.produce), table);
        our.consume
            .rows(&format!("{name}: consume"), peer.map(|peer| peer.consume), table);
    }
    Ok(())
}
