//! Sources that follow topics: which topics there are is asked again while the program runs, as often as
//! `metadata.max.age.ms` says, when partitions are assigned, and when a topic that was read is gone.
//!
//! What changes then is the whole [`Instance`]: its topology reads other topics, its plan has other tasks. Each worker
//! commits, leaves, and begins again as a member that wants the new topics, so the group shares the partitions out anew.
//! Members that follow at different times want different topics meanwhile; whoever gets only part of a task's inputs then
//! waits for the others.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use tidemill_client::{TopicPartition, TransportError};
use tidemill_data::Timestamp;
use tidemill_streams::{App, Topology};

use crate::config::Config;
use crate::error::{RunError, StartError};
use crate::plan::{Fit, Missing, prepare};
use crate::worker::Instance;

/// Kafka's default of `metadata.max.age.ms`.
const AGE_MAX: Duration = Duration::from_secs(300);
/// When to look again after topics could not be followed: they may have been in the middle of their creation.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// When to look at the topics again, and what makes a program of them.
pub(crate) struct Patterns {
    app: App,
    age_max: Duration,
    // Guards when to look next; one worker looks, and the others go on.
    due: Mutex<Timestamp>,
}

impl Patterns {
    /// `None`: no source of the program follows topics.
    pub(crate) fn of(app: &App, config: &Config, now: Timestamp) -> Option<Self> {
        let age = || config.client.get("metadata.max.age.ms")?.parse().ok();
        let age_max = age().map_or(AGE_MAX, Duration::from_millis);
        app.needs_resolving().then(|| Self {
            app: app.clone(),
            age_max,
            due: Mutex::new(now.saturating_add(age_max)),
        })
    }

    fn look_at(&self, at: Timestamp) {
        *self.due.lock().expect("no section that holds this lock panics") = at;
    }

    /// Asks for a look with the next turn of a worker.
    pub(crate) fn look_soon(&self) {
        self.look_at(Timestamp::MIN);
    }

    /// Whether to look now; who is told so does.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let mut due = self.due.lock().expect("no section that holds this lock panics");
        let is_due = *due <= now;
        if is_due {
            *due = now.saturating_add(self.age_max);
        }
        is_due
    }

    /// The instance for the topics there are now; `None` if it is the one there is. Topics that cannot be followed are
    /// left alone, and the log says why.
    pub(crate) fn look(&self, instance: &Instance, now: Timestamp) -> Option<Instance> {
        match self.compose(instance) {
            Ok(renewed) => renewed,
            Err(error) => {
                tracing::error!("the topics changed, and the program cannot follow: {error}");
                self.look_at(now.saturating_add(LOOK_AGAIN.min(self.age_max)));
                None
            }
        }
    }

    fn compose(&self, instance: &Instance) -> Result<Option<Instance>, StartError> {
        let transport = &instance.transport;
        self.app.resolve(&transport.topics()?);
        let topology = self.app.topology()?;
        let (before, now) = (sources(&instance.topology), sources(&topology));
        if before == now {
            return Ok(None);
        }
        let replication = instance.config.replication_factor;
        let plan = prepare(
            &topology,
            &**transport,
            replication,
            Missing::Refuse,
            Fit::Existing,
        )?;
        let list = |topics: Vec<&String>| topics.into_iter().cloned().collect::<Vec<_>>().join(", ");
        tracing::info!(
            "topics to read have come: [{}]; have gone: [{}]",
            list(now.difference(&before).collect()),
            list(before.difference(&now).collect()),
        );
        Ok(Some(instance.of(topology, plan)))
    }
}

fn sources(topology: &Topology) -> BTreeSet<String> {
    let parts = topology.subtopologies().iter();
    parts.flat_map(|part| part.source_topics.clone()).collect()
}

/// The topic that an error says is gone.
pub(crate) fn missing(error: &RunError) -> Option<&TopicPartition> {
    match error {
        RunError::Transport(TransportError::UnknownPartition(partition)) => Some(partition),
        _ => None,
    }
}
