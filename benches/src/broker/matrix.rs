//! `ProducerPerformance` and `ConsumerPerformance` over sizes, acks and codecs.

use anyhow::{Context, Result};

use super::Options;
use super::tools::{Load, Round, round};
use crate::table::{Asked, Table};

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let mut loads = Vec::new();
    for record_bytes in [200, 1024] {
        for acks in ["1", "all"] {
            for codec in ["none", "lz4"] {
                loads.push(Load {
                    // As many bytes in each.
                    records: options.records * 200 / record_bytes,
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
        let peer = |of: fn(&Round) -> f64| peer.map_or(f64::NAN, of);
        let name = format!("{} B, acks={}, {}", load.record_bytes, load.acks, load.codec);
        table.rates(
            &format!("{name}: produce, records/s"),
            our.produce,
            peer(|p| p.produce),
            Asked::AtLeast(1.2),
        );
        table.costs(
            &format!("{name}: produce, broker CPU"),
            our.produce_cpu_per_gb,
            peer(|p| p.produce_cpu_per_gb),
            "s/GB",
            Asked::AtMost(1.0 / 3.0),
        );
        table.rates(
            &format!("{name}: consume, records/s"),
            our.consume,
            peer(|p| p.consume),
            Asked::AtLeast(1.2),
        );
        table.costs(
            &format!("{name}: consume, broker CPU"),
            our.consume_cpu_per_gb,
            peer(|p| p.consume_cpu_per_gb),
            "s/GB",
            Asked::AtMost(1.0 / 3.0),
        );
    }
    Ok(())
}
