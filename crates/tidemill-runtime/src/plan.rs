//! What a topology needs of its cluster: partition counts found, checked and carried over to internal topics, which are
//! created.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_client::{TopicDescription, TopicSpec, Transport};
use tidemill_streams::{InternalTopic, Topology};

use crate::error::StartError;

/// The partitions of everything a program reads or makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The tasks of each subtopology: as many as the largest of its inputs has partitions.
    pub(crate) tasks: Vec<i32>,
    /// Partition counts of sources and internal topics.
    pub(crate) partitions: BTreeMap<String, i32>,
    /// Ids of changelog topics, where the cluster tells.
    pub(crate) topic_ids: BTreeMap<String, [u8; 16]>,
}

/// Whether topics of others that are missing are made, too: only on a broker that belongs to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Refuse,
    Create,
}

/// What becomes of internal topics that are there with other numbers of partitions than the sources would give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The program does not run.
    Exact,
    /// Repartition topics stay as they are, and changelogs may have partitions of no task: the sources come and go.
    Existing,
}

/// Looks at the cluster, checks that the program can run there, and creates what is missing.
pub(crate) fn prepare(
    topology: &Topology,
    transport: &dyn Transport,
    replication: Option<i16>,
    missing: Missing,
    fit: Fit,
) -> Result<Plan, StartError> {
    let sources: BTreeSet<&str> = topology
        .subtopologies()
        .iter()
        .flat_map(|part| {
            let global = part.global.as_ref().map(|global| &global.topic);
            part.source_topics.iter().chain(global)
        })
        .map(String::as_str)
        .collect();
    let sources: Vec<&str> = sources.into_iter().collect();
    if missing == Missing::Create {
        create_named(topology, transport)?;
    }
    let mut known = BTreeMap::new();
    let mut absent = Vec::new();
    for (name, found) in sources.iter().zip(transport.describe(&sources)?) {
        match found {
            Some(topic) => drop(known.insert((*name).to_owned(), topic.partitions)),
            None => absent.push((*name).to_owned()),
        }
    }
    if !absent.is_empty() {
        return Err(StartError::MissingSources { topics: absent });
    }
    let standing = match fit {
        Fit::Exact => BTreeMap::new(),
        Fit::Existing => standing(topology, transport)?,
    };
    let partitions = resolve(topology, &known, &standing)?;
    let mut plan = Plan {
        tasks: tasks(topology, &partitions),
        partitions,
        topic_ids: BTreeMap::new(),
    };
    create_internal(topology, transport, replication, fit, &mut plan)?;
    Ok(plan)
}

/// The partitions of the repartition topics that are there.
fn standing(topology: &Topology, transport: &dyn Transport) -> Result<BTreeMap<String, i32>, StartError> {
    let parts = topology.subtopologies().iter();
    let topics = parts.flat_map(|part| part.repartition_sources.iter().chain(&part.repartition_sinks));
    let names: BTreeSet<&str> = topics.map(|topic| topic.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found = names.iter().zip(transport.describe(&names)?);
    let count = |(name, found): (&&str, Option<TopicDescription>)| {
        found.map(|topic| ((*name).to_owned(), topic.partitions))
    };
    Ok(found.filter_map(count).collect())
}

fn create_named(topology: &Topology, transport: &dyn Transport) -> Result<(), StartError> {
    let parts = topology.subtopologies();
    let names: BTreeSet<&String> = parts
        .iter()
        .flat_map(|p| {
            let global = p.global.as_ref().map(|global| &global.topic);
            p.source_topics.iter().chain(&p.sink_topics).chain(global)
        })
        .collect();
    let spec = |name: &&String| TopicSpec {
        partitions: None,
        ..TopicSpec::new(name.as_str(), 1)
    };
    Ok(transport.create(&names.iter().map(spec).collect::<Vec<_>>())?)
}

fn inputs(topology: &Topology, part: usize) -> Vec<&str> {
    let part = topology.subtopologies().get(part);
    part.map_or_else(Vec::new, |part| {
        let repartitions = part.repartition_sources.iter().map(|topic| topic.name.as_str());
        part.source_topics
            .iter()
            .map(String::as_str)
            .chain(repartitions)
            .collect()
    })
}

fn tasks(topology: &Topology, partitions: &BTreeMap<String, i32>) -> Vec<i32> {
    let most = |part| {
        inputs(topology, part)
            .iter()
            .filter_map(|topic| partitions.get(*topic).copied())
            .max()
    };
    (0..topology.subtopologies().len())
        .map(|part| most(part).unwrap_or(0))
        .collect()
}

/// Partition counts of all inputs. A repartition topic without a number takes that of the tasks that write it, or of
/// the topics it must match.
fn resolve(
    topology: &Topology,
    sources: &BTreeMap<String, i32>,
    standing: &BTreeMap<String, i32>,
) -> Result<BTreeMap<String, i32>, StartError> {
    let internal: BTreeMap<&str, &InternalTopic> = topology
        .subtopologies()
        .iter()
        .flat_map(|part| part.repartition_sources.iter().chain(&part.repartition_sinks))
        .map(|topic| (topic.name.as_str(), topic))
        .collect();
    // What operators demand comes before what is there.
    let mut matched = standing.clone();
    // Each round settles at least one topic for good, so there are no more rounds than topics.
    for _round in 0..=internal.len() {
        let counts = spread(topology, sources, &internal, &matched)?;
        let before = matched.clone();
        for group in topology.copartitioned_topics() {
            let count = common_count(&group, &counts, &internal)?;
            matched.extend(
                group
                    .iter()
                    .filter(|t| is_flexible(t, &internal))
                    .map(|t| (t.clone(), count)),
            );
        }
        if matched == before {
            return Ok(counts);
        }
    }
    Err(StartError::Unresolved {
        topics: internal.keys().map(|name| (*name).to_owned()).collect(),
    })
}

fn is_flexible(topic: &str, internal: &BTreeMap<&str, &InternalTopic>) -> bool {
    internal
        .get(topic)
        .is_some_and(|topic| topic.partitions.is_none())
}

fn spread(
    topology: &Topology,
    sources: &BTreeMap<String, i32>,
    internal: &BTreeMap<&str, &InternalTopic>,
    matched: &BTreeMap<String, i32>,
) -> Result<BTreeMap<String, i32>, StartError> {
    let mut counts = sources.clone();
    for (name, topic) in internal {
        let fixed = topic
            .partitions
            .and_then(|n| i32::try_from(n).ok())
            .or_else(|| matched.get(*name).copied());
        counts.extend(fixed.map(|n| ((*name).to_owned(), n)));
    }
    let groups = topology.copartitioned_topics();
    let mut open: Vec<&str> = internal
        .keys()
        .copied()
        .filter(|name| !counts.contains_key(*name))
        .collect();
    while !open.is_empty() {
        let before = open.len();
        open.retain(|name| match upstream_count(topology, name, &counts) {
            Some(count) => {
                counts.insert((*name).to_owned(), count);
                false
            }
            None => true,
        });
        if open.len() == before {
            // Topics in a loop, as those of a foreign-key join, take the count of what they have to match.
            open.retain(|name| match matching_count(&groups, name, &counts) {
                Some(count) => {
                    counts.insert((*name).to_owned(), count);
                    false
                }
                None => true,
            });
        }
        if open.len() == before {
            return Err(StartError::Unresolved {
                topics: open.iter().map(|name| (*name).to_owned()).collect(),
            });
        }
    }
    Ok(counts)
}

/// The most partitions of the topics that this one has to match, as far as they are known.
fn matching_count(groups: &[Vec<String>], topic: &str, counts: &BTreeMap<String, i32>) -> Option<i32> {
    let groups = groups
        .iter()
        .filter(|group| group.iter().any(|member| member == topic));
    groups
        .flatten()
        .filter_map(|member| counts.get(member).copied())
        .max()
}

/// The most tasks of those that write the topic, once all of their inputs are known.
fn upstream_count(topology: &Topology, topic: &str, counts: &BTreeMap<String, i32>) -> Option<i32> {
    let writers = topology.subtopologies().iter().enumerate();
    let writers = writers.filter(|(_, part)| part.repartition_sinks.iter().any(|sink| sink.name == topic));
    let mut most = None;
    for (part, _) in writers {
        // A part that reads what it writes counts by its other inputs.
        for input in inputs(topology, part).into_iter().filter(|input| *input != topic) {
            most = most.max(Some(*counts.get(input)?));
        }
    }
    most
}

fn common_count(
    group: &[String],
    counts: &BTreeMap<String, i32>,
    internal: &BTreeMap<&str, &InternalTopic>,
) -> Result<i32, StartError> {
    let count = |topic: &String| counts.get(topic).copied().unwrap_or_default();
    let firm: Vec<&String> = group
        .iter()
        .filter(|topic| !is_flexible(topic, internal))
        .collect();
    let Some(first) = firm.first() else {
        return Ok(group.iter().map(count).max().unwrap_or_default());
    };
    if firm.iter().any(|topic| count(topic) != count(first)) {
        let mut topics: Vec<_> = firm
            .iter()
            .map(|topic| ((*topic).clone(), count(topic)))
            .collect();
        topics.sort();
        return Err(StartError::NotCopartitioned { topics });
    }
    Ok(count(first))
}

fn create_internal(
    topology: &Topology,
    transport: &dyn Transport,
    replication: Option<i16>,
    fit: Fit,
    plan: &mut Plan,
) -> Result<(), StartError> {
    let mut wanted: BTreeMap<&str, (&InternalTopic, i32)> = BTreeMap::new();
    for (part, tasks) in topology.subtopologies().iter().zip(&plan.tasks) {
        for topic in part.repartition_sources.iter().chain(&part.repartition_sinks) {
            let count = plan.partitions.get(&topic.name).copied().unwrap_or(1);
            wanted.insert(&topic.name, (topic, count));
        }
        wanted.extend(
            part.changelogs
                .iter()
                .map(|topic| (topic.name.as_str(), (topic, *tasks))),
        );
    }
    let names: Vec<&str> = wanted.keys().copied().collect();
    let found = transport.describe(&names)?;
    let mut create = Vec::new();
    for ((name, (topic, count)), found) in wanted.iter().zip(&found) {
        match found {
            Some(found) if fit == Fit::Existing && topic.store.is_some() && found.partitions > *count => {}
            Some(found) if found.partitions != *count => {
                return Err(StartError::InternalPartitions {
                    topic: (*name).to_owned(),
                    found: found.partitions,
                    wanted: *count,
                });
            }
            Some(_) => {}
            // Without inputs it has no tasks.
            None if *count == 0 => {}
            None => create.push(spec(topic, *count, replication)),
        }
    }
    if !create.is_empty() {
        tracing::info!(
            "creating internal topics: {}",
            list(create.iter().map(|t| (&t.name, t.partitions.unwrap_or(1))))
        );
        transport.create(&create)?;
    }
    let found = if create.is_empty() {
        found
    } else {
        transport.describe(&names)?
    };
    for (name, found) in names.iter().zip(found) {
        plan.topic_ids.extend(
            found
                .and_then(|topic| topic.id)
                .map(|id| ((*name).to_owned(), id)),
        );
    }
    let read_only = topology.subtopologies().iter().flat_map(|part| &part.read_only);
    let names: Vec<&str> = read_only.map(|filled| filled.topic.as_str()).collect();
    let found = if names.is_empty() {
        Vec::new()
    } else {
        transport.describe(&names)?
    };
    for (name, found) in names.iter().zip(found) {
        let id = found.and_then(|topic| topic.id);
        plan.topic_ids.extend(id.map(|id| ((*name).to_owned(), id)));
    }
    for (name, (_, count)) in &wanted {
        plan.partitions.insert((*name).to_owned(), *count);
    }
    Ok(())
}

fn spec(topic: &InternalTopic, partitions: i32, replication: Option<i16>) -> TopicSpec {
    let mut spec = TopicSpec::new(&topic.name, partitions);
    spec.replication = replication;
    topic
        .config
        .iter()
        .fold(spec, |spec, (name, value)| spec.with(name, value))
}

pub(crate) fn list<'a>(topics: impl Iterator<Item = (&'a String, i32)>) -> String {
    topics
        .map(|(name, count)| format!("{name} ({count})"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;
