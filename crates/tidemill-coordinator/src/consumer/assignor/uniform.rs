//! Uniform: as many partitions for one member as for another, as far as subscriptions allow, moving as few as possible.
//!
//! First everybody keeps what they had; then free partitions go to whoever has least; then, as long as somebody has two
//! more than somebody who could take one of them, one moves. Each move makes the sum of squares smaller, so it ends.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Work};
use crate::consumer::{Partitions, TopicId};
use crate::id::MemberId;

/// Members by place in the list, the least loaded first.
type ByLoad = BTreeSet<(usize, usize)>;

struct Division<'a> {
    members: &'a [Candidate],
    shares: Vec<Partitions>,
    by_load: ByLoad,
}

pub(crate) fn divide(work: &Work, members: &[Candidate]) -> BTreeMap<MemberId, Partitions> {
    let mut division = Division {
        members,
        shares: vec![Partitions::default(); members.len()],
        by_load: (0..members.len()).map(|place| (0, place)).collect(),
    };
    let free = division.keep(work);
    division.give_out(free);
    division.level();
    members
        .iter()
        .map(|member| member.id.clone())
        .zip(division.shares)
        .collect()
}

impl Division<'_> {
    fn reads(&self, place: usize, topic: TopicId) -> bool {
        self.members
            .get(place)
            .is_some_and(|member| member.topics.contains(&topic))
    }

    fn put(&mut self, place: usize, topic: TopicId, partition: i32) {
        if let Some(share) = self.shares.get_mut(place) {
            self.by_load.remove(&(share.len(), place));
            share.insert(topic, partition);
            self.by_load.insert((share.len(), place));
        }
    }

    fn take(&mut self, place: usize, topic: TopicId, partition: i32) {
        if let Some(share) = self.shares.get_mut(place) {
            self.by_load.remove(&(share.len(), place));
            share.remove(topic, partition);
            self.by_load.insert((share.len(), place));
        }
    }

    /// Leaves everything where it is; what nobody had is returned, topics with the fewest readers first.
    fn keep(&mut self, work: &Work) -> Vec<(TopicId, i32)> {
        let mut taken = Partitions::default();
        for (place, member) in self.members.iter().enumerate() {
            for (topic, partition) in member.had.iter() {
                let exists = work.get(&topic).is_some_and(|count| partition < *count);
                if exists && self.reads(place, topic) && !taken.contains(topic, partition) {
                    taken.insert(topic, partition);
                    self.put(place, topic, partition);
                }
            }
        }
        let readers = |topic: &TopicId| self.members.iter().filter(|m| m.topics.contains(topic)).count();
        let mut topics: Vec<(usize, TopicId, i32)> = work
            .iter()
            .map(|(topic, count)| (readers(topic), *topic, *count))
            .collect();
        topics.sort_unstable();
        topics
            .into_iter()
            .flat_map(|(_, topic, count)| (0..count).map(move |partition| (topic, partition)))
            .filter(|(topic, partition)| !taken.contains(*topic, *partition))
            .collect()
    }

    fn give_out(&mut self, free: Vec<(TopicId, i32)>) {
        for (topic, partition) in free {
            let least = self
                .by_load
                .iter()
                .map(|(_, place)| *place)
                .find(|place| self.reads(*place, topic));
            if let Some(place) = least {
                self.put(place, topic, partition);
            }
        }
    }

    fn level(&mut self) {
        while let Some((from, to, topic, partition)) = self.next_move() {
            self.take(from, topic, partition);
            self.put(to, topic, partition);
        }
    }

    /// A partition that should move: from somebody to somebody who has two less or fewer.
    fn next_move(&self) -> Option<(usize, usize, TopicId, i32)> {
        let least = self.by_load.first()?.0;
        for (load, from) in self.by_load.iter().rev() {
            if *load < least + 2 {
                return None;
            }
            let share = self.shares.get(*from)?;
            for (topic, partitions) in share.topics() {
                let to = self
                    .by_load
                    .iter()
                    .take_while(|(other, _)| other + 2 <= *load)
                    .map(|(_, place)| *place)
                    .find(|place| self.reads(*place, topic));
                if let (Some(to), Some(partition)) = (to, partitions.last()) {
                    return Some((*from, to, topic, *partition));
                }
            }
        }
        None
    }
}
