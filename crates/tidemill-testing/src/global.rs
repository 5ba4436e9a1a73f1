//! The global stores of a program under test: each record of their topics is there at once.

use std::sync::Arc;

use tidemill_data::Timestamp;
use tidemill_store::{ChangelogPosition, MemoryByteStore, TopicId};
use tidemill_streams::{GlobalTask, Globals, RawRecord, StoreReader, Topology};

use crate::{TestError, cluster::Cluster};

pub(crate) struct Global {
    task: GlobalTask,
    base: Arc<MemoryByteStore>,
}

impl Global {
    /// The global stores with all that their topics have; none for a program without.
    pub(crate) fn open(topology: &Arc<Topology>, cluster: &Cluster) -> Result<Option<Self>, TestError> {
        if topology.global_stores().is_empty() {
            return Ok(None);
        }
        let partitions = |topic: &str| cluster.partitions(topic);
        let base = Arc::new(MemoryByteStore::new(&GlobalTask::families(topology, &partitions)));
        let task = GlobalTask::new(Arc::clone(topology), base.clone(), &partitions)?;
        let mut global = Self { task, base };
        for input in global.task.inputs() {
            let records = cluster.records(&input.topic, input.partition);
            global.apply(&input.topic, input.partition, records)?;
        }
        Ok(Some(global))
    }

    pub(crate) fn base(&self) -> Globals {
        Globals(self.base.clone())
    }

    /// Reads the stores.
    pub(crate) fn reader(&mut self) -> StoreReader<'_> {
        self.task.reader()
    }

    /// Applies records if they are of a global table's topic.
    pub(crate) fn apply(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[RawRecord],
    ) -> Result<(), TestError> {
        let known = self.task.inputs();
        let Some(last) = records
            .last()
            .filter(|_| known.iter().any(|input| input.topic == topic))
        else {
            return Ok(());
        };
        let position = ChangelogPosition {
            topic_id: TopicId::default(),
            next_offset: last.offset + 1,
            committed_at: Timestamp::default(),
        };
        Ok(self.task.apply(topic, partition, records, position)?)
    }
}
