//! `oracle FILE…` runs the oracle's cases in these files: one line a failing case, and a last line that counts.
//!
//! `--rocksdb` keeps the state in RocksDB instead of memory.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tidemill_tests::oracle::{difference, in_memory, in_rocksdb, read_cases, run};

fn main() -> Result<ExitCode> {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let rocksdb = flags.iter().any(|flag| flag == "--rocksdb");
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
        for case in read_cases(&text).with_context(|| file.clone())? {
            let outcome = if rocksdb {
                run(&case, &in_rocksdb)
            } else {
                run(&case, &in_memory)
            };
            let complaint = match outcome {
                Ok(outcome) => difference(&case, &outcome),
                Err(error) => Some(format!("{error:#}")),
            };
            match complaint {
                None => passed += 1,
                Some(complaint) => {
                    failed += 1;
                    println!("{}: {complaint}", case.name);
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
