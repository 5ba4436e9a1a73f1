//! The hand-overs: programs started and stopped in turn, records written, and what came out read back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use tidemill::client::{Admin, Consumer, From, TopicPartition, TopicSpec};
use tidemill::prelude::*;

use super::Program;
use super::expected::{Expected, Outputs, input};

const EXACTLY_ONCE: &str = "exactly_once_v2";
const PARTITIONS: i32 = 4;
const OUTPUTS: [&str; 4] = ["totals", "windows", "sessions", "groups"];
/// Who runs, one after the other, and how many records are written for it before: so many that it is stopped in the
/// midst of them, but for the last one.
const TURNS: [(Side, u64); 4] = [
    (Side::KafkaStreams, 40_000),
    (Side::Tidemill, 150_000),
    (Side::KafkaStreams, 40_000),
    (Side::Tidemill, 40_000),
];
/// Records of its turn after which a program is stopped, so that there is work left in all of its topics.
const STOP_AFTER: u64 = 4_000;
/// How long nothing may come out before the run has failed: longer than a start, a session and a transaction.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// How long is listened for what should not come.
const AFTERMATH: Duration = Duration::from_secs(2);

/// What to hand over.
#[derive(Clone, Debug)]
pub struct Handover {
    /// The cluster.
    pub bootstrap: String,
    /// The `processing.guarantee`.
    pub guarantee: String,
    /// A folder for the programs' state and logs.
    pub work: PathBuf,
    /// The command that runs Kafka Streams, before its arguments.
    pub java: Vec<String>,
    /// The command that runs us, before its arguments.
    pub ours: Vec<String>,
}

/// What a run has to say.
#[derive(Debug, Default)]
pub struct Told {
    /// What was done, a line each.
    pub done: Vec<String>,
    /// What is wrong, a line each.
    pub complaints: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    KafkaStreams,
    Tidemill,
}

struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(handover: &Handover, side: Side, app: &str) -> Result<Self> {
        let (words, name) = match side {
            Side::KafkaStreams => (&handover.java, "kafka-streams"),
            Side::Tidemill => (&handover.ours, "tidemill"),
        };
        let program = Program {
            bootstrap: handover.bootstrap.clone(),
            guarantee: handover.guarantee.clone(),
            state_dir: handover.work.join(format!("state-{name}")),
            app: app.to_owned(),
        };
        let (command, first) = words.split_first().context("a command is not empty")?;
        let log = handover.work.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(command)
            .args(first)
            .args(program.arguments())
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| command.clone())?;
        Ok(Self { child, log })
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("a program ended with {status}: see {}", self.log.display()),
            None => Ok(()),
        }
    }

    fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if !status.success() {
            bail!("a program ended with {status}: see {}", self.log.display());
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands the application over three times, and compares what came out with what one program would have said.
pub async fn run(handover: &Handover) -> Result<Told> {
    let _ = std::fs::remove_dir_all(&handover.work);
    std::fs::create_dir_all(&handover.work)?;
    let app = format!("handover-{}", handover.guarantee.replace('_', "-"));
    let names = Program {
        bootstrap: handover.bootstrap.clone(),
        guarantee: handover.guarantee.clone(),
        state_dir: PathBuf::new(),
        app: app.clone(),
    };
    create_topics(&names).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    // Three hours ago: brokers refuse records from the future.
    let epoch_ms = i64::try_from(now)? / 60_000 * 60_000 - 3 * 3_600_000;
    let mut reader = OutputReader::open(&names).await?;
    let expected = Expected::of(epoch_ms, TURNS.iter().map(|(_, records)| records).sum());
    let (mut told, mut written) = (Told::default(), 0);
    for (turn, (side, records)) in TURNS.into_iter().enumerate() {
        let before = written;
        write(&names, epoch_ms, before..before + records).await?;
        written += records;
        let mut process = Process::start(handover, side, &app)?;
        let is_last = turn + 1 == TURNS.len();
        if is_last {
            let is_whole = |outputs: &Outputs| outputs.counted() >= written && expected.has_groups(outputs);
            reader.read_until(is_whole, &mut process).await?;
        } else {
            let is_enough = |outputs: &Outputs| outputs.counted() >= before + STOP_AFTER;
            reader.read_until(is_enough, &mut process).await?;
        }
        // What a killed program had begun is never committed; at least once it would be done twice. Ours is not killed:
        // its session would still be there when Java joins, which does not wait for a member of another assignor.
        if side == Side::KafkaStreams && handover.guarantee == EXACTLY_ONCE {
            drop(process);
            told.done
                .push(format!("{}: {side:?} was killed", handover.guarantee));
            continue;
        }
        process.stop()?;
        let waiting = waiting(&names).await?;
        // Under exactly-once a marker counts as waiting, and ours may be done while readers wait for the transactions of
        // the one that was killed.
        let is_exact = handover.guarantee == EXACTLY_ONCE;
        if waiting.iter().all(|(_, records)| *records == 0) && !is_last && !is_exact {
            told.complaints
                .push(format!("{side:?} was done before it was stopped"));
        }
        told.done.push(format!(
            "{}: {side:?} was stopped with records waiting: {waiting:?}",
            handover.guarantee
        ));
    }
    reader.read_aftermath().await?;
    told.complaints.extend(expected.complaints(&reader.outputs));
    told.complaints.extend(foreign_metadata(&handover.work)?);
    if told.complaints.is_empty() {
        told.done.push(format!(
            "{}: {written} records counted once each by word, by window and by session, and a table's rows by group, over {} hand-overs",
            handover.guarantee,
            TURNS.len() - 1
        ));
    }
    Ok(told)
}

async fn create_topics(names: &Program) -> Result<()> {
    let outputs = OUTPUTS.map(|name| names.output(name).name().to_owned());
    let inputs = [names.words(), names.rows()].map(|topic| topic.name().to_owned());
    let topics = inputs.into_iter().chain(outputs);
    let topics: Vec<_> = topics.map(|name| TopicSpec::new(name, PARTITIONS)).collect();
    Ok(Admin::connect(&names.bootstrap)?.create_topics(&topics).await?)
}

async fn write(names: &Program, epoch_ms: i64, numbers: std::ops::Range<u64>) -> Result<()> {
    let producer = Producer::connect(&names.bootstrap)?;
    for number in numbers {
        let record = input(epoch_ms, number);
        let produced = Produced::to(&names.words(), &record.key, &record.word)?;
        producer.send(produced.timestamp(record.timestamp_ms)).await?;
        let produced = Produced::to(&names.rows(), &record.row, &record.group)?;
        producer.send(produced.timestamp(record.timestamp_ms)).await?;
    }
    Ok(producer.flush().await?)
}

/// How many records the group has not read, by topic.
async fn waiting(names: &Program) -> Result<Vec<(&'static str, i64)>> {
    let admin = Admin::connect(&names.bootstrap)?;
    let topics = ["words", "rows", "counts-repartition", "groups-repartition"];
    let mut waiting = Vec::new();
    for topic in topics {
        let name = format!("{}-{topic}", names.app);
        let partitions: Vec<_> = (0..PARTITIONS)
            .map(|p| TopicPartition::new(name.as_str(), p))
            .collect();
        let committed = admin.group_offsets(&names.app, &partitions).await?;
        let mut lag = 0;
        for (partition, offset) in partitions.iter().zip(committed) {
            let (begin, end) = admin.offsets(partition).await?;
            lag += end - offset.unwrap_or(begin);
        }
        waiting.push((topic, lag));
    }
    Ok(waiting)
}

/// The lines by which either side says that it could not read what the other committed beside its offsets.
fn foreign_metadata(work: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for log in ["kafka-streams.log", "tidemill.log"] {
        let text = std::fs::read_to_string(work.join(log))?;
        let about = |line: &&str| line.contains("offset metadata") || line.contains("offset's metadata");
        lines.extend(text.lines().filter(about).map(|line| format!("{log}: {line}")));
    }
    Ok(lines)
}

/// Reads the outputs as readers of committed records see them.
struct OutputReader {
    consumer: Consumer,
    names: Program,
    outputs: Outputs,
}

impl OutputReader {
    async fn open(names: &Program) -> Result<Self> {
        let topics = OUTPUTS.map(|name| names.output(name).name().to_owned());
        let partitions: Vec<_> = topics
            .iter()
            .flat_map(|topic| {
                (0..PARTITIONS).map(|p| (TopicPartition::new(topic.as_str(), p), From::Earliest))
            })
            .collect();
        let consumer = Consumer::builder(&names.bootstrap).set("isolation.level", "read_committed");
        Ok(Self {
            consumer: consumer.assign(&partitions).await?,
            names: names.clone(),
            outputs: Outputs::default(),
        })
    }

    /// Reads until what came out is so.
    async fn read_until(&mut self, is_so: impl Fn(&Outputs) -> bool, process: &mut Process) -> Result<()> {
        while !is_so(&self.outputs) {
            process.check_alive()?;
            let Ok(outcome) = tokio::time::timeout(SILENCE_MAX, self.read_one()).await else {
                bail!(
                    "nothing came for {SILENCE_MAX:?}, with {} records accounted for: see {}",
                    self.outputs.counted(),
                    process.log.display()
                );
            };
            outcome?;
        }
        Ok(())
    }

    /// Reads what comes after the last program has ended.
    async fn read_aftermath(&mut self) -> Result<()> {
        while let Ok(outcome) = tokio::time::timeout(AFTERMATH, self.read_one()).await {
            outcome?;
        }
        Ok(())
    }

    async fn read_one(&mut self) -> Result<()> {
        let record = self.consumer.next().await.context("the reader ended")??;
        for name in OUTPUTS {
            let topic = self.names.output(name);
            if *record.partition.topic == *topic.name() {
                let (key, value) = record.decode(&topic)?;
                self.outputs.of(name).push(key, value);
            }
        }
        Ok(())
    }
}
