//! `cargo xtask test`: every test of the workspace, the book's code blocks among them.

use anyhow::{Context as _, Result};

use crate::{command, setup};

/// Runs all tests, each program of them watched. With arguments, `cargo test` gets them instead of `--workspace`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure()?;
    let watched = watched()?;
    let mut all = vec!["test", "--release", "--config", &watched];
    if arguments.is_empty() {
        all.extend(["--workspace", "--no-fail-fast"]);
    }
    all.extend(arguments.iter().map(String::as_str));
    command::cargo(&all)
}

/// The setting that makes cargo start each test program, those of the documentation too, by `cargo xtask watch`.
fn watched() -> Result<String> {
    let xtask = std::env::current_exe().context("where this program lies is not known")?;
    let xtask = xtask.to_str().context("the path of this program is not text")?;
    // A literal string of TOML takes a path as it is.
    Ok(format!("target.'cfg(all())'.runner=['{xtask}', 'watch']"))
}
