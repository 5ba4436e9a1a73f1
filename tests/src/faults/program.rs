//! The program under faults.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tidemill::prelude::*;
use tidemill::{Response, StartError};

use super::Guarantee;

/// How long an instance tries to start on a cluster that does not answer.
const START_MAX: Duration = Duration::from_secs(300);
/// Between two tries.
const START_PAUSE: Duration = Duration::from_secs(1);

/// The topics of one run, so that several runs can share a cluster.
#[derive(Clone, Debug)]
pub struct Names {
    /// The program's `application.id`, and the beginning of its topics' names.
    pub app: String,
}

impl Names {
    /// What goes in: a record's number as its value.
    pub fn input(&self) -> Topic<String, String> {
        Topic::named(format!("{}-input", self.app))
    }

    /// Every record once more.
    pub fn copies(&self) -> Topic<String, String> {
        Topic::named(format!("{}-copies", self.app))
    }

    /// The number of records of each group, after each record.
    pub fn totals(&self) -> Topic<String, Option<i64>> {
        Topic::named(format!("{}-totals", self.app))
    }
}

/// Which group a record is counted in.
pub(super) fn group(number: &str) -> String {
    let tail: String = number.chars().rev().take(2).collect();
    format!("g{tail}")
}

fn topology(names: &Names) -> App {
    let app = App::new(names.app.as_str());
    let input = app.stream(&names.input());
    input.clone().to(&names.copies());
    input
        .group_by(|_, number| group(number))
        .count(&StoreName::<String, i64>::new("counts"))
        .to_stream()
        .to(&names.totals());
    app
}

/// Words on a command line for what becomes of a thread that fails.
const STOP: &str = "stop";
const REPLACE: &str = "replace";

/// One instance, in a process of its own.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The cluster.
    pub bootstrap: String,
    /// The topics.
    pub names: Names,
    /// Where this instance keeps its state.
    pub state_dir: PathBuf,
    /// The `processing.guarantee`.
    pub guarantee: Guarantee,
    /// What becomes of a thread that fails.
    pub on_failure: Response,
    /// Its `group.instance.id`: a static member that comes back has its partitions back at once.
    pub member: Option<String>,
}

impl Worker {
    /// Its arguments on a command line; [`parse`](Self::parse) reads them back.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = vec![
            "worker".into(),
            self.bootstrap.clone(),
            self.names.app.clone(),
            self.state_dir.display().to_string(),
            self.guarantee.setting().into(),
            match self.on_failure {
                Response::ReplaceThread => REPLACE.into(),
                _ => STOP.into(),
            },
        ];
        words.extend(self.member.clone());
        words
    }

    /// Reads what [`arguments`](Self::arguments) wrote, without the first word.
    pub fn parse(words: &[String]) -> Result<Self> {
        let [bootstrap, app, state_dir, guarantee, on_failure, member @ ..] = words else {
            return Err(anyhow!(
                "worker BOOTSTRAP APP STATE_DIR GUARANTEE {STOP}|{REPLACE} [MEMBER]"
            ));
        };
        Ok(Self {
            bootstrap: bootstrap.clone(),
            names: Names { app: app.clone() },
            state_dir: state_dir.into(),
            guarantee: Guarantee::parse(guarantee)?,
            on_failure: match on_failure.as_str() {
                STOP => Response::ShutdownClient,
                REPLACE => Response::ReplaceThread,
                other => bail!("{other:?} is neither {STOP} nor {REPLACE}"),
            },
            member: member.first().cloned(),
        })
    }

    /// Runs until its standard input ends, or it is killed.
    pub async fn run(&self) -> Result<()> {
        let mut config = Config::new()
            .bootstrap_servers(&self.bootstrap)
            .state_dir(&self.state_dir)
            .set("processing.guarantee", self.guarantee.setting())?
            .set("state.memory.bytes", 64 << 20)?
            .set("num.stream.threads", 2)?
            .set("session.timeout.ms", 6_000)?
            .set("heartbeat.interval.ms", 500)?
            .set("repartition.purge.interval.ms", 1_000)?;
        if let Some(member) = &self.member {
            config = config.set("group.instance.id", member)?;
        }
        let running = self.start(&config).await?;
        // On a thread of its own: the executor would wait for it, and keep a process that has failed from ending.
        let (ask, asked) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = ask.send(());
        });
        tokio::select! {
            state = running.ended() => tracing_line(&format!("ended as {state}")),
            _ = asked => {}
        }
        running.stop().await.context("the instance")
    }

    /// As whoever looks after a program would: a cluster that does not answer yet is no reason to give up.
    async fn start(&self, config: &Config) -> Result<Running> {
        let until = Instant::now() + START_MAX;
        loop {
            let on_failure = self.on_failure;
            let launch = topology(&self.names).launch(config.clone());
            match launch.on_failure(move |_| on_failure).start().await {
                Err(error @ StartError::Transport(_)) if Instant::now() < until => {
                    tracing_line(&format!("starting again: {error}"));
                    tokio::time::sleep(START_PAUSE).await;
                }
                started => return Ok(started?),
            }
        }
    }
}

fn tracing_line(text: &str) {
    eprintln!("worker: {text}");
}
