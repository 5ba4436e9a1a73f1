//! The topics there are, as groups see them, and the patterns that choose among them.
//!
//! Patterns are matched against whole names, in time linear in the name (KIP-848 asks for RE2's syntax, and this is nearly
//! that). A pattern that fits the broker's own topics gets them, as with Kafka: which to leave out is the client's choice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::record::{ConsumerKey, ConsumerRecord};
use super::{Change, Consumers, TopicId};
use crate::error::GroupError;
use crate::id::TopicName;

/// What one pattern may take of memory once it is compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// All topics at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicImage {
    version: u64,
    by_name: BTreeMap<TopicName, TopicShape>,
    by_id: HashMap<TopicId, TopicName>,
}

/// What a group knows of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

impl TopicImage {
    /// The topics there are. `version` is another one for other topics.
    pub fn new(version: u64, topics: impl IntoIterator<Item = (TopicName, TopicShape)>) -> Self {
        let by_name: BTreeMap<_, _> = topics.into_iter().collect();
        let by_id = by_name.iter().map(|(name, shape)| (shape.id, name.clone()));
        Self {
            version,
            by_id: by_id.collect(),
            by_name,
        }
    }

    /// Which of several images this is.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn find(&self, name: &TopicName) -> Option<TopicShape> {
        self.by_name.get(name).copied()
    }

    /// The name of a topic.
    pub fn name(&self, id: TopicId) -> Option<&TopicName> {
        self.by_id.get(&id)
    }

    fn matching(&self, pattern: &Regex) -> BTreeSet<TopicName> {
        let names = self.by_name.keys();
        names
            .filter(|name| pattern.is_match(name.as_str()))
            .cloned()
            .collect()
    }
}

/// Reads a pattern. It is read alone first: brackets that only fit together with ours are no pattern.
pub(super) fn compile(pattern: &str) -> Result<Regex, GroupError> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map_err(|_| GroupError::InvalidRegularExpression)
    };
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}

impl Consumers {
    /// Takes the topics as they are now, and finds out which of them each pattern matches.
    pub(super) fn see_topics(&mut self, topics: &Arc<TopicImage>, change: &mut Change<'_>) {
        let is_new = self.topics.version != topics.version;
        self.topics = Arc::clone(topics);
        let patterns: BTreeSet<String> = self
            .members
            .values()
            .filter_map(|member| member.pattern.clone())
            .collect();
        for pattern in patterns {
            if !is_new && self.matches.contains_key(&pattern) {
                continue;
            }
            // One that cannot be read was refused when its member came; one from the log of another broker matches nothing.
            let found = compile(&pattern)
                .map(|regex| topics.matching(&regex))
                .unwrap_or_default();
            if self.matches.get(&pattern).is_none_or(|known| **known != found) {
                change.write(ConsumerRecord::Pattern {
                    pattern: pattern.clone(),
                    topics: found.clone(),
                    version: i64::try_from(topics.version).unwrap_or(i64::MAX),
                    at: change.now,
                });
                self.matches.insert(pattern, Arc::new(found));
            }
        }
    }

    pub(super) fn forget_unused_patterns(&mut self, change: &mut Change<'_>) {
        let members = &self.members;
        let group = change.group.clone();
        self.matches.retain(|pattern, _| {
            let used = members
                .values()
                .any(|member| member.pattern.as_ref() == Some(pattern));
            if !used {
                change.forget(ConsumerKey::Pattern(group.clone(), pattern.clone()));
            }
            used
        });
    }

    /// A number that is another one when a topic that is subscribed to is (FNV-1a).
    pub(super) fn hash(&self) -> i64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for name in self.subscribed() {
            if let Some(shape) = self.topics.find(name) {
                mix(&shape.id.0.to_be_bytes());
                mix(&shape.partitions.to_be_bytes());
            }
        }
        hash.cast_signed()
    }
}
