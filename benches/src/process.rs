//! What a process has used, as the kernel counts it: `/proc/<pid>/stat`, `status` and its threads' `schedstat` (Linux only).

use anyhow::{Context, Result};

/// CPU seconds (user and system) and resident bytes of one process, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
}

/// Reads the usage of process `pid`.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The command's name may hold blanks; the fields after its closing bracket do not. utime and stime
    // are the 12th and 13th of those, in ticks of 1/100 s (USER_HZ on every Linux that Rust runs on).
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .context("a stat line without a name")?
        .1
        .split_whitespace()
        .collect();
    let ticks = |place: usize| -> Result<f64> {
        Ok(fields
            .get(place)
            .context("a stat line that is too short")?
            .parse::<f64>()?)
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or("0 kB");
    let kilobytes: u64 = resident.trim().trim_end_matches("kB").trim().parse()?;
    // Both count what was used: the ticks are rounded down, and of the threads only those that still live are seen.
    let cpu_seconds = ((ticks(11)? + ticks(12)?) / 100.0).max(threads_seconds(pid)?);
    Ok(Usage {
        cpu_seconds,
        resident_bytes: kilobytes * 1024,
    })
}

/// CPU seconds of the threads that `pid` has, which the kernel counts by the nanosecond.
fn threads_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that ends between the two looks has nothing to read.
        let counts = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        if let Some(running) = counts.split_whitespace().next() {
            nanoseconds += running.parse::<u64>()?;
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}
