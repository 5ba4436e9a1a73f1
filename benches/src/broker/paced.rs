//! How long a record takes from a producer to a waiting consumer when few come: nothing but wake-ups.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::Options;
use crate::peers::Server;
use crate::table::{Asked, Table};
use crate::wire::{Connection, batch, now_ms, produce_frame};

const RATES: [u32; 2] = [100, 1_000];
const SPAN: Duration = Duration::from_secs(5);
const RECORD_BYTES: usize = 100;

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let (ours, peers) = options.both(|server| {
        // The first round is the warm-up of a JVM.
        mean_ms(server, "paced-warm", 1_000)?;
        RATES
            .map(|rate| mean_ms(server, &format!("paced-{rate}"), rate))
            .into_iter()
            .collect::<Result<Vec<f64>>>()
    })?;
    for (place, rate) in RATES.iter().enumerate() {
        let peer = peers.as_ref().and_then(|peers| peers.get(place));
        table.measured(
            &format!("producer to consumer at {rate} records/s, mean"),
            *ours.get(place).context("a figure a rate")?,
            peer.copied().unwrap_or(f64::NAN),
            "ms",
            Asked::AtMost(1.0),
        );
    }
    Ok(())
}

/// One connection produces at a steady pace, another waits in Fetches. Both are threads of this process, so one clock
/// tells when a record was sent and when it was there; what a client adds is the same for both brokers.
fn mean_ms(server: &Server, topic: &str, rate: u32) -> Result<f64> {
    let mut producer = Connection::open(&server.address)?;
    producer.create(topic, 1, &[])?;
    let mut consumer = Connection::open(&server.address)?;
    let frame = produce_frame(topic, &[batch(&[&[b'v'; RECORD_BYTES]], now_ms())], 1)?;
    let count = SPAN.as_secs() * u64::from(rate);
    let arrivals = std::thread::scope(|scope| {
        let arrivals = scope.spawn(|| arrivals(&mut consumer, topic, count));
        let sent = departures(
            &mut producer,
            &frame,
            count,
            SPAN / rate / u32::try_from(SPAN.as_secs())?,
        )?;
        let arrived = arrivals.join().map_err(|_| anyhow!("the consumer panicked"))??;
        anyhow::Ok(sent.into_iter().zip(arrived))
    })?;
    let (mut total, mut number) = (Duration::ZERO, 0_u32);
    for (sent, arrived) in arrivals {
        total += arrived.saturating_duration_since(sent);
        number += 1;
    }
    Ok(total.as_secs_f64() * 1000.0 / f64::from(number))
}

/// When each record was sent.
fn departures(producer: &mut Connection, frame: &[u8], count: u64, pause: Duration) -> Result<Vec<Instant>> {
    let mut sent = Vec::new();
    let mut next = Instant::now() + pause;
    for _ in 0..count {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += pause;
        sent.push(Instant::now());
        producer.send(frame)?;
        producer.produced()?;
    }
    Ok(sent)
}

/// When each record was there.
fn arrivals(consumer: &mut Connection, topic: &str, count: u64) -> Result<Vec<Instant>> {
    let mut arrived = Vec::new();
    let mut offsets = [0];
    while (arrived.len() as u64) < count {
        consumer.fetch(topic, &mut offsets, 1 << 20)?;
        let now = Instant::now();
        let [next] = offsets;
        arrived.resize(usize::try_from(next)?, now);
    }
    Ok(arrived)
}
