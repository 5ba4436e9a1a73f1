//! The project's commands. `cargo xtask` lists them.
//!
//! Everything builds in the release profile and in one target folder: RocksDB is compiled once for
//! the demo, the tests, the lints and the benches alike.

mod bench;
mod codegen;
mod command;
mod interop;
mod lint;
mod setup;
mod test;
mod watch;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask demo  [-- ARGS]     the article pipeline on real input, ending with recommendations
cargo xtask test  [-- ARGS]     every test, the book's code and the documentation's examples
cargo xtask watch PROGRAM [ARGS]   runs a test program, and kills it when it hangs
cargo xtask lint                formatting, clippy with warnings as errors, house rules
cargo xtask ci                  test, then lint
cargo xtask bench broker|streams [-- ARGS]   figures beside Apache Kafka and Kafka Streams
cargo xtask faults [-- CLUSTER GUARANTEE [ROUNDS] [SEED]]   kill -9 under load, and count; without a cluster, on a broker
                                of its own, with both guarantees
cargo xtask crashes [-- ROUNDS [SEED]]   kill -9 of the broker under load, and count: a hundred rounds where none are given
cargo xtask interop [CLIENT…]   other people's clients against our broker, one line each
cargo xtask codegen [--check]   the protocol's Rust from its schemas";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((name, rest)) if name == "watch" => watch::run(rest),
        _ => run(&words).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    let (name, rest) = match words.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", words),
    };
    let rest = rest.strip_prefix(&["--".to_owned()][..]).unwrap_or(rest);
    match name {
        "demo" => demo(rest),
        "test" => test::run(rest),
        "lint" => lint::run(),
        "ci" => test::run(&[]).and_then(|()| lint::run()),
        "bench" => bench::run(rest),
        "faults" => faults(rest),
        "crashes" => crashes(rest),
        "interop" => interop::run(rest),
        "codegen" => codegen::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        unknown => bail!("there is no command `{unknown}`\n\n{USAGE}"),
    }
}

/// The main job, on the corpus beside the project when it is there and on the sample feeds when not.
fn demo(arguments: &[String]) -> Result<()> {
    let once = arguments.is_empty().then_some("--once");
    let arguments = once.into_iter().chain(arguments.iter().map(String::as_str));
    program(&["--package", "tidemill-articles"], arguments)
}

/// A hundred kills of the broker under load, or as many as the arguments say.
fn crashes(arguments: &[String]) -> Result<()> {
    let crashes = ["--package", "tidemill-tests", "--bin", "crashes"];
    program(&crashes, arguments.iter().map(String::as_str))
}

/// Fifty kills under load, with each guarantee; or one run as the arguments say.
fn faults(arguments: &[String]) -> Result<()> {
    let faults = ["--package", "tidemill-tests", "--bin", "faults"];
    if arguments.is_empty() {
        program(&faults, ["own", "exactly_once_v2"])?;
        return program(&faults, ["own", "at_least_once"]);
    }
    program(&faults, arguments.iter().map(String::as_str))
}

/// Builds a program of the workspace and runs it.
fn program<'a>(which: &[&'a str], arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    setup::ensure()?;
    let mut all = vec!["run", "--release"];
    all.extend(which);
    all.push("--");
    all.extend(arguments);
    command::cargo(&all)
}
