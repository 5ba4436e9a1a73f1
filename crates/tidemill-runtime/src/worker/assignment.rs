//! From partitions to tasks at work: stable offsets first, then what the changelogs hold, then restore, then records.
//!
//! The order matters under exactly-once. Once the offsets are stable, no transaction of a former owner can commit any
//! more: it would have to add its offsets as a member that the group no longer knows. So the changelog's last stable
//! offset, asked for afterwards, covers everything that belongs to those offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_client::{Committed, Member, Start, TopicPartition, Transport, TransportError};
use tidemill_data::Timestamp;
use tidemill_store::{StoreOptions, TopicId};
use tidemill_streams::{Pause, Reset, Task, TaskConfig, TaskId};

use super::{Instance, PAUSE_MAX, Worker};
use crate::control::Owner;
use crate::error::RunError;
use crate::live_task::{Input, LiveTask, WrittenBy, task_error};
use crate::restore::{Extent, Unrestored};

/// How long commits may wait to be written to the database: so much more is restored after a crash.
const HELD_MAX: Duration = Duration::from_secs(1);

/// What the group has said of this member, as far as it was acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing yet, or what there was has been released.
    Unassigned,
    /// These partitions are ours; their committed offsets are asked for from then on.
    Awaiting {
        partitions: Vec<TopicPartition>,
        from: Timestamp,
    },
    /// Tasks of these partitions are open.
    Holding(Vec<TopicPartition>),
    /// The group has moved on without us: process and commit nothing until it says so by `Lost`.
    Fenced(Vec<TopicPartition>),
}

impl Worker {
    /// Makes the tasks of the partitions assigned, as soon as the committed offsets are known for good.
    pub(super) fn take_up_when_stable(&mut self, now: Timestamp) -> Result<(), RunError> {
        let Standing::Awaiting { partitions, from } = &self.standing else {
            return Ok(());
        };
        if now < *from {
            return Ok(());
        }
        let partitions = partitions.clone();
        self.instance.control.check()?;
        let committed = if partitions.is_empty() {
            Vec::new()
        } else {
            match self.member.committed(&partitions) {
                Ok(committed) => committed,
                Err(TransportError::Unstable) => {
                    tracing::info!("{}: waiting for a transaction to end", self.post.name);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.take_up(partitions, &committed, now)
    }

    fn take_up(
        &mut self,
        partitions: Vec<TopicPartition>,
        committed: &[Option<Committed>],
        now: Timestamp,
    ) -> Result<(), RunError> {
        self.last_commit = now;
        let needed = match self.needed(&partitions) {
            Err(error @ RunError::PartialTask { .. }) if self.instance.patterns.is_some() => {
                tracing::info!("{}: {error}; the other members are yet to follow", self.post.name);
                let from = now.saturating_add(PAUSE_MAX);
                self.standing = Standing::Awaiting { partitions, from };
                return Ok(());
            }
            needed => needed?,
        };
        let mut tasks = Vec::new();
        for (id, inputs) in needed {
            let committed = |partition: &TopicPartition| {
                let known = partitions
                    .iter()
                    .zip(committed)
                    .find(|(known, _)| *known == partition);
                known
                    .and_then(|(_, committed)| committed.as_ref())
                    .map(|committed| committed.next)
            };
            tasks.push(self.open(id, inputs, committed, now)?);
        }
        let name = &self.post.name;
        tracing::info!("{name}: {} tasks of {} partitions", tasks.len(), partitions.len());
        for task in &mut tasks {
            resume_clocks(&mut task.live, &partitions, committed);
        }
        let from = self.starts(&partitions, committed, now)?;
        self.member.accept(&from)?;
        self.announce(tasks.iter().map(|task| task.live.id()));
        self.standing = Standing::Holding(partitions);
        let ready = self.restorer.add(tasks, now)?;
        self.begin(ready);
        Ok(())
    }

    /// Tells the other instances which tasks this thread has, if they may ask it. That they cannot be told stops no work.
    pub(super) fn announce(&self, tasks: impl Iterator<Item = TaskId>) {
        let Some(server) = self.instance.config.application_server.clone() else {
            return;
        };
        let tasks = tasks.map(|id| id.to_string()).collect();
        let name = &self.post.name;
        if let Err(error) = self.instance.control.announce(name, &Owner { server, tasks }) {
            tracing::warn!("{name}: other instances were not told which tasks are here: {error}");
        }
    }

    /// Lets complete tasks work.
    pub(super) fn begin(&mut self, complete: Vec<LiveTask>) {
        self.recorder.created(complete.len());
        for mut live in complete {
            resume(&mut *self.member, &mut live.inputs, |_| true);
            self.tasks.insert(live.id(), live);
        }
    }

    /// The tasks that read the partitions, each with all of its inputs.
    fn needed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TaskId, Vec<TopicPartition>>, RunError> {
        let Instance { topology, plan, .. } = &*self.instance;
        let mut needed = BTreeMap::new();
        for (subtopology, part) in topology.subtopologies().iter().enumerate() {
            let repartitions = part.repartition_sources.iter().map(|topic| &topic.name);
            let topics: Vec<&String> = part.source_topics.iter().chain(repartitions).collect();
            for partition in partitions
                .iter()
                .filter(|p| topics.iter().any(|t| **t == *p.topic))
            {
                let id = TaskId {
                    subtopology,
                    partition: partition.partition,
                };
                let has = |topic: &&&String| plan.partitions.get(**topic).is_none_or(|n| id.partition < *n);
                let at = |topic: &&String| TopicPartition::new(topic.as_str(), id.partition);
                needed
                    .entry(id)
                    .or_insert_with(|| topics.iter().filter(has).map(at).collect::<Vec<_>>());
            }
        }
        for (id, inputs) in &needed {
            if !inputs.iter().all(|input| partitions.contains(input)) {
                let needs = inputs.iter().map(ToString::to_string).collect();
                return Err(RunError::PartialTask {
                    task: id.to_string(),
                    needs,
                });
            }
        }
        Ok(needed)
    }

    fn open(
        &mut self,
        id: TaskId,
        inputs: Vec<TopicPartition>,
        committed: impl Fn(&TopicPartition) -> Option<i64>,
        now: Timestamp,
    ) -> Result<Unrestored, RunError> {
        let Instance {
            topology,
            plan,
            config,
            databases,
            transport,
            ..
        } = &*self.instance;
        let stores = topology
            .subtopologies()
            .get(id.subtopology)
            .map_or(&[][..], |part| &part.stores);
        let database = databases.open(id, stores)?;
        let all_stores: usize = topology
            .subtopologies()
            .iter()
            .zip(&plan.tasks)
            .map(|(part, tasks)| part.stores.len() * usize::try_from(*tasks).unwrap_or(0))
            .sum();
        let cache_bytes_all = config.cache_bytes_max.unwrap_or_else(|| databases.cache_bytes());
        let cache_bytes_max = cache_bytes_all / all_stores.max(1);
        let task_config = TaskConfig {
            uncommitted_bytes_max: Some(config.overlay_bytes_max()),
            output_bytes_max: Some(config.output_bytes_max()),
            order_bytes_max: Some(config.order_bytes_max()),
            stores: StoreOptions {
                cache_bytes_max,
                commits_held_max: commits_held_max(config.commit_interval),
            },
            pause: Pause::by(std::thread::sleep),
            record_bytes_max: Some(config.record_bytes_max()),
            globals: self.instance.globals.clone(),
        };
        let task =
            Task::new(topology.clone(), id, database, &task_config, now).map_err(|e| task_error(id, e))?;
        let mut live = LiveTask::new(task, inputs);
        let changelogs = live.task.changelogs();
        let at: Vec<_> = changelogs
            .iter()
            .map(|c| TopicPartition::new(c.topic.as_str(), id.partition))
            .collect();
        let extents = if at.is_empty() {
            Vec::new()
        } else {
            extents(&**transport, &at)?
        };
        let mut with_extents = Vec::new();
        for ((changelog, partition), (start, end)) in changelogs.iter().zip(&at).zip(extents) {
            let (written_by, end) = if changelog.is_input {
                let committed = committed(partition).unwrap_or(start);
                (WrittenBy::Others, committed.clamp(start, end.max(start)))
            } else {
                (WrittenBy::Task, end)
            };
            let topic_id = TopicId(plan.topic_ids.get(&changelog.topic).copied().unwrap_or_default());
            let extent = Extent { topic_id, start, end };
            live.follow(
                &changelog.topic,
                topic_id,
                written_by,
                changelog.position.map_or(start, |p| p.next_offset.min(end)),
            );
            with_extents.push((changelog.clone(), extent));
        }
        Ok(Unrestored {
            live,
            changelogs: with_extents,
            delete_retention: config.delete_retention,
        })
    }

    fn starts(
        &self,
        partitions: &[TopicPartition],
        committed: &[Option<Committed>],
        now: Timestamp,
    ) -> Result<Vec<(TopicPartition, Start)>, RunError> {
        let Instance { topology, config, .. } = &*self.instance;
        let start = |(partition, committed): (&TopicPartition, &Option<Committed>)| {
            let start = match (
                committed,
                topology.reset_of(&partition.topic).unwrap_or(config.reset),
            ) {
                (Some(committed), _) => Start::At(committed.next),
                (None, Reset::Earliest) => Start::Earliest,
                (None, Reset::Latest) => Start::Latest,
                (None, Reset::Within(span)) => Start::Since(now.saturating_sub(span)),
                (None, Reset::Refuse) => {
                    let (operation, reason) =
                        ("begin to read", format!("nothing is committed for {partition}"));
                    return Err(TransportError::Cluster { operation, reason }.into());
                }
            };
            Ok((partition.clone(), start))
        };
        partitions.iter().zip(committed).map(start).collect()
    }
}

/// Stream times go on from where the last commit left them, so that what was late stays late; and the stores reflect
/// what was committed.
fn resume_clocks(live: &mut LiveTask, partitions: &[TopicPartition], committed: &[Option<Committed>]) {
    for (partition, committed) in partitions.iter().zip(committed) {
        let reads = live.inputs.iter().any(|input| input.partition == *partition);
        let Some(committed) = committed.as_ref().filter(|_| reads) else {
            continue;
        };
        live.task.begins_at(&partition.topic, committed.next);
        if !committed.metadata.is_empty() && !live.task.resume(&committed.metadata) {
            tracing::warn!("{partition}: the committed offset's metadata is not this program's");
        }
    }
}

/// So many commits that a store's database is at most [`HELD_MAX`] behind its changelog.
fn commits_held_max(commit_interval: Duration) -> u32 {
    let held = HELD_MAX.as_millis() / commit_interval.as_millis().max(1);
    u32::try_from(held).unwrap_or(u32::MAX)
}

fn extents(transport: &dyn Transport, at: &[TopicPartition]) -> Result<Vec<(i64, i64)>, RunError> {
    let starts = transport.start_offsets(at)?;
    Ok(starts.into_iter().zip(transport.end_offsets(at)?).collect())
}

/// Takes the pauses of some inputs back.
pub(super) fn resume(member: &mut dyn Member, inputs: &mut [Input], which: impl Fn(&TopicPartition) -> bool) {
    let paused = inputs
        .iter_mut()
        .filter(|input| input.paused && which(&input.partition));
    let mut partitions = Vec::new();
    for input in paused {
        input.paused = false;
        partitions.push(input.partition.clone());
    }
    if !partitions.is_empty() {
        member.resume(&partitions);
    }
}
