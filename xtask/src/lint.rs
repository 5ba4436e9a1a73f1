//! `cargo xtask lint`: formatting, clippy with warnings as errors, and the rules of the house.

mod examples;
mod house;

use anyhow::Result;

use crate::{command, setup};

/// Runs every lint.
pub(crate) fn run() -> Result<()> {
    setup::ensure()?;
    command::cargo(&["fmt", "--all", "--check"])?;
    house::check(&command::root())?;
    command::cargo(&[
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?;
    println!("lint: no complaints");
    Ok(())
}
