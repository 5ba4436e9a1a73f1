//! The broker as a process that can be killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use tidemill_broker::{Broker, BrokerConfig};

/// The process: serves until it is killed.
pub async fn serve(dir: &str, listen: &str) -> Result<()> {
    let config = BrokerConfig::embedded()
        .set("listeners", format!("PLAINTEXT://{listen}"))?
        .with_data_dir(dir);
    let broker = Broker::start(config).await?;
    println!("{}", broker.bootstrap());
    std::future::pending().await
}

/// A broker in a process of its own.
pub(super) struct Server {
    program: PathBuf,
    dir: PathBuf,
    address: String,
    process: Child,
}

impl Server {
    pub(super) fn start(program: &Path, dir: &Path) -> Result<Server> {
        let (process, address) = spawn(program, dir, "127.0.0.1:0")?;
        Ok(Server {
            program: program.to_owned(),
            dir: dir.to_owned(),
            address,
            process,
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Signal 9: nothing is synced, nothing is closed.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    pub(super) fn start_again(&mut self) -> Result<()> {
        (self.process, _) = spawn(&self.program, &self.dir, &self.address)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Starts the process and waits until it serves.
fn spawn(program: &Path, dir: &Path, listen: &str) -> Result<(Child, String)> {
    let mut process = Command::new(program)
        .arg("broker")
        .arg(dir)
        .arg(listen)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let output = process.stdout.take().context("its output was asked for")?;
    let mut address = String::new();
    BufReader::new(output).read_line(&mut address)?;
    if address.trim().is_empty() {
        bail!("the broker did not start: {:?}", process.wait()?);
    }
    Ok((process, address.trim().to_owned()))
}
