//! `cargo xtask interop`: other people's clients against our broker, each against a fresh one.
//!
//! A client is a folder in `tests/interop/` with a script `run`. The script installs the client from its package
//! registry, does what the client's users do first, and prints one line `ok WHAT` for each thing that worked, one
//! `fail WHAT` for each that did not, and one `skip WHAT: WHY` for each that was not asked for. It ends with 0 when all
//! worked, with 77 when its runtime is not there (its last line says which), else it failed. The folders that end in
//! `-tests` run the tests that a client ships. What needs programs of ours beside the broker builds them in a script
//! `build`, which has all the time it wants.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{command, setup};

/// A client that takes longer than this hangs: the slowest fetches its packages and compiles in three minutes.
const CLIENT_SECONDS_MAX: u64 = 600;
const POLL: Duration = Duration::from_millis(100);
const SKIPPED: i32 = 77;

/// Runs the clients that are named, or all; fails when one of them does.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure()?;
    command::cargo(&["build", "--release", "--package", "tidemill-cli"])?;
    let root = command::root();
    let clients = clients(&root.join("tests/interop"), arguments)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = root.join(target);
    let mut failed = 0;
    for client in &clients {
        let name = client.file_name().unwrap_or_default().to_string_lossy();
        match run_one(client, &target, &name) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                failed += 1;
                println!("FAILED   {name}: {error:#}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} clients failed", clients.len());
    }
    Ok(())
}

fn clients(folder: &Path, wanted: &[String]) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .filter(|path| path.as_ref().map_or(true, |path| path.join("run").exists()))
        .collect::<Result<_>>()?;
    found.sort();
    if wanted.is_empty() {
        return Ok(found);
    }
    let chosen = |name: &String| {
        let known = found.iter().find(|path| path.ends_with(name));
        known
            .cloned()
            .with_context(|| format!("there is no client `{name}` in {}", folder.display()))
    };
    wanted.iter().map(chosen).collect()
}

fn run_one(client: &Path, target: &Path, name: &str) -> Result<String> {
    let build = client.join("build");
    if build.exists() {
        command::run(&build.to_string_lossy(), &[])?;
    }
    let work = target.join("interop").join(name);
    fs::create_dir_all(&work)?;
    let data = work.join("data");
    let _ = fs::remove_dir_all(&data);
    let broker = Broker::start(target, &data, &work.join("broker.log"))?;
    let began = Instant::now();
    let log = work.join("client.log");
    let script = Command::new(client.join("run"))
        .current_dir(client)
        .env("BOOTSTRAP", &broker.address)
        .env("WORK", &work)
        .env("PROJECT", command::root())
        .env("TIDEMILL", target.join("release/tidemill"))
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::create(work.join("client.err"))?)
        // A group of its own, so that what it started ends with it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("{} cannot be started", client.join("run").display()))?;
    let status = wait(script)?;
    drop(broker);
    let text = fs::read_to_string(&log)?;
    let told = tell(&text);
    let last = text.lines().last().unwrap_or("it said nothing");
    let seconds = began.elapsed().as_secs();
    match status.and_then(|status| status.code()) {
        Some(0) if text.lines().any(|line| line.starts_with("ok ")) => {
            Ok(format!("passed   {name}: {told}, {seconds} s"))
        }
        Some(0) => bail!("it checked nothing; see {}", log.display()),
        Some(SKIPPED) => Ok(format!("skipped  {name}: {last}")),
        Some(code) => bail!("{told}; it ended with {code}: {last}; see {}", log.display()),
        None => bail!("{told}; it hung or was killed: {last}; see {}", log.display()),
    }
}

/// How many checks passed, failed and were skipped, the latter two by name.
fn tell(text: &str) -> String {
    let named = |word: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word));
        lines
            .map(|line| line.split(':').next().unwrap_or(line))
            .collect::<Vec<_>>()
    };
    let mut told = format!("{} passed", named("ok ").len());
    for (word, what) in [("fail ", "failed"), ("skip ", "skipped")] {
        let names = named(word);
        if !names.is_empty() {
            told += &format!(", {} {what} ({})", names.len(), names.join(", "));
        }
    }
    told
}

/// `None` for a script that had to be ended.
fn wait(mut script: Child) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + Duration::from_secs(CLIENT_SECONDS_MAX);
    loop {
        if let Some(status) = script.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            let group = format!("-{}", script.id());
            Command::new("kill").args(["-9", "--", &group]).status()?;
            script.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// A broker of its own for one client, ended with it.
struct Broker {
    process: Child,
    address: String,
}

impl Broker {
    fn start(target: &Path, data: &Path, log: &Path) -> Result<Self> {
        let mut process = Command::new(target.join("release/tidemill"))
            .args(["broker", "start"])
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", "group.initial.rebalance.delay.ms=0"])
            .args(["--override", &format!("log.dirs={}", data.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
            .context("the broker cannot be started")?;
        let output = process.stdout.take().context("the broker's output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        if !address.contains(':') {
            let _ = process.kill();
            let _ = process.wait();
            bail!("the broker did not start; see {}", log.display());
        }
        Ok(Self { process, address })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The process may have ended already; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
