//! `faults BOOTSTRAP|own GUARANTEE [ROUNDS] [SEED]`: three instances, one killed in each round; exit code 1 when what
//! came out is not what was promised. `own` starts a broker in this process.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tidemill::broker::{Broker, BrokerConfig};
use tidemill_tests::faults::{Faults, Guarantee, Membership, Worker, run};

const ROUNDS: u32 = 50;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_level())
        .init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, rest)) if first == "worker" => {
            Worker::parse(rest)?.run().await?;
            Ok(ExitCode::SUCCESS)
        }
        _ => faults(&words).await,
    }
}

fn tracing_level() -> tracing_subscriber::filter::LevelFilter {
    std::env::var("TIDEMILL_LOG")
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(tracing_subscriber::filter::LevelFilter::WARN)
}

async fn faults(words: &[String]) -> Result<ExitCode> {
    let word = |at: usize| words.get(at).map(String::as_str);
    let guarantee = Guarantee::parse(word(1).context("faults BOOTSTRAP|own GUARANTEE [ROUNDS] [SEED]")?)?;
    let broker = match word(0) {
        Some("own") => Some(Broker::start(BrokerConfig::embedded()).await?),
        _ => None,
    };
    let bootstrap = match &broker {
        Some(broker) => broker.bootstrap().to_owned(),
        None => word(0).unwrap_or_default().to_owned(),
    };
    let faults = Faults {
        program: std::env::current_exe()?,
        bootstrap,
        guarantee,
        membership: Membership::Dynamic,
        instances: 3,
        rounds: word(2).map_or(Ok(ROUNDS), str::parse)?,
        records_a_round: 3_000,
        seed: word(3).map_or(Ok(1), str::parse)?,
    };
    let verdict = run(&faults).await?;
    let complaints = verdict.complaints(guarantee);
    for complaint in &complaints {
        println!("{complaint}");
    }
    let extra: u64 = verdict.copies.values().map(|times| times - 1).sum();
    println!(
        "{} records, {} kills, {}: {} complaints, {extra} copies more than records",
        verdict.written,
        faults.rounds,
        guarantee.setting(),
        complaints.len()
    );
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
