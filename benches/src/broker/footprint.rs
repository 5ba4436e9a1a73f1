//! What a broker that nobody talks to takes: memory, and the binary's size on disk.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::peers::{Server, binary};
use crate::process::usage;
use crate::table::Table;

pub(super) fn measure(table: &mut Table) -> Result<()> {
    let server = Server::tidemill(&[])?;
    // Its first seconds of housekeeping belong to it.
    std::thread::sleep(Duration::from_secs(2));
    let resident = usage(server.pid)?.resident_bytes as f64 / 1e6;
    table.limited("resident memory at rest", resident, "MB", 15.0);
    table.limited(
        "binary, as `--profile dist` leaves it",
        stripped_mb()?,
        "MB",
        25.0,
    );
    Ok(())
}

/// The size of the binary without what a debugger needs.
fn stripped_mb() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("tidemill");
    let stripped = Command::new("strip")
        .arg(binary()?)
        .arg("-o")
        .arg(&copy)
        .output()?;
    ensure!(
        stripped.status.success(),
        "strip: {}",
        String::from_utf8_lossy(&stripped.stderr)
    );
    Ok(std::fs::metadata(&copy)?.len() as f64 / 1e6)
}
