//! The brokers under measurement, each a process of its own, and Kafka's tools that load them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::here;

/// A broker in a process of its own; dropping it stops the process.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    pub(crate) pid: u32,
    /// Where the partitions' folders and the checkpoints lie.
    pub(crate) logs: PathBuf,
    kind: Kind,
}

enum Kind {
    Tidemill { child: Child, data: tempfile::TempDir },
    Kafka,
    Stopped,
}

/// The data of one of our brokers that was stopped in good order.
pub(crate) struct Stopped {
    data: tempfile::TempDir,
}

impl Stopped {
    /// Starts a broker on the data; it listens when this returns.
    pub(crate) fn start(self) -> Result<Server> {
        let mut child = Command::new(binary()?)
            .args(["broker", "start", "--config"])
            .arg(self.data.path().join(SETTINGS))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("`tidemill` could not be started")?;
        let output = child.stdout.take().context("the broker's output is a pipe")?;
        let address = announced(BufReader::new(output))?;
        Ok(Server {
            name: "tidemill",
            address,
            pid: child.id(),
            logs: self.data.path().join(LOGS),
            kind: Kind::Tidemill {
                child,
                data: self.data,
            },
        })
    }
}

const SETTINGS: &str = "server.properties";
const LOGS: &str = "logs";
/// A cleaner that has nothing to do looks again after this, or both brokers would mostly be seen sleeping.
const CLEANER_BACKOFF_MS: u32 = 100;

impl Server {
    /// Starts `tidemill broker start` on a free port, with the settings Kafka gets in `kafka.sh`, and `more`.
    pub(crate) fn tidemill(more: &[&str]) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let logs = data.path().join(LOGS);
        std::fs::write(
            data.path().join(SETTINGS),
            format!(
                "node.id=1\nlisteners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}\nnum.partitions=3\nlog.retention.ms=-1\n\
                 offsets.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\n\
                 log.cleaner.backoff.ms={CLEANER_BACKOFF_MS}\n{}\n",
                logs.display(),
                more.join("\n")
            ),
        )?;
        Stopped { data }.start()
    }

    /// Stops one of our brokers as an operator would.
    pub(crate) fn stop_cleanly(mut self) -> Result<Stopped> {
        let Kind::Tidemill { mut child, data } = std::mem::replace(&mut self.kind, Kind::Stopped) else {
            bail!("only our own brokers are started again on their data");
        };
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = child.wait()?;
        if !status.success() {
            bail!("the broker stopped with {status}");
        }
        Ok(Stopped { data })
    }

    /// Starts one Apache Kafka node with `benches/peers/kafka.sh`, and `more` settings.
    pub(crate) fn kafka(more: &[&str]) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let port = port.to_string();
        let backoff = format!("log.cleaner.backoff.ms={CLEANER_BACKOFF_MS}");
        let arguments = [&["start", port.as_str(), backoff.as_str()][..], more].concat();
        let address = script("kafka.sh", &arguments)?.trim().to_owned();
        let folder = std::env::var_os("PEERS_DIR").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/peers"),
            PathBuf::from,
        );
        let pid = std::fs::read_to_string(folder.join("pid")).context("Kafka's process id")?;
        Ok(Self {
            name: "kafka",
            address,
            pid: pid.trim().parse()?,
            logs: folder.join("data"),
            kind: Kind::Kafka,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Tidemill { child, .. } => {
                if let Err(error) = child.kill().and_then(|()| child.wait()) {
                    eprintln!("the broker could not be stopped: {error}");
                }
            }
            Kind::Stopped => {}
            Kind::Kafka => {
                if let Err(error) = script("kafka.sh", &["stop"]) {
                    eprintln!("Kafka could not be stopped: {error:#}");
                }
            }
        }
    }
}

/// The `tidemill` binary beside this one.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("tidemill");
    if !path.exists() {
        bail!(
            "{} is missing: cargo build --release -p tidemill-cli",
            path.display()
        );
    }
    Ok(path)
}

/// Waits for the line in which the broker says where it listens.
pub(crate) fn announced(output: impl BufRead) -> Result<String> {
    for line in output.lines() {
        let line = line?;
        if let Some((_, address)) = line.rsplit_once("listening on ") {
            return Ok(address.trim().to_owned());
        }
    }
    bail!("the broker ended before it listened")
}

/// Runs one of the peers' scripts and returns what it printed.
pub(crate) fn script(name: &str, arguments: &[&str]) -> Result<String> {
    let path = here().join("peers").join(name);
    let output = Command::new("bash")
        .arg(&path)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} could not be started", path.display()))?;
    if !output.status.success() {
        bail!(
            "{} {} failed: {}",
            path.display(),
            arguments.join(" "),
            output.status
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a class of Kafka's tools and returns what it printed.
pub(crate) fn tool(class: &str, arguments: &[&str]) -> Result<String> {
    let mut all = vec!["run", class];
    all.extend(arguments);
    script("kafka.sh", &all)
}
