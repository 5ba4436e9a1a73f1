//! From the logical graph to subtopologies: merging sources, cutting at topics, naming internal topics.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_store::StoreKind;

use crate::{
    GlobalStore, InternalTopic, Lint, ReadOnlyStore, Subtopology, TopicIndex, TopicRole, Topology,
    graph::{ChangelogSetting, Entry, Graph, Node, NodeId, NodeKind, StoreDecl},
};

/// Which source stands for another one of the same topics.
pub(crate) type Merged = BTreeMap<NodeId, NodeId>;

/// Sources of equal topics become the first of them, as in Kafka Streams.
pub(crate) fn merge_sources(graph: &mut Graph) -> (Vec<Node>, Merged) {
    let mut nodes = graph.nodes.clone();
    let mut merged = Merged::new();
    let mut firsts: Vec<(NodeId, Vec<TopicIndex>)> = Vec::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        let NodeKind::Source(topics) = &node.kind else {
            continue;
        };
        // A topic may be read by tasks and be a global table as well.
        if graph.globals.iter().any(|global| global.source == NodeId(at)) {
            continue;
        }
        // Once the program ran, its topics may have gone, and may come again.
        if topics.is_empty() && !graph.built {
            let name = &node.name;
            graph.problems.push(format!(
                "{name} reads topics by their names, and there is none it wants"
            ));
        }
        let mut sorted = topics.clone();
        sorted.sort_unstable();
        let first = firsts
            .iter()
            .find(|(_, known)| known.iter().any(|topic| sorted.contains(topic)));
        match first {
            Some((first, known)) if *known == sorted => {
                merged.insert(NodeId(at), *first);
            }
            Some(_) => graph.problems.push(format!(
                "{} shares only some of its topics with another source",
                node.name
            )),
            None => firsts.push((NodeId(at), sorted)),
        }
    }
    for node in &mut nodes {
        for parent in &mut node.parents {
            *parent = merged.get(parent).copied().unwrap_or(*parent);
        }
    }
    (nodes, merged)
}

/// What reads each topic, in the order in which the readers stand in the program.
pub(crate) fn entries(graph: &Graph) -> Vec<Vec<(NodeId, Arc<dyn Entry>)>> {
    let mut entries: Vec<Vec<(NodeId, Arc<dyn Entry>)>> = graph.topics.iter().map(|_| Vec::new()).collect();
    for (topic, entries) in entries.iter_mut().enumerate() {
        let reads = |node: NodeId| {
            let kind = graph.nodes.get(node.0).map(|node| &node.kind);
            matches!(kind, Some(NodeKind::Source(topics)) if topics.iter().any(|known| known.position() == topic))
        };
        let mut readers: Vec<(usize, usize)> = Vec::new();
        for (at, source) in graph
            .sources
            .iter()
            .enumerate()
            .filter(|(_, source)| reads(source.node))
        {
            readers.extend(source.reader.orders().into_iter().map(|order| (order, at)));
        }
        readers.sort_unstable();
        // Readers that follow each other on one source share a decoded record where it can be cloned.
        let mut rest = readers.as_slice();
        while let Some((_, at)) = rest.first().copied() {
            let Some(source) = graph.sources.get(at) else {
                break;
            };
            let run = rest.iter().take_while(|(_, other)| *other == at).count();
            let (run, after) = rest.split_at(if source.reader.fans_out() { run } else { 1 });
            let orders: Vec<usize> = run.iter().map(|(order, _)| *order).collect();
            entries.push((source.node, source.reader.part(&orders)));
            rest = after;
        }
    }
    entries
}

/// By node: whether a left or outer join of streams lies behind it, also behind repartition topics.
pub(crate) fn keeps_null_keys(graph: &Graph) -> Vec<bool> {
    let mut keeps = vec![false; graph.nodes.len()];
    let mut ahead = graph.wants_null_keys.clone();
    while let Some(id) = ahead.pop() {
        let Some(node) = graph.nodes.get(id.0) else {
            continue;
        };
        let mut before = node.parents.clone();
        if let NodeKind::Source(topics) = &node.kind {
            before.extend(writers(graph, topics));
        }
        for parent in before {
            if let Some(keeps) = keeps.get_mut(parent.0).filter(|keeps| !**keeps) {
                *keeps = true;
                ahead.push(parent);
            }
        }
    }
    keeps
}

/// The operators that write the app's own topics among these.
fn writers<'a>(graph: &'a Graph, topics: &'a [TopicIndex]) -> impl Iterator<Item = NodeId> + 'a {
    let internal = |topic: &TopicIndex| {
        let decl = graph.topics.get(topic.position());
        decl.is_some_and(|topic| topic.role != TopicRole::External)
    };
    let nodes = graph.nodes.iter().enumerate();
    nodes
        .filter(move |(_, node)| match &node.kind {
            NodeKind::Sink(Some(topic)) => topics.contains(topic) && internal(topic),
            _ => false,
        })
        .map(|(at, _)| NodeId(at))
}

/// Cuts the graph into parts that no edge and no store connects, numbered as Kafka Streams does: in the order of their
/// first operators in the program.
pub(crate) fn cut(topology: &Topology, merged: &Merged) -> Vec<Subtopology> {
    let live = |at: &usize| !merged.contains_key(&NodeId(*at));
    let mut group: Vec<usize> = (0..topology.nodes.len()).collect();
    for (at, node) in topology.nodes.iter().enumerate() {
        for parent in &node.parents {
            join(&mut group, at, parent.0);
        }
        for (other, earlier) in topology.nodes.iter().enumerate().take(at) {
            let shared = |store| node.stores.contains(store) && !is_global(topology, *store);
            if earlier.stores.iter().any(shared) {
                join(&mut group, at, other);
            }
        }
    }
    let mut roots: Vec<usize> = Vec::new();
    for at in (0..topology.nodes.len()).filter(live) {
        let root = root(&group, at);
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    let members = |of: usize| {
        (0..topology.nodes.len())
            .filter(live)
            .filter(move |at| root(&group, *at) == of)
    };
    let parts = roots.iter().map(|of| members.clone()(*of).map(NodeId).collect());
    parts.map(|nodes| part(topology, nodes)).collect()
}

fn is_global(topology: &Topology, store: crate::graph::StoreIndex) -> bool {
    topology
        .stores
        .get(store.0)
        .is_some_and(|store| store.global_topic.is_some())
}

fn root(group: &[usize], mut at: usize) -> usize {
    while let Some(above) = group.get(at).copied().filter(|above| *above != at) {
        at = above;
    }
    at
}

fn join(group: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(group, a), root(group, b));
    if let Some(above) = group.get_mut(a.max(b)) {
        *above = a.min(b);
    }
}

fn part(topology: &Topology, nodes: Vec<NodeId>) -> Subtopology {
    let mut part = Subtopology::default();
    let global = topology
        .globals
        .iter()
        .find(|global| nodes.contains(&global.source));
    if let Some(global) = global {
        let store = topology.stores.get(global.store.0);
        part.global = store.map(|store| GlobalStore {
            topic: topology.topic_name(global.topic),
            store: store.spec.name.clone(),
        });
        part.nodes = nodes;
        return part;
    }
    let mut stores: Vec<&StoreDecl> = Vec::new();
    for node in nodes.iter().filter_map(|id| topology.nodes.get(id.0)) {
        let (topics, reads) = match &node.kind {
            NodeKind::Source(topics) => (topics.clone(), true),
            NodeKind::Sink(topic) => (topic.iter().copied().collect(), false),
            NodeKind::Processor => (Vec::new(), false),
        };
        for topic in topics {
            place(topology, topic, reads, &mut part);
        }
        for store in node
            .stores
            .iter()
            .filter_map(|store| topology.stores.get(store.0))
        {
            if store.active && !stores.iter().any(|known| known.spec.name == store.spec.name) {
                stores.push(store);
            }
        }
    }
    part.stores = stores.iter().map(|store| store.spec.name.clone()).collect();
    let logged = stores.iter().filter(|store| store.changelog);
    part.changelogs = logged.map(|store| changelog(topology, store)).collect();
    let filled = stores.iter().filter_map(|store| {
        let (index, _) = topology.store(&store.spec.name)?;
        Some(ReadOnlyStore {
            topic: topology.topic_name(topology.filled_from(index)?.topic),
            store: store.spec.name.clone(),
        })
    });
    part.read_only = filled.collect();
    part.nodes = nodes;
    part
}

fn place(topology: &Topology, topic: TopicIndex, reads: bool, part: &mut Subtopology) {
    let name = topology.topic_name(topic);
    let role = topology.topics.get(topic.position()).map(|topic| topic.role);
    match (role, reads) {
        (Some(TopicRole::Repartition { partitions }), _) => {
            let list = if reads {
                &mut part.repartition_sources
            } else {
                &mut part.repartition_sinks
            };
            if !list.iter().any(|known| known.name == name) {
                list.push(repartition(name, partitions));
            }
        }
        (_, true) if !part.source_topics.contains(&name) => part.source_topics.push(name),
        (_, false) if !part.sink_topics.contains(&name) => part.sink_topics.push(name),
        _ => {}
    }
}

/// Kafka Streams' settings for repartition topics: what was consumed is purged by the app, never by time.
fn repartition(name: String, partitions: Option<u32>) -> InternalTopic {
    let config = [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "-1"),
        ("segment.bytes", "52428800"),
    ];
    let config = config
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    InternalTopic {
        name,
        partitions,
        config,
        store: None,
    }
}

/// How much longer than its store a windowed changelog keeps records: Kafka's
/// `windowstore.changelog.additional.retention.ms`.
const ADDITIONAL_RETENTION_MS: i64 = 86_400_000;

/// Each setting is of a changelog that there is.
pub(crate) fn check_changelog_settings(graph: &mut Graph) {
    for ChangelogSetting { store, name, .. } in &graph.changelog_settings {
        let has_changelog = |decl: &StoreDecl| decl.spec.name == *store && decl.active && decl.changelog;
        if !graph.stores.iter().any(has_changelog) {
            graph.problems.push(format!(
                "{name:?} is set for the changelog of store {store:?}, and there is none"
            ));
        }
    }
}

fn changelog(topology: &Topology, store: &StoreDecl) -> InternalTopic {
    let mut config = BTreeMap::from([("message.timestamp.type", "CreateTime".to_owned())]);
    match retention_ms(store.spec.kind) {
        Some(retention_ms) => {
            config.insert("cleanup.policy", "compact,delete".to_owned());
            config.insert(
                "retention.ms",
                retention_ms.saturating_add(ADDITIONAL_RETENTION_MS).to_string(),
            );
        }
        None => {
            config.insert("cleanup.policy", "compact".to_owned());
        }
    }
    // The changelog of versions has several records a key: compaction must leave those that the history needs.
    if let StoreKind::Versioned { history_retention_ms } = store.spec.kind {
        let lag_ms = history_retention_ms.saturating_add(ADDITIONAL_RETENTION_MS);
        config.insert("min.compaction.lag.ms", lag_ms.to_string());
    }
    let name = store.spec.name.clone();
    let mut config: BTreeMap<String, String> = config
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for setting in &topology.changelog_settings {
        if setting.store == name {
            config.insert(setting.name.clone(), setting.value.clone());
        }
    }
    InternalTopic {
        name: format!("{}-{name}-changelog", topology.app),
        partitions: None,
        config,
        store: Some(name),
    }
}

fn retention_ms(kind: StoreKind) -> Option<i64> {
    match kind {
        StoreKind::KeyValue | StoreKind::Timestamped | StoreKind::Versioned { .. } => None,
        StoreKind::Window { retention_ms, .. } | StoreKind::Session { retention_ms } => Some(retention_ms),
    }
}

pub(crate) fn lints(topology: &Topology, copartitioned: &[(NodeId, Vec<TopicIndex>)]) -> Vec<Lint> {
    let mut lints = Vec::new();
    let unnamed = topology
        .stores
        .iter()
        .filter(|store| store.active && !store.named);
    lints.extend(unnamed.map(|store| Lint::UnnamedStore {
        store: store.spec.name.clone(),
    }));
    for topic in topology
        .topics
        .iter()
        .filter(|topic| topic.role != TopicRole::External)
    {
        let stem = topic.name.trim_end_matches("-repartition");
        let of_unnamed_store = topology
            .stores
            .iter()
            .any(|store| !store.named && store.spec.name == stem);
        if of_unnamed_store || crate::operators::named_by_place(stem) {
            lints.push(Lint::UnnamedRepartition {
                topic: topic.name.clone(),
            });
        }
    }
    for (at, node) in topology.nodes.iter().enumerate() {
        let topics = repartitions_behind(topology, NodeId(at));
        if topics.len() > 1 {
            lints.push(Lint::RepartitionedTwice {
                operator: node.name.clone(),
                topics,
            });
        }
    }
    for (node, topics) in copartitioned.iter().filter(|(_, topics)| topics.len() > 1) {
        let operator = topology.node_name(*node).to_owned();
        let topics = topics.iter().map(|topic| topology.topic_name(*topic)).collect();
        lints.push(Lint::Copartitioned { operator, topics });
    }
    lints
}

/// The repartition topics that a node's records go to with nothing but the null-key filter between.
fn repartitions_behind(topology: &Topology, node: NodeId) -> Vec<String> {
    let children = |of: NodeId| {
        let nodes = topology.nodes.iter().enumerate();
        nodes
            .filter(move |(_, node)| node.parents.contains(&of))
            .map(|(at, _)| NodeId(at))
    };
    let mut topics = Vec::new();
    for filter in children(node) {
        for sink in children(filter) {
            let Some(Node {
                kind: NodeKind::Sink(Some(topic)),
                ..
            }) = topology.nodes.get(sink.0)
            else {
                continue;
            };
            let decl = topology.topics.get(topic.position());
            let internal = decl.filter(|topic| topic.role != TopicRole::External);
            topics.extend(internal.map(|topic| topic.name.clone()));
        }
    }
    topics
}
