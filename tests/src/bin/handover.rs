//! `handover BOOTSTRAP GUARANTEE WORK JAVA…`: an application handed over between Kafka Streams, which the command
//! `JAVA…` runs, and us; exit code 1 when what came out is not what one program alone would have said.
//! `handover worker …` is our side of it.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tidemill_tests::handover::{Handover, Program, run};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && first == "worker"
    {
        Program::parse(rest)?.run().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let [bootstrap, guarantee, work, java @ ..] = &words[..] else {
        bail!("handover BOOTSTRAP GUARANTEE WORK JAVA…");
    };
    let ours = std::env::current_exe()?;
    let told = run(&Handover {
        bootstrap: bootstrap.clone(),
        guarantee: guarantee.clone(),
        work: work.into(),
        java: java.to_vec(),
        ours: vec![
            ours.to_str().context("a path in UTF-8")?.to_owned(),
            "worker".to_owned(),
        ],
    })
    .await?;
    for line in &told.done {
        println!("ok {line}");
    }
    for line in told.complaints.iter().take(20) {
        println!("{line}");
    }
    Ok(if told.complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
