//! Names, numbers and times, each its own type so that none can stand in for another.

use std::fmt;
use std::sync::Arc;

macro_rules! shared_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// Whether the name is the empty string.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }
        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

shared_name!(
    /// The name of a consumer group (`group.id`).
    GroupId
);
shared_name!(
    /// The id the coordinator gave a member; empty in the first request of a member that has none yet.
    MemberId
);
shared_name!(
    /// The name a static member gave itself (`group.instance.id`).
    InstanceId
);
shared_name!(
    /// The name of a topic.
    TopicName
);
shared_name!(
    /// The name a producer keeps over restarts (`transactional.id`).
    TransactionalId
);

/// Milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time `ms` milliseconds later; a timeout below zero counts as none at all.
    pub fn after(self, ms: i32) -> Self {
        Self(self.0.saturating_add(i64::from(ms.max(0))))
    }
}

/// The caller's name for a request that waits for its answer. Every one is answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// A group's number for one of its appends: what [`Event::Written`](crate::Event::Written) refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendNumber(pub u64);

/// The id of a producer, unique in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

/// A producer and its epoch: of two instances with one id the one with the higher epoch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// Who.
    pub id: ProducerId,
    /// Which instance.
    pub epoch: i16,
}

impl Producer {
    /// Epoch `epoch` of producer `id`.
    pub fn new(id: i64, epoch: i16) -> Self {
        Self {
            id: ProducerId(id),
            epoch,
        }
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "producer {} epoch {}", self.id.0, self.epoch)
    }
}
