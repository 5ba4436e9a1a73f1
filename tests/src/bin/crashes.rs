//! `crashes [ROUNDS] [SEED]`: a broker as a process, killed with signal 9 in each round under load; exit code 1 when
//! something was lost, doubled, or shown that should not be. `crashes broker DIR LISTEN` is that process.

use std::process::ExitCode;

use anyhow::Result;
use tidemill_tests::crashes::{Crashes, run, serve};

const ROUNDS: u32 = 100;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, dir, listen] = &words[..]
        && first == "broker"
    {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(serve(dir, listen))?;
        return Ok(ExitCode::SUCCESS);
    }
    let word = |at: usize| words.get(at).map(String::as_str);
    let verdict = run(&Crashes {
        program: std::env::current_exe()?,
        rounds: word(0).map_or(Ok(ROUNDS), str::parse)?,
        seed: word(1).map_or(Ok(1), str::parse)?,
    })?;
    for complaint in verdict.complaints.iter().take(20) {
        println!("{complaint}");
    }
    println!(
        "{} numbers, {} transactions committed, {} aborted, {} unknown: {} complaints",
        verdict.numbers,
        verdict.committed,
        verdict.aborted,
        verdict.unknown,
        verdict.complaints.len()
    );
    Ok(if verdict.complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
