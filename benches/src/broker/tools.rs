//! Kafka's own tools as the clients: `ProducerPerformance`, `ConsumerPerformance`, `EndToEndLatency`.

use anyhow::{Context, Result};

use super::{Options, freshen_page_cache};
use crate::peers::{Server, tool};
use crate::process::usage;
use crate::table::{Asked, Table, median};

/// What is produced and consumed in a round.
pub(super) struct Load {
    pub(super) records: u64,
    pub(super) record_bytes: u64,
    pub(super) acks: &'static str,
    pub(super) codec: &'static str,
}

/// One direction of a round.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    /// Records a second.
    rate: f64,
    /// CPU seconds of the broker per gigabyte of values.
    cpu_per_gb: f64,
    /// The part of one core that the broker used meanwhile.
    busy: f64,
}

pub(super) struct Round {
    pub(super) produce: Flow,
    pub(super) consume: Flow,
}

/// A broker that leaves more than half a core idle is not what its client waits for.
const CLIENT_BOUND_BUSY: f64 = 0.5;
/// Where the client sets the pace, the rates are the same but for what two rounds of it differ by.
const CLIENT_BOUND_RATIO: f64 = 0.95;

impl Flow {
    fn of(load: &Load, rate: f64, cpu_seconds: f64) -> Flow {
        let gigabytes = (load.records * load.record_bytes) as f64 / 1e9;
        Flow {
            rate,
            cpu_per_gb: cpu_seconds / gigabytes,
            busy: cpu_seconds * rate / load.records as f64,
        }
    }

    /// Adds the rows of one direction: rate, CPU, and how busy the broker was, which tells whose pace it is.
    pub(super) fn rows(self, name: &str, peer: Option<Flow>, table: &mut Table) {
        let of_peer = |of: fn(&Flow) -> f64| peer.as_ref().map_or(f64::NAN, of);
        let (name, least) = if self.busy < CLIENT_BOUND_BUSY {
            // It waited for the broker at most while that was at work.
            let alone = self.rate / (1.0 - self.busy);
            table.measured(
                &format!("{name}, the client alone at most, records/s"),
                alone / 1e3,
                f64::NAN,
                "k/s",
                Asked::Nothing,
            );
            (format!("{name}, as fast as the client"), CLIENT_BOUND_RATIO)
        } else {
            (name.to_owned(), 1.2)
        };
        table.rates(
            &format!("{name}, records/s"),
            self.rate,
            of_peer(|peer| peer.rate),
            Asked::AtLeast(least),
        );
        table.costs(
            &format!("{name}, broker CPU"),
            self.cpu_per_gb,
            of_peer(|peer| peer.cpu_per_gb),
            "s/GB",
            Asked::AtMost(1.0 / 3.0),
        );
        table.measured(
            &format!("{name}, broker busy, of a core"),
            self.busy,
            of_peer(|peer| peer.busy),
            "",
            Asked::Nothing,
        );
    }
}

/// One server's medians.
struct Figures {
    median: Round,
    resident_mb: f64,
    latency: [Latency; 2],
}

struct Latency {
    mean_ms: f64,
    p99_ms: f64,
}

const RECORD_BYTES: u64 = 200;

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let (ours, peers) = options.both(|server| figures(server, options))?;
    let peer = |of: fn(&Figures) -> f64| peers.as_ref().map_or(f64::NAN, of);
    let both = |of: fn(&Round) -> Flow| (of(&ours.median), peers.as_ref().map(|peers| of(&peers.median)));
    let (our, peers_own) = both(|round| round.produce);
    our.rows("produce, 200 bytes, acks=1", peers_own, table);
    let (our, peers_own) = both(|round| round.consume);
    our.rows("consume, 200 bytes", peers_own, table);
    table.measured(
        "resident memory after it",
        ours.resident_mb,
        peer(|p| p.resident_mb),
        "MB",
        Asked::AtMost(100.0),
    );
    for (place, acks) in ["1", "all"].iter().enumerate() {
        let our = ours.latency.get(place).context("both were measured")?;
        let peer = peers.as_ref().and_then(|peers| peers.latency.get(place));
        let peer = |of: fn(&Latency) -> f64| peer.map_or(f64::NAN, of);
        for (what, our, peer) in [
            ("mean", our.mean_ms, peer(|p| p.mean_ms)),
            ("p99", our.p99_ms, peer(|p| p.p99_ms)),
        ] {
            let name = format!("end to end, acks={acks}, {what}");
            table.costs(&name, our, peer, "ms", Asked::AtMost(1.0));
        }
    }
    Ok(())
}

fn figures(server: &Server, options: &Options) -> Result<Figures> {
    let load = Load {
        records: options.records,
        record_bytes: RECORD_BYTES,
        acks: "1",
        codec: "none",
    };
    let mut rounds = Vec::new();
    for place in 0..=options.rounds {
        let one = round(server, &format!("perf-{place}"), &load)?;
        if place > 0 {
            rounds.push(one);
        }
    }
    let latency = [latency(server, "1", options)?, latency(server, "all", options)?];
    let of = |flow: fn(&Round) -> Flow| {
        let middle = |pick: fn(&Flow) -> f64| median(rounds.iter().map(|round| pick(&flow(round))).collect());
        Flow {
            rate: middle(|flow| flow.rate),
            cpu_per_gb: middle(|flow| flow.cpu_per_gb),
            busy: middle(|flow| flow.busy),
        }
    };
    Ok(Figures {
        median: Round {
            produce: of(|round| round.produce),
            consume: of(|round| round.consume),
        },
        resident_mb: usage(server.pid)?.resident_bytes as f64 / 1e6,
        latency,
    })
}

/// Produces a load to a new topic, then consumes it.
pub(super) fn round(server: &Server, topic: &str, load: &Load) -> Result<Round> {
    create(server, topic)?;
    // As much again for the client's heap.
    freshen_page_cache(2 * load.records * load.record_bytes)?;
    let before = usage(server.pid)?.cpu_seconds;
    let produce = produce_round(server, topic, load)?;
    let between = usage(server.pid)?.cpu_seconds;
    let consume = consume_round(server, topic, load.records)?;
    let after = usage(server.pid)?.cpu_seconds;
    let round = Round {
        produce: Flow::of(load, produce, between - before),
        consume: Flow::of(load, consume, after - between),
    };
    eprintln!(
        "{} {topic}: produce {produce:.0}/s {:.3} s/GB, consume {consume:.0}/s {:.3} s/GB",
        server.name, round.produce.cpu_per_gb, round.consume.cpu_per_gb
    );
    Ok(round)
}

fn create(server: &Server, topic: &str) -> Result<()> {
    let arguments = [
        "--bootstrap-server",
        &server.address,
        "--create",
        "--topic",
        topic,
        "--partitions",
        "3",
    ];
    tool("org.apache.kafka.tools.TopicCommand", &arguments).map(drop)
}

fn produce_round(server: &Server, topic: &str, load: &Load) -> Result<f64> {
    let printed = tool(
        "org.apache.kafka.tools.ProducerPerformance",
        &[
            "--topic",
            topic,
            "--num-records",
            &load.records.to_string(),
            "--record-size",
            &load.record_bytes.to_string(),
            "--throughput",
            "-1",
            "--producer-props",
            &format!("bootstrap.servers={}", server.address),
            &format!("acks={}", load.acks),
            &format!("compression.type={}", load.codec),
            "batch.size=131072",
            "linger.ms=5",
        ],
    )?;
    // "5000000 records sent, 1000000.0 records/sec (190.7 MB/sec), ..."; the last line sums up.
    let line = printed
        .lines()
        .rfind(|line| line.contains("records sent"))
        .context("no summary")?;
    let rate = line
        .split("records sent, ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    Ok(rate.context("no rate")?.replace(',', ".").parse()?)
}

fn consume_round(server: &Server, topic: &str, records: u64) -> Result<f64> {
    let printed = tool(
        "org.apache.kafka.tools.ConsumerPerformance",
        &[
            "--bootstrap-server",
            &server.address,
            "--topic",
            topic,
            "--messages",
            &records.to_string(),
            "--timeout",
            "60000",
            "--group",
            &format!("perf-{topic}"),
        ],
    )?;
    // A comma-separated line after its header; the fetch's own rate is the last column: it leaves out
    // the time in which the group forms.
    let line = printed
        .lines()
        .rfind(|line| line.starts_with("20"))
        .context("no figures")?;
    Ok(line.rsplit(", ").next().context("no rate")?.trim().parse()?)
}

fn latency(server: &Server, acks: &str, options: &Options) -> Result<Latency> {
    let topic = format!("latency-{acks}");
    let count = options.latency_records.to_string();
    let printed = tool(
        "org.apache.kafka.tools.EndToEndLatency",
        &[&server.address, &topic, &count, acks, &RECORD_BYTES.to_string()],
    )?;
    let after = |mark: &str| -> Result<f64> {
        let rest = printed
            .rsplit_once(mark)
            .with_context(|| format!("no {mark} in: {printed}"))?
            .1;
        let number: String = rest
            .trim_start()
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        Ok(number.parse()?)
    };
    Ok(Latency {
        mean_ms: after("Avg latency:")?,
        p99_ms: after("99th =")?,
    })
}
