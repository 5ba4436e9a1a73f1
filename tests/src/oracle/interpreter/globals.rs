//! The global stores of a case: each record of their topics is applied as it comes, and after a restart all are again.

use std::sync::Arc;

use anyhow::Result;
use tidemill_data::Timestamp;
use tidemill_store::{ChangelogPosition, TopicId};
use tidemill_streams::{GlobalTask, RawRecord, TaskConfig, Topology};

use super::super::database::{Database, OpenStore};

pub(super) struct Globals {
    topology: Arc<Topology>,
    // None for a case without global tables. Dropped before its database.
    task: Option<(GlobalTask, Database)>,
    applied: Vec<(String, RawRecord)>,
}

impl Globals {
    pub(super) fn open(topology: &Arc<Topology>, open: OpenStore) -> Result<Self> {
        let mut globals = Self {
            topology: Arc::clone(topology),
            task: None,
            applied: Vec::new(),
        };
        globals.restart(open)?;
        Ok(globals)
    }

    pub(super) fn config(&self) -> TaskConfig {
        let base = self.task.as_ref().map(|(_, database)| database.base());
        TaskConfig {
            globals: base.map(tidemill_streams::Globals),
            ..TaskConfig::default()
        }
    }

    pub(super) fn apply(&mut self, record: RawRecord, topic: &str) -> Result<()> {
        let Some((task, _)) = &mut self.task else {
            return Ok(());
        };
        if task.inputs().iter().any(|input| input.topic == topic) {
            apply(task, topic, &record)?;
            self.applied.push((topic.to_owned(), record));
        }
        Ok(())
    }

    /// Begins again on an empty database, from the topics.
    pub(super) fn restart(&mut self, open: OpenStore) -> Result<()> {
        if self.topology.global_stores().is_empty() {
            return Ok(());
        }
        let partitions = |_: &str| 1;
        let families = GlobalTask::families(&self.topology, &partitions);
        let names: Vec<&str> = families.iter().map(String::as_str).collect();
        let database = open(&names)?;
        let mut task = GlobalTask::new(Arc::clone(&self.topology), database.base(), &partitions)?;
        for (topic, record) in &self.applied {
            apply(&mut task, topic, record)?;
        }
        self.task = Some((task, database));
        Ok(())
    }
}

fn apply(task: &mut GlobalTask, topic: &str, record: &RawRecord) -> Result<()> {
    let position = ChangelogPosition {
        topic_id: TopicId::default(),
        next_offset: record.offset + 1,
        committed_at: Timestamp::default(),
    };
    Ok(task.apply(topic, 0, std::slice::from_ref(record), position)?)
}
