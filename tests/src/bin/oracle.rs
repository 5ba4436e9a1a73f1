//! `oracle FILE…` runs the oracle's cases in these files: one line a failing case, and a last line that counts.
//!
//! `--rocksdb` keeps the state in RocksDB instead of memory. `--restart` closes the task after every third step and
//! restores it from its changelogs; cases that rest on what no changelog holds are then named and left out.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tidemill_tests::oracle::{
    OpenStore, Restarts, difference, forgets_at_restart, in_memory, in_rocksdb, read_cases, run,
};

fn main() -> Result<ExitCode> {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let (mut open, mut restarts): (OpenStore, _) = (&in_memory, Restarts::Never);
    for flag in &flags {
        match flag.as_str() {
            "--rocksdb" => open = &in_rocksdb,
            "--restart" => restarts = Restarts::EveryThirdStep,
            unknown => bail!("{unknown} is no flag of this program: it knows --rocksdb and --restart"),
        }
    }
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
        for case in read_cases(&text).with_context(|| file.clone())? {
            if restarts != Restarts::Never && forgets_at_restart(&case) {
                println!("{}: left out, a restart changes it", case.name);
                continue;
            }
            let complaint = match run(&case, open, restarts) {
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
