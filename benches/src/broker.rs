//! The broker beside Apache Kafka: the same tools of Kafka's load both, round by round in turn.

use anyhow::{Context, Result};

use crate::peers::{Server, tool};
use crate::process::usage;
use crate::ready;
use crate::table::{Table, median};

/// What to measure, and how much of it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Records a round of producing and of consuming.
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    /// Rounds of each; the median counts, after one that warms up.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Records of a round of EndToEndLatency.
    #[arg(long, default_value_t = 5_000)]
    latency_records: u64,
}

const RECORD_BYTES: u64 = 200;

/// One server's medians.
struct Figures {
    produce: f64,
    produce_cpu_per_gb: f64,
    consume: f64,
    consume_cpu_per_gb: f64,
    resident_mb: f64,
    latency: [Latency; 2],
}

struct Latency {
    mean_ms: f64,
    p99_ms: f64,
}

/// Measures both brokers and prints the table.
pub(crate) fn measure(options: &Options) -> Result<()> {
    let ours = {
        let server = Server::tidemill()?;
        figures(&server, options)?
    };
    let peers = {
        let server = Server::kafka()?;
        figures(&server, options)?
    };
    let mut table = Table::default();
    table.rates(
        "produce, 200 bytes, acks=1, records/s",
        ours.produce,
        peers.produce,
    );
    table.costs(
        "produce, broker CPU",
        ours.produce_cpu_per_gb,
        peers.produce_cpu_per_gb,
        "s/GB",
    );
    table.rates("consume, records/s", ours.consume, peers.consume);
    table.costs(
        "consume, broker CPU",
        ours.consume_cpu_per_gb,
        peers.consume_cpu_per_gb,
        "s/GB",
    );
    table.costs(
        "resident memory after it",
        ours.resident_mb,
        peers.resident_mb,
        "MB",
    );
    for (place, acks) in ["1", "all"].iter().enumerate() {
        let (our, peer) = (ours.latency.get(place), peers.latency.get(place));
        let (our, peer) = our.zip(peer).context("both were measured")?;
        table.costs(
            &format!("end to end, acks={acks}, mean"),
            our.mean_ms,
            peer.mean_ms,
            "ms",
        );
        table.costs(
            &format!("end to end, acks={acks}, p99"),
            our.p99_ms,
            peer.p99_ms,
            "ms",
        );
    }
    ready::measure(&mut table)?;
    println!("\n{}", table.markdown("Tidemill", "Apache Kafka"));
    Ok(())
}

fn figures(server: &Server, options: &Options) -> Result<Figures> {
    let gigabytes = (options.records * RECORD_BYTES) as f64 / 1e9;
    let (mut produce, mut produce_cpu, mut consume, mut consume_cpu) = (vec![], vec![], vec![], vec![]);
    for round in 0..=options.rounds {
        let topic = format!("perf-{round}");
        create(server, &topic)?;
        let before = usage(server.pid)?.cpu_seconds;
        let sent = produce_round(server, &topic, options.records)?;
        let between = usage(server.pid)?.cpu_seconds;
        let read = consume_round(server, &topic, options.records)?;
        let after = usage(server.pid)?.cpu_seconds;
        eprintln!(
            "{} round {round}: produce {sent:.0}/s, consume {read:.0}/s",
            server.name
        );
        if round > 0 {
            produce.push(sent);
            consume.push(read);
            produce_cpu.push((between - before) / gigabytes);
            consume_cpu.push((after - between) / gigabytes);
        }
    }
    let latency = [latency(server, "1", options)?, latency(server, "all", options)?];
    Ok(Figures {
        produce: median(produce),
        produce_cpu_per_gb: median(produce_cpu),
        consume: median(consume),
        consume_cpu_per_gb: median(consume_cpu),
        resident_mb: usage(server.pid)?.resident_bytes as f64 / 1e6,
        latency,
    })
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

fn produce_round(server: &Server, topic: &str, records: u64) -> Result<f64> {
    let printed = tool(
        "org.apache.kafka.tools.ProducerPerformance",
        &[
            "--topic",
            topic,
            "--num-records",
            &records.to_string(),
            "--record-size",
            &RECORD_BYTES.to_string(),
            "--throughput",
            "-1",
            "--producer-props",
            &format!("bootstrap.servers={}", server.address),
            "acks=1",
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
