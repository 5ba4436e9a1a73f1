//! The logical graph: what the program composed, with the names Kafka Streams would give.

use std::{any::Any, fmt::Write as _, sync::Arc};

use tidemill_data::{Timestamp, Wire};
use tidemill_store::StoreSpec;

use crate::{
    Reset, TopicIndex,
    calls::Calling,
    clocks::ClockIndex,
    context::Context,
    edge::Flow,
    failure::Policy,
    input::Extract,
    processor::{Children, FillGlobal},
    punctuation::Schedule,
    window_rows::WindowKeys,
    windows::{Closing, Forgetting},
};

/// Identifies an operator: its position in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) usize);

/// Identifies a store within the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StoreIndex(pub(crate) usize);

/// Identifies an operator's own state within a task, other than a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlotIndex(pub(crate) usize);

/// What an operator does at the borders of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// Reads these topics.
    Source(Vec<TopicIndex>),
    /// Works on records.
    Processor,
    /// Writes a topic; `None` when each record chooses its own.
    Sink(Option<TopicIndex>),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) kind: NodeKind,
    pub(crate) parents: Vec<NodeId>,
    pub(crate) stores: Vec<StoreIndex>,
    pub(crate) policy: Option<Policy>,
    // Of an operator that makes windows: when they close.
    pub(crate) closing: Option<Closing>,
}

/// Who makes and owns a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicRole {
    /// The program names it; it exists without the app.
    External,
    /// The app makes it, to bring equal keys together.
    Repartition {
        /// How many partitions were asked for; without a number, as many as the topics read before it have.
        partitions: Option<u32>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct TopicDecl {
    // Repartition topics have the app's name in front only on the cluster, as in Kafka's descriptions.
    pub(crate) name: String,
    pub(crate) role: TopicRole,
    pub(crate) input: Input,
}

/// How a topic is read, where the program says so.
#[derive(Clone, Default)]
pub(crate) struct Input {
    pub(crate) extract: Option<Arc<dyn Extract>>,
    pub(crate) reset: Option<Reset>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}

/// How the times of a topic's records are taken from them, by the topic's name.
pub(crate) type ExtractOf = Arc<dyn Fn(&str) -> Arc<dyn Extract> + Send + Sync>;

/// A source that reads the topics whose names it wants.
#[derive(Clone)]
pub(crate) struct PatternDecl {
    pub(crate) node: NodeId,
    pub(crate) wants: Wants,
    pub(crate) extract: Option<ExtractOf>,
    pub(crate) reset: Option<Reset>,
}

impl PatternDecl {
    /// Says how one of its topics is read, where the topic does not say so itself.
    pub(crate) fn say_how_to_read(&self, topic: &str, input: &mut Input) {
        if let Some(extract) = &self.extract {
            input.extract.get_or_insert_with(|| extract(topic));
        }
        if let Some(reset) = self.reset {
            input.reset.get_or_insert(reset);
        }
    }
}

/// A setting of one store's changelog topic.
#[derive(Clone, Debug)]
pub(crate) struct ChangelogSetting {
    pub(crate) store: String,
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug)]
pub(crate) struct StoreDecl {
    pub(crate) spec: StoreSpec,
    // False for a source table that nobody needs to look up.
    pub(crate) active: bool,
    pub(crate) named: bool,
    pub(crate) changelog: bool,
    // Read in full by every task, from this topic, and never written by operators.
    pub(crate) global_topic: Option<TopicIndex>,
    // How one reads the keys of a store of windows or sessions.
    pub(crate) windows: Option<WindowKeys>,
    // Whether its rows have headers beside them in an app that preserves them; false where the rows hold them already.
    pub(crate) headers_beside: bool,
}

/// A table that every instance keeps whole.
#[derive(Clone)]
pub(crate) struct GlobalDecl {
    pub(crate) source: NodeId,
    pub(crate) node: NodeId,
    pub(crate) topic: TopicIndex,
    pub(crate) store: StoreIndex,
    pub(crate) fill: GlobalFill,
}

/// How the records of a global store's topic become its rows.
#[derive(Clone)]
pub(crate) enum GlobalFill {
    /// They are its rows.
    Rows(Arc<dyn GlobalCheck>),
    /// A function makes rows of them.
    Made(Arc<dyn FillGlobal>),
}

/// A store that is filled straight from a topic, which is its changelog as well.
#[derive(Clone)]
pub(crate) struct FilledDecl {
    pub(crate) store: StoreIndex,
    pub(crate) topic: TopicIndex,
    pub(crate) check: Arc<dyn GlobalCheck>,
}

/// Tells whether a record of a topic whose bytes go into a store can be read.
pub(crate) trait GlobalCheck: Send + Sync {
    fn check(&self, record: &crate::RawRecord) -> Result<(), tidemill_data::BoxError>;
}

/// Reads the records of one source operator.
pub(crate) trait Reader: Send + Sync {
    /// Positions of the operators that read here.
    fn orders(&self) -> Vec<usize>;
    /// Whether one decoded record can go to several operators.
    fn fans_out(&self) -> bool;
    /// An entry to only those operators.
    fn part(&self, orders: &[usize]) -> Arc<dyn Entry>;
}

/// Decodes the task's current record and sends it on.
pub(crate) trait Entry: Send + Sync {
    fn enter(&self, ctx: &mut Context) -> Flow;
}

pub(crate) struct Source {
    pub(crate) node: NodeId,
    pub(crate) reader: Arc<dyn Reader>,
}

/// Makes an operator's own state for a new task.
pub(crate) type MakeSlot = Arc<dyn Fn() -> Box<dyn Any + Send> + Send + Sync>;

/// Whether a source reads a topic of this name.
pub(crate) type Wants = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// An operator that is called by time, too.
pub(crate) trait Punctuated: Send + Sync {
    /// Called when a task starts, to make schedules.
    fn start(&self, ctx: &mut Context);
    /// Called when a schedule is due.
    fn punctuate(&self, ctx: &mut Context, schedule: Schedule, now: Timestamp) -> Flow;
}

/// Everything the program composed so far.
pub(crate) struct Graph {
    pub(crate) app: String,
    pub(crate) policy: Policy,
    pub(crate) nodes: Vec<Node>,
    pub(crate) topics: Vec<TopicDecl>,
    pub(crate) stores: Vec<StoreDecl>,
    pub(crate) sources: Vec<Source>,
    pub(crate) globals: Vec<GlobalDecl>,
    pub(crate) filled: Vec<FilledDecl>,
    // Sources that read whatever topics they want of those there are.
    pub(crate) patterns: Vec<PatternDecl>,
    pub(crate) slots: Vec<(NodeId, MakeSlot)>,
    pub(crate) punctuated: Vec<(NodeId, Arc<dyn Punctuated>)>,
    // Operators that keep in memory in which order their rows come due.
    pub(crate) ordering: Vec<NodeId>,
    pub(crate) changelog_settings: Vec<ChangelogSetting>,
    // By calls index.
    pub(crate) calling: Vec<(NodeId, Arc<dyn Calling>)>,
    pub(crate) processors: Vec<(NodeId, Arc<Children>)>,
    // Stores that an operator looks at when something in them is due.
    watched: Vec<StoreIndex>,
    // By clock index: whose clock it is.
    pub(crate) clocks: Vec<(NodeId, &'static str)>,
    // Sources whose partitions must match, because one operator needs equal keys of all of them.
    pub(crate) copartitioned: Vec<(NodeId, Vec<NodeId>)>,
    // Left and outer joins of streams: what flows to them through repartition topics keeps its null keys.
    pub(crate) wants_null_keys: Vec<NodeId>,
    /// The least advance of the wall clock between two emissions of what waited for its window to close.
    pub(crate) emit_interval_ms: i64,
    pub(crate) forgetting: Forgetting,
    pub(crate) preserves_headers: bool,
    pub(crate) problems: Vec<String>,
    pub(crate) built: bool,
    names_given: usize,
}

impl Graph {
    pub(crate) fn new(app: String) -> Self {
        Self {
            app,
            policy: Policy::Fail,
            nodes: Vec::new(),
            topics: Vec::new(),
            stores: Vec::new(),
            sources: Vec::new(),
            globals: Vec::new(),
            filled: Vec::new(),
            patterns: Vec::new(),
            slots: Vec::new(),
            punctuated: Vec::new(),
            ordering: Vec::new(),
            changelog_settings: Vec::new(),
            calling: Vec::new(),
            processors: Vec::new(),
            watched: Vec::new(),
            clocks: Vec::new(),
            copartitioned: Vec::new(),
            wants_null_keys: Vec::new(),
            emit_interval_ms: 0,
            forgetting: Forgetting::default(),
            preserves_headers: false,
            problems: Vec::new(),
            built: false,
            names_given: 0,
        }
    }

    /// The next name as Kafka Streams makes them: a prefix and a counter of ten digits over the whole program.
    pub(crate) fn name(&mut self, prefix: &str) -> String {
        let mut name = prefix.to_owned();
        write!(name, "{:010}", self.names_given).expect("writing to a string cannot fail");
        self.names_given += 1;
        name
    }

    /// Uses up a name that Kafka Streams makes and then does not use, so that later ones agree.
    pub(crate) fn skip_name(&mut self) {
        self.names_given += 1;
    }

    /// Gives an operator another name. A number that only its name used goes to the next one, as in Kafka Streams.
    pub(crate) fn rename(&mut self, node: NodeId, name: String) {
        if self.nodes.iter().any(|node| node.name == name) {
            self.problems.push(format!("two operators are named {name:?}"));
        }
        let is_legal = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        if name.is_empty() || name.len() > NAME_LEN_MAX || !name.chars().all(is_legal) {
            self.problems.push(format!(
                "no operator can be named {name:?}: names are 1 to {NAME_LEN_MAX} letters, digits, '.', '_' or '-'"
            ));
        }
        let before = std::mem::replace(&mut self.node(node).name, name);
        let last = format!("{:010}", self.names_given.saturating_sub(1));
        let is_last = node.0 + 1 == self.nodes.len() && crate::operators::named_by_place(&before);
        if is_last && before.ends_with(&last) {
            self.names_given -= 1;
        }
    }

    pub(crate) fn add(&mut self, name: String, kind: NodeKind, parents: &[NodeId]) -> NodeId {
        assert!(!self.built, "operators are added before the topology is built");
        if self.nodes.iter().any(|node| node.name == name) {
            self.problems.push(format!("two operators are named {name:?}"));
        }
        self.nodes.push(Node {
            name,
            kind,
            parents: parents.to_vec(),
            stores: Vec::new(),
            policy: None,
            closing: None,
        });
        NodeId(self.nodes.len() - 1)
    }

    pub(crate) fn processor(&mut self, prefix: &str, parents: &[NodeId]) -> NodeId {
        let name = self.name(prefix);
        self.add(name, NodeKind::Processor, parents)
    }

    pub(crate) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id.0).expect("node ids come from this graph")
    }

    pub(crate) fn connect(&mut self, node: NodeId, stores: &[StoreIndex]) {
        let known = &mut self.node(node).stores;
        for store in stores {
            if !known.contains(store) {
                known.push(*store);
            }
        }
    }

    pub(crate) fn topic(&mut self, name: &str, role: TopicRole) -> TopicIndex {
        if let Some(at) = self.topics.iter().position(|topic| topic.name == name) {
            if self.topics.get(at).is_some_and(|topic| topic.role != role) {
                self.problems
                    .push(format!("topic {name:?} is used in two ways that do not agree"));
            }
            return topic_index(at);
        }
        self.topics.push(TopicDecl {
            name: name.to_owned(),
            role,
            input: Input::default(),
        });
        topic_index(self.topics.len() - 1)
    }

    pub(crate) fn input(&mut self, topic: TopicIndex) -> &mut Input {
        let decl = self.topics.get_mut(topic.position());
        &mut decl.expect("topic indexes come from this graph").input
    }

    pub(crate) fn store(&mut self, decl: StoreDecl) -> StoreIndex {
        let name = &decl.spec.name;
        if self.stores.iter().any(|store| store.spec.name == *name) {
            self.problems.push(format!("two stores are named {name:?}"));
        }
        self.stores.push(decl);
        StoreIndex(self.stores.len() - 1)
    }

    /// Lets an operator look at a store when something in it is due; false if another one does already.
    pub(crate) fn watch(&mut self, store: StoreIndex) -> bool {
        let first = !self.watched.contains(&store);
        if first {
            self.watched.push(store);
        }
        first
    }

    /// Notes that timers cannot be used as the program does.
    pub(crate) fn misuse(&mut self, store: StoreIndex, why: &str) {
        let name = self.stores.get(store.0).map_or("", |store| &store.spec.name);
        self.problems
            .push(format!("the timers {name:?} cannot fire: {why}"));
    }

    /// Says that a store has windows around keys of this format.
    pub(crate) fn windowed<K: 'static>(&mut self, store: StoreIndex, key: &Wire<K>, size_ms: Option<i64>) {
        self.stores
            .get_mut(store.0)
            .expect("store indexes come from this graph")
            .windows = Some(WindowKeys {
            key: Arc::new(key.clone()),
            size_ms,
        });
    }

    pub(crate) fn activate(&mut self, store: StoreIndex) {
        self.stores
            .get_mut(store.0)
            .expect("store indexes come from this graph")
            .active = true;
    }

    /// Whether the program named a store, or it has a name of its place.
    pub(crate) fn say_named(&mut self, store: StoreIndex, named: bool) {
        self.stores
            .get_mut(store.0)
            .expect("store indexes come from this graph")
            .named = named;
    }

    pub(crate) fn slot(&mut self, node: NodeId, make: MakeSlot) -> SlotIndex {
        self.slots.push((node, make));
        SlotIndex(self.slots.len() - 1)
    }

    /// A stream time of the operator's own, which survives restarts.
    pub(crate) fn clock(&mut self, node: NodeId) -> ClockIndex {
        self.clock_of(node, "")
    }

    /// Another one, for an operator that has several: `what` tells them apart.
    pub(crate) fn clock_of(&mut self, node: NodeId, what: &'static str) -> ClockIndex {
        self.clocks.push((node, what));
        ClockIndex(self.clocks.len() - 1)
    }

    /// The names by which clocks are found again: those of their operators, and which of several.
    pub(crate) fn clock_names(&self) -> Vec<String> {
        let name = |node: NodeId| self.nodes.get(node.0).map_or("", |node| &node.name);
        let clocks = self.clocks.iter();
        clocks
            .map(|(node, what)| format!("{}{what}", name(*node)))
            .collect()
    }

    /// When the windows close that a table is of: those of the nearest operators before it that make windows.
    pub(crate) fn closing_of(&self, node: NodeId) -> Option<Closing> {
        let node = self.nodes.get(node.0)?;
        let parents = node.parents.iter().filter_map(|parent| self.closing_of(*parent));
        node.closing
            .or_else(|| parents.max_by_key(|closing| closing.grace_ms))
    }

    /// The sources that reach a node without crossing a topic.
    pub(crate) fn sources_of(&self, node: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut ahead = vec![node];
        while let Some(id) = ahead.pop() {
            let Some(node) = self.nodes.get(id.0) else {
                continue;
            };
            if matches!(node.kind, NodeKind::Source(_)) && !found.contains(&id) {
                found.push(id);
            }
            ahead.extend(&node.parents);
        }
        found.sort_unstable();
        found
    }
}

/// As Kafka has it for topics, whose names are made of operators' names.
const NAME_LEN_MAX: usize = 249;

fn topic_index(at: usize) -> TopicIndex {
    TopicIndex(u32::try_from(at).expect("a program names fewer than 2^32 topics"))
}
