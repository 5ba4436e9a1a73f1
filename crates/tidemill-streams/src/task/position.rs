//! How far a task's stores reflect its inputs (KIP-796): in what they hold now, and in what lies in their database.

use super::Task;
use crate::TopicIndex;

/// By topic, the offset of the last record that is reflected; `None` where none is known to be.
type Offsets = Vec<Option<i64>>;

#[derive(Debug, Default)]
pub(super) struct Reached {
    // Taken up. With calls in flight their records may not be reflected yet.
    taken: Offsets,
    committed: Offsets,
    // As of the last commit that the database has: commits may be held above it.
    written: Offsets,
}

impl Reached {
    pub(super) fn took(&mut self, topic: TopicIndex, offset: i64) {
        let at = topic.position();
        if self.taken.len() <= at {
            self.taken.resize(at + 1, None);
        }
        if let Some(last) = self.taken.get_mut(at) {
            *last = Some(offset);
        }
    }

    pub(super) fn committed(&mut self, held: bool) {
        self.committed.clone_from(&self.taken);
        self.settled(held);
    }

    pub(super) fn settled(&mut self, held: bool) {
        if !held {
            self.written.clone_from(&self.committed);
        }
    }

    pub(super) fn discarded(&mut self) {
        // What was held is gone too; the changelog brings it back before records flow.
        self.taken.clone_from(&self.committed);
        self.written.clone_from(&self.committed);
    }
}

impl Task {
    /// Takes in that its stores reflect what is before this offset of an input, as when they were restored to where the
    /// group had committed it. Topics it does not read are ignored.
    pub fn begins_at(&mut self, topic: &str, next_offset: i64) {
        let Some(topic) = self.input(topic).filter(|_| next_offset > 0) else {
            return;
        };
        self.reached.took(topic, next_offset - 1);
        self.reached.committed(false);
    }

    /// By input topic, the offset of the last record that its stores reflect, uncommitted writes included. While calls
    /// are in flight, what was taken up since the last commit does not count.
    pub fn position(&self) -> impl Iterator<Item = (&str, i64)> {
        let settled = self.calls_in_flight() == 0;
        self.named(if settled {
            &self.reached.taken
        } else {
            &self.reached.committed
        })
    }

    /// The same of what [`last_commit`](Self::last_commit) reads.
    pub fn committed_position(&self) -> impl Iterator<Item = (&str, i64)> {
        self.named(&self.reached.written)
    }

    fn named<'a>(&'a self, offsets: &'a Offsets) -> impl Iterator<Item = (&'a str, i64)> {
        let names = self.ctx.topology.topics().iter().zip(offsets);
        let looped = |at: usize| self.ctx.loops.get(at) == Some(&true);
        names
            .enumerate()
            .filter(move |(at, _)| !looped(*at))
            .filter_map(|(_, (name, last))| Some((name.as_str(), (*last)?)))
    }
}
