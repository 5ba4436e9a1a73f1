//! `Topology`: what a program composed, cut into subtopologies at its internal topics. Immutable, shared by all tasks.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tidemill_store::{StoreKind, StoreSpec};

use crate::{
    Policy, Reset, TopicIndex, TopicRole,
    calls::Calling,
    graph::{
        ChangelogSetting, Entry, FilledDecl, GlobalDecl, GlobalFill, Graph, MakeSlot, Node, NodeId, NodeKind,
        Punctuated, StoreDecl, StoreIndex, TopicDecl,
    },
};

/// A program that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the topology cannot run: {}", problems.join("; "))]
pub struct TopologyError {
    /// Everything that is wrong.
    pub problems: Vec<String>,
}

/// Something that works, and will hurt later.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lint {
    /// A store whose name comes from its place in the program: adding an operator before it loses its state.
    UnnamedStore {
        /// The store.
        store: String,
    },
    /// A repartition topic whose name comes from its place in the program: adding an operator before it leaves
    /// records behind in the old one.
    UnnamedRepartition {
        /// The topic.
        topic: String,
    },
    /// One operator's records go through several repartition topics that hold the same.
    RepartitionedTwice {
        /// The operator whose records they are.
        operator: String,
        /// The topics.
        topics: Vec<String>,
    },
    /// These topics must have the same number of partitions, because one operator joins them.
    Copartitioned {
        /// The operator.
        operator: String,
        /// The topics.
        topics: Vec<String>,
    },
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnnamedStore { store } => write!(
                f,
                "store {store} has no name of its own: name it, or a later change of the program loses its state"
            ),
            Self::UnnamedRepartition { topic } => write!(
                f,
                "repartition topic {topic} has no name of its own: name it, or a later change of the program leaves records behind in it"
            ),
            Self::RepartitionedTwice { operator, topics } => write!(
                f,
                "the records of {operator} go through {} repartition topics: {}; repartition once before them",
                topics.len(),
                topics.join(", ")
            ),
            Self::Copartitioned { operator, topics } => write!(
                f,
                "{operator} needs the same number of partitions in {}",
                topics.join(", ")
            ),
        }
    }
}

/// A topic the app makes for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Its name on the cluster.
    pub name: String,
    /// How many partitions were asked for; without a number, as many as the subtopology has tasks.
    pub partitions: Option<u32>,
    /// Its settings, with Kafka's names.
    pub config: BTreeMap<String, String>,
    /// The store whose changelog it is.
    pub store: Option<String>,
}

/// A store that every instance keeps whole, and the topic whose records it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalStore {
    /// The topic, all partitions of which are read.
    pub topic: String,
    /// The store.
    pub store: String,
}

/// A store that is filled straight from a topic: see [`App::read_only_state_store`](crate::App::read_only_state_store).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOnlyStore {
    /// The topic, which is the store's changelog as well.
    pub topic: String,
    /// The store.
    pub store: String,
}

/// A part of the topology that runs in one task per partition, or keeps a global store and has no tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subtopology {
    /// Topics of others that it reads, by their names on the cluster.
    pub source_topics: Vec<String>,
    /// The app's repartition topics that it reads.
    pub repartition_sources: Vec<InternalTopic>,
    /// The app's repartition topics that it writes.
    pub repartition_sinks: Vec<InternalTopic>,
    /// Topics of others that it writes.
    pub sink_topics: Vec<String>,
    /// The changelogs of its stores.
    pub changelogs: Vec<InternalTopic>,
    /// Those of its stores that are filled straight from one of its source topics.
    pub read_only: Vec<ReadOnlyStore>,
    /// Its stores, in the order in which a task's database has them.
    pub stores: Vec<String>,
    /// The global store it keeps. It then reads nothing by tasks, and all lists above are empty.
    pub global: Option<GlobalStore>,
    pub(crate) nodes: Vec<NodeId>,
}

impl Subtopology {
    /// Whether it reads this topic, by its name on the cluster.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        self.source_topics.iter().any(|known| known == topic)
            || self.repartition_sources.iter().any(|known| known.name == topic)
    }
}

/// One store, as the topology declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreView {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: StoreKind,
    /// Which subtopology it belongs to.
    pub subtopology: usize,
}

/// What a program composed.
pub struct Topology {
    pub(crate) app: String,
    pub(crate) policy: Policy,
    pub(crate) nodes: Vec<Node>,
    pub(crate) topics: Vec<TopicDecl>,
    pub(crate) cluster_names: Vec<String>,
    pub(crate) stores: Vec<StoreDecl>,
    pub(crate) subtopologies: Vec<Subtopology>,
    // By the position of a topic: what reads it, in the order of the program.
    pub(crate) entries: Vec<Vec<(NodeId, Arc<dyn Entry>)>>,
    pub(crate) slots: Vec<(NodeId, MakeSlot)>,
    pub(crate) punctuated: Vec<(NodeId, Arc<dyn Punctuated>)>,
    pub(crate) ordering: Vec<NodeId>,
    pub(crate) changelog_settings: Vec<ChangelogSetting>,
    pub(crate) clocks: Vec<String>,
    // By calls index.
    pub(crate) calling: Vec<(NodeId, Arc<dyn Calling>)>,
    pub(crate) globals: Vec<GlobalDecl>,
    pub(crate) filled: Vec<FilledDecl>,
    copartitioned: Vec<(NodeId, Vec<TopicIndex>)>,
    // By node: whether records without a key may matter further on.
    keeps_null_keys: Vec<bool>,
    pub(crate) emit_interval_ms: i64,
    pub(crate) preserves_headers: bool,
}

impl Topology {
    pub(crate) fn build(graph: &mut Graph) -> Result<Self, TopologyError> {
        let composed = graph.problems.len();
        let (nodes, merged) = crate::physical::merge_sources(graph);
        crate::physical::check_changelog_settings(graph);
        if !graph.problems.is_empty() {
            let problems = graph.problems.clone();
            // What was found now may be otherwise with other topics.
            graph.problems.truncate(composed);
            return Err(TopologyError { problems });
        }
        graph.built = true;
        let cluster_names = graph
            .topics
            .iter()
            .map(|topic| cluster_name(&graph.app, topic))
            .collect();
        let mut topology = Self {
            app: graph.app.clone(),
            policy: graph.policy.clone(),
            nodes,
            topics: graph.topics.clone(),
            cluster_names,
            stores: stores(graph),
            subtopologies: Vec::new(),
            entries: crate::physical::entries(graph),
            slots: graph.slots.clone(),
            punctuated: graph.punctuated.clone(),
            ordering: graph.ordering.clone(),
            changelog_settings: graph.changelog_settings.clone(),
            clocks: graph.clock_names(),
            calling: graph.calling.clone(),
            globals: graph.globals.clone(),
            filled: graph.filled.clone(),
            copartitioned: Vec::new(),
            keeps_null_keys: crate::physical::keeps_null_keys(graph),
            emit_interval_ms: graph.emit_interval_ms,
            preserves_headers: graph.preserves_headers,
        };
        topology.copartitioned = graph
            .copartitioned
            .iter()
            .map(|(node, sources)| (*node, topology.topics_of(sources)))
            .collect();
        topology.subtopologies = crate::physical::cut(&topology, &merged);
        Ok(topology)
    }

    fn topics_of(&self, sources: &[NodeId]) -> Vec<TopicIndex> {
        let kinds = sources
            .iter()
            .filter_map(|source| self.nodes.get(source.0))
            .map(|node| &node.kind);
        let mut topics: Vec<TopicIndex> = kinds
            .filter_map(|kind| {
                if let NodeKind::Source(topics) = kind {
                    Some(topics.clone())
                } else {
                    None
                }
            })
            .flatten()
            .collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// The app's name.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The parts, in Kafka Streams' order.
    #[must_use]
    pub fn subtopologies(&self) -> &[Subtopology] {
        &self.subtopologies
    }

    /// All topics that the program names or makes, but changelogs, by their names on the cluster.
    #[must_use]
    pub fn topics(&self) -> &[String] {
        &self.cluster_names
    }

    /// A topic by its name on the cluster.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicIndex> {
        let at = self.cluster_names.iter().position(|known| known == name)?;
        u32::try_from(at).ok().map(TopicIndex)
    }

    /// Where to begin in a topic, by its name on the cluster, if the program says so for it.
    #[must_use]
    pub fn reset_of(&self, topic: &str) -> Option<Reset> {
        let index = self.topic(topic)?;
        self.topics.get(index.position())?.input.reset
    }

    /// The name of a topic on the cluster.
    #[must_use]
    pub fn topic_name(&self, topic: TopicIndex) -> String {
        self.place_name(topic).to_owned()
    }

    pub(crate) fn place_name(&self, topic: TopicIndex) -> &str {
        self.cluster_names
            .get(topic.position())
            .expect("topic indexes come from this topology")
    }

    /// All stores.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreView> {
        let parts = self.subtopologies.iter().enumerate();
        parts
            .flat_map(|(subtopology, part)| {
                part.stores.iter().filter_map(move |name| {
                    let (_, decl) = self.store(name)?;
                    Some(StoreView {
                        name: name.clone(),
                        kind: decl.spec.kind,
                        subtopology,
                    })
                })
            })
            .collect()
    }

    /// The topic that the formats of a global store's rows see: its own where they are the topic's records.
    pub(crate) fn global_formats(&self, store: StoreIndex, topic: TopicIndex) -> String {
        let decl = self.globals.iter().find(|global| global.store == store);
        match (decl.map(|global| &global.fill), self.stores.get(store.0)) {
            (Some(GlobalFill::Made(_)), Some(decl)) => format!("{}-{}-changelog", self.app, decl.spec.name),
            _ => self.topic_name(topic),
        }
    }

    /// The topic that a store is filled from, if it is read-only.
    pub(crate) fn filled_from(&self, store: StoreIndex) -> Option<&FilledDecl> {
        self.filled.iter().find(|filled| filled.store == store)
    }

    pub(crate) fn store(&self, name: &str) -> Option<(StoreIndex, &StoreDecl)> {
        let found = self
            .stores
            .iter()
            .enumerate()
            .find(|(_, store)| store.spec.name == name);
        found.map(|(at, decl)| (StoreIndex(at), decl))
    }

    /// The specifications of the stores of these subtopologies, as a task's database is opened with them.
    #[must_use]
    pub fn store_specs(&self, subtopologies: &[usize]) -> Vec<StoreSpec> {
        let parts = subtopologies
            .iter()
            .filter_map(|part| self.subtopologies.get(*part));
        parts
            .flat_map(|part| &part.stores)
            .filter_map(|name| self.store(name).map(|(_, decl)| decl.spec.clone()))
            .collect()
    }

    /// The specifications of the global stores, in the order in which the program made them.
    pub(crate) fn global_specs(&self) -> Vec<StoreSpec> {
        let decls = self
            .globals
            .iter()
            .filter_map(|global| self.stores.get(global.store.0));
        decls.map(|decl| decl.spec.clone()).collect()
    }

    /// The stores that every instance keeps whole.
    #[must_use]
    pub fn global_stores(&self) -> Vec<GlobalStore> {
        let parts = self.subtopologies.iter();
        parts.filter_map(|part| part.global.clone()).collect()
    }

    /// Groups of topics that must have equal numbers of partitions, by their names on the cluster.
    #[must_use]
    pub fn copartitioned_topics(&self) -> Vec<Vec<String>> {
        let groups = self.copartitioned.iter().filter(|(_, topics)| topics.len() > 1);
        groups
            .map(|(_, topics)| topics.iter().map(|topic| self.topic_name(*topic)).collect())
            .collect()
    }

    /// What works now and will hurt later.
    #[must_use]
    pub fn lints(&self) -> Vec<Lint> {
        crate::physical::lints(self, &self.copartitioned)
    }

    /// Kafka Streams' text for this topology.
    #[must_use]
    pub fn describe(&self) -> String {
        crate::describe::describe(self)
    }

    pub(crate) fn node_name(&self, node: NodeId) -> &str {
        self.nodes.get(node.0).map_or("", |node| &node.name)
    }

    /// Whether a left or outer join of streams lies behind a node, for which records without a key are results too.
    pub(crate) fn keeps_null_keys(&self, node: NodeId) -> bool {
        self.keeps_null_keys.get(node.0) == Some(&true)
    }

    /// The names of the operators' clocks, by clock index.
    pub(crate) fn clock_names(&self) -> Vec<&str> {
        self.clocks.iter().map(String::as_str).collect()
    }

    pub(crate) fn policy_of(&self, node: NodeId) -> &Policy {
        self.nodes
            .get(node.0)
            .and_then(|node| node.policy.as_ref())
            .unwrap_or(&self.policy)
    }
}

fn stores(graph: &Graph) -> Vec<StoreDecl> {
    let mut stores = graph.stores.clone();
    for store in &mut stores {
        store.spec.keeps_headers = graph.preserves_headers && store.headers_beside;
    }
    stores
}

fn cluster_name(app: &str, topic: &TopicDecl) -> String {
    match topic.role {
        TopicRole::External => topic.name.clone(),
        TopicRole::Repartition { .. } => format!("{app}-{}", topic.name),
    }
}
