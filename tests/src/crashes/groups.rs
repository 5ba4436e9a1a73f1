//! Those who read in groups, and commit what they have read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::clients::config;
use super::{NUMBERS, PARTITIONS, PATIENCE, Run, Step};

const TICK: Duration = Duration::from_millis(20);
const MEMBERS: usize = 2;
const RECORDS_A_COMMIT: usize = 50;

/// The highest offset of each partition whose commit was acknowledged, and what contradicted that.
#[derive(Default)]
struct Progress {
    committed: BTreeMap<i32, i64>,
    went_back: Vec<String>,
}

/// The members of a group.
pub(super) struct Readers {
    progress: Arc<Mutex<Progress>>,
    members: Vec<JoinHandle<Result<()>>>,
}

impl Readers {
    /// Two members of one group, that speak `protocol`.
    pub(super) fn start(run: &Run, protocol: &'static str) -> Readers {
        let progress = Arc::<Mutex<Progress>>::default();
        let member = |_| {
            let (run, progress) = (run.clone(), Arc::clone(&progress));
            std::thread::spawn(move || read(&run, protocol, &progress))
        };
        Readers {
            members: (0..MEMBERS).map(member).collect(),
            progress,
        }
    }

    pub(super) fn finish(self) -> Result<Vec<String>> {
        for member in self.members {
            member.join().map_err(|_| anyhow!("a reader panicked"))??;
        }
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut progress.went_back))
    }
}

fn read(run: &Run, protocol: &str, progress: &Mutex<Progress>) -> Result<()> {
    let mut config = config(&run.bootstrap);
    config
        .set("group.id", format!("{protocol}-readers"))
        .set("group.protocol", protocol)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    if protocol == "classic" {
        config
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "200");
    }
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[NUMBERS])?;
    let mut count = 0;
    let mut drained = None;
    loop {
        match consumer.poll(TICK) {
            Some(Ok(message)) => {
                note(progress, protocol, message.partition(), message.offset());
                count += 1;
            }
            // The broker is away; the client goes on by itself.
            Some(Err(_)) => {}
            None if !run.stopping() => {}
            None if is_done(&consumer)? => return Ok(()),
            None => {
                // One that failed while the group was rebalancing is due again.
                commit(&consumer, progress);
                let since = *drained.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    bail!("the {protocol} group does not get to the end");
                }
            }
        }
        let idle = count < RECORDS_A_COMMIT && !run.stopping();
        if count > 0 && !idle {
            count = 0;
            commit(&consumer, progress);
            run.step(Step::Records);
        }
    }
}

fn note(progress: &Mutex<Progress>, protocol: &str, partition: i32, offset: i64) {
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    let committed = progress.committed.get(&partition).copied().unwrap_or(0);
    if offset < committed {
        let complaint = format!("{protocol}: {partition}@{offset} is read again, {committed} was committed");
        progress.went_back.push(complaint);
    }
}

/// Commits what was read of the partitions that are the member's now: of those it had before a rebalance it must say
/// nothing. A commit that fails may or may not have happened: only those that are acknowledged promise anything.
fn commit(consumer: &BaseConsumer, progress: &Mutex<Progress>) {
    let Ok(position) = consumer.position() else { return };
    let mut list = TopicPartitionList::new();
    for read in position.elements() {
        let Offset::Offset(_) = read.offset() else {
            continue;
        };
        let added = list.add_partition_offset(NUMBERS, read.partition(), read.offset());
        if added.is_err() {
            return;
        }
    }
    if list.count() > 0 && consumer.commit(&list, CommitMode::Sync).is_ok() {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        for read in list.elements() {
            if let Offset::Offset(offset) = read.offset() {
                let known = progress.committed.entry(read.partition()).or_default();
                *known = (*known).max(offset);
            }
        }
    }
}

/// Whether the group has committed everything there is.
pub(super) fn is_done(consumer: &BaseConsumer) -> Result<bool> {
    let mut wanted = TopicPartitionList::new();
    (0..PARTITIONS).for_each(|partition| {
        wanted.add_partition(NUMBERS, partition);
    });
    let Ok(committed) = consumer.committed_offsets(wanted, Duration::from_secs(5)) else {
        return Ok(false);
    };
    for partition in 0..PARTITIONS {
        let Ok((_, end)) = consumer.fetch_watermarks(NUMBERS, partition, Duration::from_secs(5)) else {
            return Ok(false);
        };
        let offset = committed
            .find_partition(NUMBERS, partition)
            .map(|found| found.offset());
        if end > 0 && offset != Some(Offset::Offset(end)) {
            return Ok(false);
        }
    }
    Ok(true)
}
