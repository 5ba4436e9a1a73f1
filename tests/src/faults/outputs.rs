//! What goes in, and what comes out as readers of committed records see it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use tidemill::client::{Admin, Consumer, From, TopicPartition, TopicSpec};
use tidemill::prelude::*;

use super::Names;
use super::verdict::{Verdict, expected};

const PARTITIONS: i32 = 3;
/// How long nothing may come out before a run has failed: longer than a session, a transaction and a restart, on a machine
/// that has other things to do.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// How long a cluster that was started a moment ago may take to answer.
const CLUSTER_MAX: Duration = Duration::from_secs(300);
/// How often the instances are looked at while nothing comes.
const TICK: Duration = Duration::from_secs(1);

/// Makes the topics of a run. A cluster that is being started is waited for.
pub async fn create_topics(bootstrap: &str, names: &Names) -> Result<()> {
    let admin = Admin::connect(bootstrap)?;
    let until = Instant::now() + CLUSTER_MAX;
    while let Err(error) = admin.list_topics().await {
        if Instant::now() > until {
            return Err(error).context("the cluster does not answer");
        }
        eprintln!("waiting for the cluster: {error}");
        tokio::time::sleep(TICK).await;
    }
    let topics = [
        names.input().name().to_owned(),
        names.copies().name().to_owned(),
        names.totals().name().to_owned(),
    ];
    for name in &topics {
        let created = admin
            .create_topics(&[TopicSpec::new(name.as_str(), PARTITIONS)])
            .await;
        // An answer that was lost leaves a topic that is there.
        if let Err(error) = created
            && admin.describe_topic(name).await?.is_none()
        {
            return Err(error.into());
        }
    }
    // Every partition has a leader, so that nobody begins with a topic that is not there yet.
    for name in &topics {
        for partition in 0..PARTITIONS {
            admin
                .offsets(&TopicPartition::new(name.as_str(), partition))
                .await?;
        }
    }
    Ok(())
}

/// Writes numbered records, each once.
pub struct Inputs {
    producer: Producer,
    names: Names,
    /// How many there are, numbered from 0.
    pub written: u64,
}

impl Inputs {
    /// A writer that has written nothing.
    pub fn open(bootstrap: &str, names: &Names) -> Result<Self> {
        // A retry may not write a record twice: the program would copy both.
        let producer = Producer::builder(bootstrap).set("enable.idempotence", "true");
        Ok(Self {
            producer: producer.build()?,
            names: names.clone(),
            written: 0,
        })
    }

    /// Writes so many more, and waits until all are acknowledged.
    pub async fn write(&mut self, records: u64) -> Result<()> {
        let mut sent = Vec::new();
        for _ in 0..records {
            let number = self.written.to_string();
            let key = format!("k{}", self.written % 17);
            let record = Produced::to(&self.names.input(), &key, &number)?;
            sent.push(self.producer.send(record).await?);
            self.written += 1;
        }
        for sent in sent {
            sent.await?;
        }
        Ok(())
    }
}

/// Reads the outputs as readers of committed records see them.
pub struct Outputs {
    consumer: Consumer,
    names: Names,
    /// What came so far.
    pub verdict: Verdict,
}

impl Outputs {
    /// A reader at the beginning of the outputs.
    pub async fn open(bootstrap: &str, names: &Names) -> Result<Self> {
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

    /// Reads until so many different records were copied. Errors: nothing comes any more, or `check` says why.
    pub async fn read_until(&mut self, copied: u64, mut check: impl FnMut() -> Result<()>) -> Result<()> {
        while (self.verdict.copies.len() as u64) < copied {
            self.read_one(&mut check).await?;
        }
        Ok(())
    }

    /// Reads until the totals account for so many records.
    pub async fn read_totals_until(
        &mut self,
        counted: u64,
        mut check: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let expected = expected(counted);
        while !self.verdict.accounts_for(&expected) {
            self.read_one(&mut check).await?;
        }
        Ok(())
    }

    async fn read_one(&mut self, check: &mut impl FnMut() -> Result<()>) -> Result<()> {
        let began = Instant::now();
        let record = loop {
            check()?;
            match tokio::time::timeout(TICK, self.consumer.next()).await {
                Ok(Some(Ok(record))) => break record,
                // A cluster that is busy or restarts is no failure of the program: the reader goes on where it was.
                Ok(Some(Err(error))) => {
                    eprintln!("reading: {error}");
                    tokio::time::sleep(TICK).await;
                }
                Ok(None) => bail!("the reader ended"),
                Err(_nothing_came) => {}
            }
            if began.elapsed() > SILENCE_MAX {
                let copies = self.verdict.copies.len();
                bail!("nothing came for {SILENCE_MAX:?}: {copies} copied");
            }
        };
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
