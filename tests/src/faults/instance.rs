//! One instance of the program, in a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Worker;

/// How long an instance may take to end when it is asked to: longer than a transaction may be open.
const STOP_MAX: Duration = Duration::from_secs(180);
/// Between two looks whether it has ended.
const TICK: Duration = Duration::from_millis(50);
/// Lines of its log that tell why it ended.
const TAIL_LINES: usize = 20;

pub(super) struct Instance {
    worker: Worker,
    log: PathBuf,
    child: Child,
}

impl Instance {
    pub(super) fn start(program: &Path, worker: Worker, log: PathBuf) -> Result<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(worker.arguments())
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self { worker, log, child })
    }

    pub(super) fn kill_and_start_again(&mut self, program: &Path) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        *self = Self::start(program, self.worker.clone(), self.log.clone())?;
        Ok(())
    }

    /// Asks it to stop, and waits until it has. Errors: it failed, or does not end.
    pub(super) async fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let until = Instant::now() + STOP_MAX;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("an instance ended with {status}:\n{}", self.tail()),
                None if Instant::now() > until => {
                    bail!("an instance did not stop in {STOP_MAX:?}:\n{}", self.tail())
                }
                None => tokio::time::sleep(TICK).await,
            }
        }
    }

    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("an instance ended with {status}:\n{}", self.tail()),
            None => Ok(()),
        }
    }

    /// The last lines of its log.
    pub(super) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
