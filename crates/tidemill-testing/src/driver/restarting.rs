//! Commits, and what comes after an end: tasks that start again, with their state or without it.

use tidemill_store::{ByteStore, Family, KeyRange, WriteOp};
use tidemill_streams::{OutputTopic, Outputs};

use super::{Committed, Disks, TestDriver, next_of, pass};
use crate::{TestError, restore::end};

impl TestDriver {
    /// Commits all tasks: changelogs, offsets, state.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// assert!(t.read_raw("docs-counts-changelog").is_empty());
    /// t.commit();
    /// assert_eq!(t.read_raw("docs-counts-changelog").len(), 1);
    /// ```
    ///
    /// # Panics
    /// When state cannot be written.
    #[track_caller]
    pub fn commit(&mut self) {
        pass(self.try_commit());
    }

    fn try_commit(&mut self) -> Result<(), TestError> {
        self.run()?;
        if let calls @ 1.. = self.calls_in_flight() {
            return Err(TestError::CallsInFlight { calls });
        }
        for task in &mut self.tasks {
            let mut changelog = Outputs::new();
            let commit = task.prepare_commit(&mut changelog);
            for output in changelog.iter() {
                if let OutputTopic::Named(topic) = output.topic {
                    let record = self.cluster.owned(&output);
                    self.cluster.append(topic, output.partition, record);
                }
            }
            let partition = task.id().partition;
            for (topic, next) in commit.offsets {
                let metadata = commit.metadata.clone();
                self.committed
                    .insert((topic, partition), Committed { next, metadata });
            }
            let changelogs = task.changelogs();
            let (cluster, committed) = (&self.cluster, &self.committed);
            let ends = changelogs.into_iter().map(|log| {
                let end = end(cluster, &log, partition, |input| {
                    next_of(committed, input, partition)
                });
                (log.topic, end)
            });
            task.committed(&ends.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Commits, stops all tasks and starts them again on the state they left.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.restart();
    /// t.pipe(&CLICKS, "u1", "news", ms(2));
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(2));
    /// ```
    ///
    /// # Panics
    /// When state cannot be written or opened.
    #[track_caller]
    pub fn restart(&mut self) {
        pass(self.try_commit());
        self.crash();
    }

    /// Stops all tasks without a commit and starts them again: what was not committed is lost and done again.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.crash(); // nothing was committed: the click is read again
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(1));
    /// ```
    ///
    /// # Panics
    /// When state cannot be opened, or a record fails this time.
    #[track_caller]
    pub fn crash(&mut self) {
        self.start_again(Disks::Kept);
    }

    /// Commits, loses all state, and starts the tasks again: state comes back from the changelogs. Databases that the
    /// test opens are emptied.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.restart_without_state(); // as on a new machine
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(1));
    /// ```
    ///
    /// # Panics
    /// When state cannot be written or opened.
    #[track_caller]
    pub fn restart_without_state(&mut self) {
        pass(self.try_commit());
        self.start_again(Disks::Lost);
    }

    #[track_caller]
    fn start_again(&mut self, disks: Disks) {
        pass(self.open_tasks(disks));
        for task in &mut self.tasks {
            let partition = task.id().partition;
            for topic in task.inputs() {
                let committed = self
                    .committed
                    .get(&(topic.clone(), partition))
                    .cloned()
                    .unwrap_or_default();
                let _ = committed.metadata.is_empty() || task.resume(&committed.metadata);
                let records = self.cluster.records(&topic, partition);
                let from = usize::try_from(committed.next).unwrap_or(0);
                let again = records.get(from..).unwrap_or_default().to_vec();
                pass(task.enqueue(&topic, again).map_err(TestError::from));
            }
        }
        pass(self.run());
    }
}

/// Empties a database: rows, and what the stores know of themselves.
pub(super) fn wipe(base: &dyn ByteStore, stores: &[String]) -> Result<(), TestError> {
    let families = stores.iter().filter_map(|name| base.family(name));
    let families = families.chain([Family::METADATA]);
    let range = KeyRange::ALL;
    base.write(&mut families.map(|family| WriteOp::DeleteRange { family, range }))?;
    Ok(())
}
