//! The program under faults.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use tidemill::prelude::*;

use super::Guarantee;

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
        ];
        words.extend(self.member.clone());
        words
    }

    /// Reads what [`arguments`](Self::arguments) wrote, without the first word.
    pub fn parse(words: &[String]) -> Result<Self> {
        let [bootstrap, app, state_dir, guarantee, member @ ..] = words else {
            return Err(anyhow!("worker BOOTSTRAP APP STATE_DIR GUARANTEE [MEMBER]"));
        };
        Ok(Self {
            bootstrap: bootstrap.clone(),
            names: Names { app: app.clone() },
            state_dir: state_dir.into(),
            guarantee: Guarantee::parse(guarantee)?,
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
        let running = topology(&self.names).start(config).await?;
        let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        tokio::select! {
            state = running.ended() => tracing_line(&format!("ended as {state}")),
            _ = asked => {}
        }
        running.stop().await.context("the instance")
    }
}

fn tracing_line(text: &str) {
    eprintln!("worker: {text}");
}
