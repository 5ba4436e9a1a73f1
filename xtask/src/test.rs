//! `cargo xtask test`: every test of the workspace, the book's code blocks among them.

use anyhow::Result;

use crate::{command, setup};

/// Runs all tests. With arguments, `cargo test` gets them instead of `--workspace`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure()?;
    if arguments.is_empty() {
        // Tests that start the `tidemill` binary find it in the target folder, built from the same tree.
        command::cargo(&["build", "--release", "--workspace", "--bins"])?;
        return command::cargo(&["test", "--release", "--workspace", "--no-fail-fast"]);
    }
    let mut all = vec!["test", "--release"];
    all.extend(arguments.iter().map(String::as_str));
    command::cargo(&all)
}
