//! The two steps of a commit: what has to be written, and the state made durable after it was.

use std::convert::Infallible;

use tidemill_store::ChangelogPosition;

use super::{Task, process::OUTPUT_BYTES_MAX};
use crate::{
    Outputs, TaskError,
    outputs::{OutputRecord, OutputTopic, PartitionChoice},
};

/// What a commit covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// For each input topic that was read since the last commit, the offset of the next record.
    pub offsets: Vec<(String, i64)>,
    /// The task's stream times, to go as metadata with each of the offsets: [`Task::resume`] takes them back. At most
    /// 4,096 characters.
    pub metadata: String,
}

impl Task {
    /// Bytes of state written since the last commit.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        self.ctx.stores.dirty_bytes()
    }

    /// Whether there is anything to commit.
    #[must_use]
    pub fn needs_commit(&self) -> bool {
        self.uncommitted.iter().any(Option::is_some) || self.ctx.stores.is_dirty()
    }

    /// What a commit has to write: one changelog record per changed key is appended, and the offsets are given. It
    /// changes nothing; [`committed`](Self::committed) does, after all of it was written.
    ///
    /// # Panics
    /// With calls in flight: the offsets of their records would be committed without their results.
    pub fn prepare_commit(&self, changelog: &mut Outputs) -> Commit {
        let prepared = self.prepare(usize::MAX, changelog, &mut |_| Ok::<_, Infallible>(()));
        prepared.unwrap_or_else(|never| match never {})
    }

    /// As [`prepare_commit`](Self::prepare_commit), in pieces: whenever the records have so many bytes as the task may
    /// have outputs, and at the end, `send` gets them and leaves none.
    ///
    /// # Errors
    /// Those of `send`, the first of which ends it.
    ///
    /// # Panics
    /// As [`prepare_commit`](Self::prepare_commit).
    pub fn prepare_commit_in_pieces<E>(
        &self,
        changelog: &mut Outputs,
        send: &mut impl FnMut(&mut Outputs) -> Result<(), E>,
    ) -> Result<Commit, E> {
        let bytes_max = self.ctx.config.output_bytes_max.unwrap_or(OUTPUT_BYTES_MAX);
        let commit = self.prepare(bytes_max, changelog, send)?;
        send(changelog)?;
        Ok(commit)
    }

    fn prepare<E>(
        &self,
        bytes_max: usize,
        changelog: &mut Outputs,
        send: &mut impl FnMut(&mut Outputs) -> Result<(), E>,
    ) -> Result<Commit, E> {
        assert_eq!(
            self.calls_in_flight(),
            0,
            "a commit waits for the calls in flight"
        );
        let mut outcome = Ok(());
        self.ctx.stores.changelog(&mut |id, record| {
            let logged = self.changelogs.iter().find(|logged| logged.id == id);
            // What comes from an input is in its topic already.
            let Some(logged) = logged.filter(|logged| logged.input.is_none()) else {
                return;
            };
            if outcome.is_ok() && changelog.byte_len() >= bytes_max {
                outcome = send(changelog);
            }
            if outcome.is_err() {
                return;
            }
            changelog.push(OutputRecord {
                topic: OutputTopic::Named(&logged.topic),
                partition: PartitionChoice::Fixed(self.id.partition),
                key: Some(record.key),
                value: record.value,
                timestamp: record.timestamp,
                headers: record.headers,
            });
        });
        outcome?;
        let names = self
            .ctx
            .topology
            .topics()
            .iter()
            .zip(&self.uncommitted)
            .enumerate();
        let looped = |at: usize| self.ctx.loops.get(at) == Some(&true);
        let offsets = names
            .filter(|(at, _)| !looped(*at))
            .filter_map(|(_, (name, next))| next.map(|next| (name.clone(), next)))
            .collect();
        let metadata = self.ctx.clocks.encode(&self.ctx.topology.clock_names());
        Ok(Commit { offsets, metadata })
    }

    /// Takes in the metadata of a committed offset, before records flow: what was late stays late. Of several
    /// partitions' metadata the latest times hold. `false` says that these are not a commit's, and nothing changed.
    pub fn resume(&mut self, metadata: &str) -> bool {
        let names = self.ctx.topology.clock_names();
        let resumed = self.ctx.clocks.resume(&names, metadata);
        self.committed_clocks.clone_from(&self.ctx.clocks);
        resumed
    }

    /// Makes the state stand, together with the changelog positions it now corresponds to: in one atomic write to the
    /// database, or with a later one where the stores may hold commits.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing is.
    pub fn committed(&mut self, positions: &[(String, ChangelogPosition)]) -> Result<(), TaskError> {
        let mut ids = Vec::with_capacity(positions.len());
        for (changelog, position) in positions {
            ids.push((self.changelog_store(changelog)?.id, *position));
        }
        self.ctx.stores.commit(&ids)?;
        self.uncommitted.fill(None);
        self.reached.committed(self.ctx.stores.holds_commits());
        self.committed_clocks.clone_from(&self.ctx.clocks);
        Ok(())
    }

    /// Writes what the stores hold of earlier commits, before the task is closed: what is not written comes back from
    /// the changelog.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn settle(&mut self) -> Result<(), TaskError> {
        self.ctx.stores.settle()?;
        self.reached.settled(self.ctx.stores.holds_commits());
        Ok(())
    }

    /// Forgets everything that is not in the database, as after an aborted transaction.
    pub fn discard(&mut self) {
        self.forget_calls();
        self.ctx.stores.discard();
        self.ctx.epoch += 1;
        self.ctx.clocks.clone_from(&self.committed_clocks);
        self.uncommitted.fill(None);
        self.reached.discarded();
    }
}
