//! Runs an example by its name.

use std::path::Path;

use anyhow::Result;
use tidemill_examples::{access_log, alerts, payments, rate_limit, recommend, visits, word_count};

const USAGE: &str = "\
usage: cargo run --release -p tidemill-examples -- NAME [FILE]

  word-count [FILE]   how many times was each word said?
  access-log [FILE]   what does an nginx access log say?
  alerts              when does a machine become too busy?
  visits              how long do users stay?
  rate-limit          who asks too often?
  payments            which orders are paid?
  recommend           what should a reader read next?

Without FILE each runs on a sample of its own. BOOTSTRAP_SERVERS names a cluster; without it a broker starts in the process.";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = match *arguments {
        ["word-count"] => word_count::run(None).await,
        ["word-count", file] => word_count::run(Some(Path::new(file))).await,
        ["access-log"] => access_log::run(None).await,
        ["access-log", file] => access_log::run(Some(Path::new(file))).await,
        ["alerts"] => alerts::run().await,
        ["visits"] => visits::run().await,
        ["rate-limit"] => rate_limit::run().await,
        ["payments"] => payments::run().await,
        ["recommend"] => recommend::run().await,
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }?;
    print!("{report}");
    Ok(())
}
