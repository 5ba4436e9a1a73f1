//! What is left after a run, read back and counted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::clients::{Ended, Sent, config};
use super::{COPIES, NUMBERS, PARTITIONS, PATIENCE, TRANSACTIONS};

/// What is left after a run.
#[derive(Debug)]
pub struct Verdict {
    /// Numbers that were acknowledged.
    pub numbers: usize,
    /// Transactions that were committed.
    pub committed: usize,
    /// Transactions that were aborted.
    pub aborted: usize,
    /// Transactions whose end the client never learned.
    pub unknown: usize,
    /// What should not be.
    pub complaints: Vec<String>,
}

pub(super) fn create_topics(bootstrap: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create()?;
    let topics = [NUMBERS, TRANSACTIONS, COPIES]
        .map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for made in runtime.block_on(admin.create_topics(&topics, &AdminOptions::new()))? {
        made.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    Ok(())
}

pub(super) fn judge(
    bootstrap: &str,
    sent: &Sent,
    ended: &BTreeMap<usize, Ended>,
    went_back: Vec<String>,
) -> Result<Verdict> {
    let mut complaints = went_back;
    complaints.extend(sent.refused.iter().cloned());
    let numbers = read(bootstrap, NUMBERS, "read_uncommitted").context(NUMBERS)?;
    count_once("number", &sent.acknowledged, &numbers, &mut complaints);
    in_order(&numbers, &mut complaints);
    let copies = read(bootstrap, COPIES, "read_committed").context(COPIES)?;
    let copied: Vec<usize> = numbers
        .iter()
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    count_once("copy", &copied, &copies, &mut complaints);
    if copies.len() != numbers.len() {
        complaints.push(format!("{} copies of {} numbers", copies.len(), numbers.len()));
    }
    let transactions = read(bootstrap, TRANSACTIONS, "read_committed").context(TRANSACTIONS)?;
    whole(ended, &transactions, &mut complaints);
    let count = |wanted| ended.values().filter(|ended| **ended == wanted).count();
    Ok(Verdict {
        numbers: sent.acknowledged.len(),
        committed: count(Ended::Committed),
        aborted: count(Ended::Aborted),
        unknown: count(Ended::Unknown),
        complaints,
    })
}

/// Everything expected is there, and nothing is there twice.
fn count_once(what: &str, expected: &[usize], found: &[(i32, String)], complaints: &mut Vec<String>) {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, value) in found {
        if let Ok(number) = value.parse() {
            *counts.entry(number).or_default() += 1;
        }
    }
    let lost = expected.iter().filter(|number| !counts.contains_key(number));
    complaints.extend(lost.map(|number| format!("{what} {number} is lost")));
    let doubled = counts.iter().filter(|(_, count)| **count > 1);
    complaints.extend(doubled.map(|(number, count)| format!("{what} {number} is there {count} times")));
}

/// The numbers of a partition came in order and lie in order.
fn in_order(found: &[(i32, String)], complaints: &mut Vec<String>) {
    let mut last: BTreeMap<i32, usize> = BTreeMap::new();
    for (partition, value) in found {
        let Ok(number) = value.parse::<usize>() else {
            continue;
        };
        if let Some(before) = last.insert(*partition, number)
            && before > number
        {
            complaints.push(format!(
                "number {number} lies behind {before} in partition {partition}"
            ));
        }
    }
}

/// A transaction is there with all its records, or not at all; as its client was told, if it was.
fn whole(ended: &BTreeMap<usize, Ended>, found: &[(i32, String)], complaints: &mut Vec<String>) {
    let mut records: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (_, value) in found {
        match value.split_once('-').map(|(number, at)| (number.parse(), at)) {
            Some((Ok(number), at)) => records.entry(number).or_default().push(at),
            _ => complaints.push(format!("{value:?} is no record of a transaction")),
        }
    }
    for (number, ended) in ended {
        let mut seen = records.remove(number).unwrap_or_default();
        seen.sort_unstable();
        let all = seen == ["0", "1", "2", "3", "4"];
        let fits = match ended {
            Ended::Committed => all,
            Ended::Aborted => seen.is_empty(),
            Ended::Unknown => all || seen.is_empty(),
        };
        if !fits {
            complaints.push(format!("transaction {number}, {ended:?}, is there with {seen:?}"));
        }
    }
    complaints.extend(
        records
            .keys()
            .map(|number| format!("transaction {number} was never begun")),
    );
}

/// All records of a topic with their partitions, in the order of each.
fn read(bootstrap: &str, topic: &str, isolation: &str) -> Result<Vec<(i32, String)>> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "judge")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .create()?;
    let mut from = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        from.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&from)?;
    let mut found = Vec::new();
    let mut ended = 0;
    while ended < PARTITIONS {
        match consumer.poll(PATIENCE) {
            None => bail!("nothing comes for {PATIENCE:?}"),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(_)) => {}
            Some(Ok(message)) => {
                let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
                found.push((message.partition(), value.into_owned()));
            }
        }
    }
    // A transaction that nobody ended would hide what lies behind it.
    for partition in 0..PARTITIONS {
        let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        let position = consumer.position()?;
        let at = position
            .find_partition(topic, partition)
            .map(|found| found.offset());
        if end > 0 && at != Some(Offset::Offset(end)) && isolation == "read_uncommitted" {
            bail!("{topic}-{partition} ends at {end}, read to {at:?}");
        }
    }
    Ok(found)
}
