//! A run: instances started and killed, records written, and what came out read back.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use tidemill::client::{Admin, Consumer, From, TopicPartition, TopicSpec};
use tidemill::prelude::*;

use super::verdict::{Guarantee, Verdict, expected};
use super::{Chance, Names, Worker};

const PARTITIONS: i32 = 3;
/// How long nothing may come out before the run has failed: longer than a session, a transaction and a restart.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// What to do.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The binary that runs a [`Worker`] when its first argument is `worker`.
    pub program: PathBuf,
    /// The cluster.
    pub bootstrap: String,
    /// What must hold.
    pub guarantee: Guarantee,
    /// Who the instances are to their group.
    pub membership: Membership,
    /// How many processes at a time.
    pub instances: usize,
    /// How often one of them is killed.
    pub rounds: u32,
    /// Records written between two kills.
    pub records_a_round: u64,
    /// Which process dies when.
    pub seed: u64,
}

/// Who an instance is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// A new member every time: what a killed one had is free when its session has timed out.
    Dynamic,
    /// The same member every time (`group.instance.id`).
    Static,
}

struct Instance {
    worker: Worker,
    log: PathBuf,
    child: Child,
}

impl Instance {
    fn start(program: &Path, worker: Worker, log: PathBuf) -> Result<Self> {
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

    fn kill_and_start_again(&mut self, program: &Path) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        *self = Self::start(program, self.worker.clone(), self.log.clone())?;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            bail!("an instance ended with {status}: see {}", self.log.display())
        }
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("an instance ended with {status}:\n{}", tail(&self.log)),
            None => Ok(()),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(20);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// Runs the program under faults, and gives what readers of committed records saw of it.
pub async fn run(faults: &Faults) -> Result<Verdict> {
    let dir = tempfile::tempdir()?;
    let names = Names {
        app: format!("faults-{}-{}", faults.seed, std::process::id()),
    };
    create_topics(&faults.bootstrap, &names).await?;
    let mut instances = Vec::new();
    for n in 0..faults.instances {
        let worker = Worker {
            bootstrap: faults.bootstrap.clone(),
            names: names.clone(),
            state_dir: dir.path().join(format!("state-{n}")),
            guarantee: faults.guarantee,
            member: (faults.membership == Membership::Static).then(|| format!("member-{n}")),
        };
        let log = dir.path().join(format!("instance-{n}.log"));
        instances.push(Instance::start(&faults.program, worker, log)?);
    }
    let producer = Producer::connect(&faults.bootstrap)?;
    let mut reader = OutputReader::open(&faults.bootstrap, &names).await?;
    let mut chance = Chance::new(faults.seed);
    let mut written = 0;
    for round in 0..faults.rounds {
        for _ in 0..faults.records_a_round {
            let number = written.to_string();
            producer
                .send(Produced::to(
                    &names.input(),
                    &format!("k{}", written % 17),
                    &number,
                )?)
                .await?;
            written += 1;
        }
        producer.flush().await?;
        // Anywhere between the first record of this round and the last.
        let seen = written - faults.records_a_round + chance.below(faults.records_a_round);
        reader.read_until(seen, &mut instances).await?;
        let victim = chance.below(instances.len() as u64) as usize;
        let victim = instances.get_mut(victim).context("there are instances")?;
        victim.kill_and_start_again(&faults.program)?;
        eprintln!(
            "round {}: killed with {seen} of {written} records copied",
            round + 1
        );
    }
    reader.read_until(written, &mut instances).await?;
    reader.read_totals_until(written, &mut instances).await?;
    for mut instance in instances {
        instance.stop()?;
    }
    reader.verdict.written = written;
    Ok(reader.verdict)
}

async fn create_topics(bootstrap: &str, names: &Names) -> Result<()> {
    let topics = [
        names.input().name().to_owned(),
        names.copies().name().to_owned(),
        names.totals().name().to_owned(),
    ];
    let topics: Vec<_> = topics
        .iter()
        .map(|name| TopicSpec::new(name.as_str(), PARTITIONS))
        .collect();
    Ok(Admin::connect(bootstrap)?.create_topics(&topics).await?)
}

/// Reads the outputs as readers of committed records see them.
struct OutputReader {
    consumer: Consumer,
    names: Names,
    verdict: Verdict,
}

impl OutputReader {
    async fn open(bootstrap: &str, names: &Names) -> Result<Self> {
        let (copies, totals) = (names.copies(), names.totals());
        let partitions: Vec<_> = [copies.name(), totals.name()]
            .iter()
            .flat_map(|topic| (0..PARTITIONS).map(|p| (TopicPartition::new(*topic, p), From::Earliest)))
            .collect();
        let consumer = Consumer::builder(bootstrap).set("isolation.level", "read_committed");
        Ok(Self {
            consumer: consumer.assign(&partitions).await?,
            names: names.clone(),
            verdict: Verdict::default(),
        })
    }

    /// Reads until so many different records were copied.
    async fn read_until(&mut self, copied: u64, instances: &mut [Instance]) -> Result<()> {
        while (self.verdict.copies.len() as u64) < copied {
            self.read_one(instances).await?;
        }
        Ok(())
    }

    /// Reads until the totals account for so many records.
    async fn read_totals_until(&mut self, counted: u64, instances: &mut [Instance]) -> Result<()> {
        let expected = expected(counted);
        while !self.verdict.accounts_for(&expected) {
            self.read_one(instances).await?;
        }
        Ok(())
    }

    async fn read_one(&mut self, instances: &mut [Instance]) -> Result<()> {
        for instance in instances.iter_mut() {
            instance.check_alive()?;
        }
        let Ok(next) = tokio::time::timeout(SILENCE_MAX, self.consumer.next()).await else {
            let copies = self.verdict.copies.len();
            let logs: BTreeMap<_, _> = instances.iter().map(|i| (i.log.clone(), tail(&i.log))).collect();
            bail!("nothing came for {SILENCE_MAX:?}: {copies} copied; {logs:#?}");
        };
        let record = next.context("the reader ended")??;
        if *record.partition.topic == *self.names.copies().name() {
            let (_, number) = record.decode(&self.names.copies())?;
            *self.verdict.copies.entry(number).or_default() += 1;
        } else {
            let (group, total) = record.decode(&self.names.totals())?;
            let total = total.context("no total is deleted")?;
            self.verdict.totals.entry(group).or_default().push(total);
        }
        Ok(())
    }
}
