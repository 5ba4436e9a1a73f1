//! One run of an example: its topics made, its records sent, everything processed, its results read.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use tempfile::TempDir;
use tidemill::client::Received;
use tidemill::prelude::*;

use crate::Cluster;

/// How often to look whether something has happened.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A program that runs on a [`Cluster`], with state in a folder that goes when it ends.
pub struct Run {
    cluster: Cluster,
    admin: Admin,
    app: String,
    inputs: Vec<String>,
    /// Where its topics ended before: what another run has left there is none of our results.
    ends: BTreeMap<String, i64>,
    running: Running,
    _state: TempDir,
}

impl Run {
    /// Makes the topics that the program reads and writes, of one partition each, and starts it. Dead letters' topics
    /// are named, since no operator names them; made by the first letter, they would have as many as the cluster likes.
    pub async fn start(app: &App, dead_letters: &[&str]) -> Result<Self> {
        let cluster = Cluster::from_env().await?;
        let admin = Admin::connect(cluster.bootstrap())?;
        let topology = app.topology()?;
        let mut inputs = Vec::new();
        let mut topics: Vec<String> = dead_letters.iter().map(|&topic| topic.to_owned()).collect();
        for part in topology.subtopologies() {
            inputs.extend(part.source_topics.iter().cloned());
            topics.extend(part.source_topics.iter().chain(&part.sink_topics).cloned());
        }
        let there = admin.list_topics().await?;
        let missing = topics.iter().filter(|topic| !there.contains(topic));
        let missing: Vec<TopicSpec> = missing.map(|topic| TopicSpec::new(topic, 1)).collect();
        admin.create_topics(&missing).await?;
        // A cluster may have made a topic before all of its brokers know.
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let known = admin.list_topics().await?;
            if topics.iter().all(|topic| known.contains(topic)) {
                break;
            }
        }
        let mut ends = BTreeMap::new();
        // One that was made just now is empty, and a cluster may still be telling its brokers of it.
        for topic in topics.into_iter().filter(|topic| there.contains(topic)) {
            let (_, end) = admin.offsets(&TopicPartition::new(topic.as_str(), 0)).await?;
            ends.insert(topic, end);
        }
        let state = tempfile::tempdir()?;
        let config = Config::from_env()?
            .bootstrap_servers(cluster.bootstrap())
            .state_dir(state.path());
        let running = app.start(config).await?;
        Ok(Self {
            cluster,
            admin,
            app: app.name(),
            inputs,
            ends,
            running,
            _state: state,
        })
    }

    /// The program.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Sends records, all of them on their way at once.
    pub async fn send(&self, records: impl IntoIterator<Item = Result<Produced>>) -> Result<()> {
        let producer = Producer::connect(self.cluster.bootstrap())?;
        let mut sent = Vec::new();
        for record in records {
            sent.push(producer.send(record?).await?);
        }
        producer.flush().await?;
        Producer::reports(sent).try_for_each(async |_| Ok(())).await?;
        Ok(())
    }

    /// Waits until the program has processed all that was sent, over its repartition topics too.
    pub async fn processed(&self) -> Result<()> {
        let internal = format!("{}-", self.app);
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let topics = self.admin.list_topics().await?;
            let between = |topic: &String| topic.starts_with(&internal) && topic.ends_with("-repartition");
            let partitions: Vec<TopicPartition> = topics
                .iter()
                .filter(|topic| between(topic) || self.inputs.contains(topic))
                .map(|topic| TopicPartition::new(topic.as_str(), 0))
                .collect();
            // First how far it is, then where the topics end: a record that was committed has led to all that follows.
            let committed = self.admin.group_offsets(&self.app, &partitions).await?;
            let mut is_done = true;
            for (partition, committed) in partitions.iter().zip(committed) {
                let (first, end) = self.admin.offsets(partition).await?;
                is_done &= committed.unwrap_or(first) == end;
            }
            if is_done {
                return Ok(());
            }
            let state = self.running.state();
            ensure!(
                matches!(state, State::Created | State::Rebalancing | State::Running),
                "the program is in state {state}"
            );
        }
    }

    /// What this run has written to a topic until now.
    pub async fn read<K: 'static, V: 'static>(&self, topic: &Topic<K, V>) -> Result<Vec<(K, V)>> {
        let records = self.records(topic.name()).await?;
        let decoded = records.iter().map(|record| record.decode(topic));
        Ok(decoded.collect::<Result<_, _>>()?)
    }

    /// As [`read`](Self::read), as bytes.
    pub async fn records(&self, topic: &str) -> Result<Vec<Received>> {
        let partition = TopicPartition::new(topic, 0);
        let (first, end) = self.admin.offsets(&partition).await?;
        let from = self.ends.get(topic).copied().unwrap_or_default().max(first);
        let consumer = Consumer::builder(self.cluster.bootstrap())
            .assign(&[(partition, ReadFrom::Offset(from))])
            .await?;
        if end == from {
            return Ok(Vec::new());
        }
        let wanted = usize::try_from(end - from).context("a topic ends after it begins")?;
        Ok(consumer.take(wanted).try_collect().await?)
    }

    /// Stops the program, and the broker if it was ours.
    pub async fn stop(self) -> Result<()> {
        self.running.stop().await?;
        self.cluster.shutdown().await;
        Ok(())
    }
}
