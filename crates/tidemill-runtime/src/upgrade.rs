//! What changed between the program that ran before and the one that starts: what is safe, what is restored, and what
//! would lose or misread state.
//!
//! The names and stores of a running topology are recorded as JSON in the control topic:
//!
//! ```text
//! {"version":1,
//!  "stores":[{"name":"counts","kind":"timestamped","subtopology":0,"changelog":"app-counts-changelog"}],
//!  "repartitions":["app-by-word-repartition"],
//!  "sources":["clicks"]}
//! ```

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use tidemill_store::{StoreKind, WindowValues};
use tidemill_streams::Topology;

/// Of the record's form.
const VERSION: u32 = 1;
/// How the names begin that operators without a name of their own get from their place in the program.
const GENERATED: [&str; 3] = ["KSTREAM-", "KTABLE-", "COGROUPKSTREAM-"];

/// The names and stores of a topology.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    version: u32,
    stores: Vec<StoreShape>,
    repartitions: BTreeSet<String>,
    sources: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoreShape {
    name: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention_ms: Option<i64>,
    subtopology: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changelog: Option<String>,
}

impl Shape {
    pub(crate) fn of(topology: &Topology) -> Self {
        let parts = topology.subtopologies();
        let changelog = |store: &str| {
            let mut changelogs = parts.iter().flat_map(|part| &part.changelogs);
            let own = changelogs.find(|topic| topic.store.as_deref() == Some(store));
            let mut filled = parts.iter().flat_map(|part| &part.read_only);
            own.map(|topic| topic.name.clone())
                .or_else(|| Some(filled.find(|filled| filled.store == store)?.topic.clone()))
        };
        let stores = topology.stores().into_iter().map(|view| StoreShape {
            changelog: changelog(&view.name),
            kind: kind(view.kind).to_owned(),
            retention_ms: retention_ms(view.kind),
            subtopology: view.subtopology,
            name: view.name,
        });
        let mut stores: Vec<StoreShape> = stores.collect();
        stores.sort_by(|a, b| a.name.cmp(&b.name));
        let repartitions = parts.iter().flat_map(|part| &part.repartition_sources);
        Self {
            version: VERSION,
            stores,
            repartitions: repartitions.map(|topic| topic.name.clone()).collect(),
            sources: parts.iter().flat_map(|part| part.source_topics.clone()).collect(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names and numbers have a JSON form")
    }

    /// Errors: it was recorded by a later version, or is damaged.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let shape: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if shape.version > VERSION {
            return Err(format!("it has version {}, later than {VERSION}", shape.version));
        }
        Ok(shape)
    }

    fn store(&self, name: &str) -> Option<&StoreShape> {
        self.stores.iter().find(|store| store.name == name)
    }
}

fn kind(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::KeyValue => "key-value",
        StoreKind::Timestamped => "timestamped",
        StoreKind::Window { values, .. } => match values {
            WindowValues::Plain => "window, plain values",
            WindowValues::Timestamped => "window",
            WindowValues::Duplicates => "window, several values",
        },
        StoreKind::Session { .. } => "session",
        StoreKind::Versioned { .. } => "versioned",
    }
}

fn retention_ms(kind: StoreKind) -> Option<i64> {
    match kind {
        StoreKind::KeyValue | StoreKind::Timestamped => None,
        StoreKind::Window { retention_ms, .. } | StoreKind::Session { retention_ms } => Some(retention_ms),
        StoreKind::Versioned { history_retention_ms } => Some(history_retention_ms),
    }
}

/// How bad a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Nothing is lost.
    Safe,
    /// Nothing is lost; state is read again from its changelog.
    Restores,
    /// Something is left behind. The owner may accept that.
    LeavesBehind,
    /// State would be misread: it has to be reset.
    Reset,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Safe => "safe",
            Self::Restores => "restores",
            Self::LeavesBehind => "leaves behind",
            Self::Reset => "must be reset",
        })
    }
}

/// One difference, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) weight: Weight,
    text: String,
}

/// All differences between two topologies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes(pub(crate) Vec<Change>);

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, change) in self.0.iter().enumerate() {
            let end = if at + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "  {:13}  {}{end}", change.weight, change.text)?;
        }
        Ok(())
    }
}

impl Changes {
    pub(crate) fn between(before: &Shape, now: &Shape) -> Self {
        let mut changes = Self::default();
        for store in &now.stores {
            match before.store(&store.name) {
                Some(known) => changes.compare(known, store),
                None => changes.push(
                    Weight::Safe,
                    format!(
                        "store {} is new and begins empty; to fill it from the beginning of its sources, reset the \
                         application",
                        store.name
                    ),
                ),
            }
        }
        for store in before
            .stores
            .iter()
            .filter(|store| now.store(&store.name).is_none())
        {
            changes.store_gone(store, before, now);
        }
        for topic in before.repartitions.difference(&now.repartitions) {
            let named = if generated(topic) {
                "; give `repartition` and `group_by` names of their own, so that this does not happen again"
            } else {
                ""
            };
            changes.push(
                Weight::LeavesBehind,
                format!(
                    "repartition topic {topic} is read no more, with what is still in it: let the program before \
                     work off its input first, then delete the topic{named}"
                ),
            );
        }
        for topic in now.sources.difference(&before.sources) {
            changes.push(Weight::Safe, format!("topic {topic} is read too"));
        }
        for topic in before.sources.difference(&now.sources) {
            changes.push(Weight::Safe, format!("topic {topic} is read no more"));
        }
        changes.0.sort_by_key(|change| std::cmp::Reverse(change.weight));
        changes
    }

    fn push(&mut self, weight: Weight, text: String) {
        self.0.push(Change { weight, text });
    }

    fn compare(&mut self, known: &StoreShape, store: &StoreShape) {
        let name = &store.name;
        if known.kind != store.kind {
            let changelog = known.changelog.as_deref().unwrap_or("none");
            self.push(
                Weight::Reset,
                format!(
                    "store {name} was {}, and is {} now: give the new store another name, or stop the program, delete \
                     its state directory and its changelog ({changelog}), and start again",
                    known.kind, store.kind
                ),
            );
            return;
        }
        if known.subtopology != store.subtopology {
            self.push(
                Weight::Restores,
                format!(
                    "store {name} moves from task {}_* to {}_*, and is restored there from its changelog",
                    known.subtopology, store.subtopology
                ),
            );
        }
        match (known.retention_ms, store.retention_ms) {
            (Some(before), Some(now)) if before != now => self.push(
                Weight::Safe,
                format!(
                    "store {name} keeps {now} ms instead of {before}; set retention.ms of its changelog to match, \
                     which this program does not change"
                ),
            ),
            _ => {}
        }
        match (&known.changelog, &store.changelog) {
            (Some(topic), None) => self.push(
                Weight::LeavesBehind,
                format!("store {name} has no changelog any more ({topic}), so a lost disk loses it"),
            ),
            (None, Some(topic)) => self.push(
                Weight::Restores,
                format!("store {name} has a changelog now ({topic}), which holds what changes from now on"),
            ),
            _ => {}
        }
    }

    fn store_gone(&mut self, store: &StoreShape, before: &Shape, now: &Shape) {
        let name = &store.name;
        let changelog = store.changelog.as_deref().unwrap_or("none");
        let heir = now.stores.iter().find(|heir| {
            let new = before.store(&heir.name).is_none();
            new && heir.kind == store.kind && generated(&heir.name) && generated(name)
        });
        match heir {
            Some(heir) => self.push(
                Weight::LeavesBehind,
                format!(
                    "store {name} seems to be {} now, because an operator before it was added or removed; its state \
                     would be lost: name it {name:?} in the program",
                    heir.name
                ),
            ),
            None if generated(name) => self.push(
                Weight::LeavesBehind,
                format!("store {name} is gone; delete its changelog ({changelog}) when it is not needed"),
            ),
            None => self.push(
                Weight::LeavesBehind,
                format!(
                    "store {name} is gone; its state stays in {changelog} until you delete that topic. If it was \
                     renamed, its old name keeps its state"
                ),
            ),
        }
    }

    /// Whether the program may start. What is left behind, the owner may accept; what must be reset, nobody.
    pub(crate) fn allowed(&self, accept: bool) -> bool {
        let worst = self.0.iter().map(|change| change.weight).max();
        match worst {
            None | Some(Weight::Safe | Weight::Restores) => true,
            Some(Weight::LeavesBehind) => accept,
            Some(Weight::Reset) => false,
        }
    }
}

fn generated(name: &str) -> bool {
    GENERATED.iter().any(|prefix| name.contains(prefix))
}

#[cfg(test)]
mod tests;
