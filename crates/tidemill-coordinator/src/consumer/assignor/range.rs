//! Range: topic by topic, neighbouring partitions to members in the order of their ids. Members with the same topics get
//! the same partitions of each, so that topics with equal keys can be joined.

use std::collections::BTreeMap;

use super::{Candidate, Work};
use crate::consumer::Partitions;
use crate::id::MemberId;

pub(crate) fn divide(work: &Work, mut members: Vec<Candidate>) -> BTreeMap<MemberId, Partitions> {
    // Static members keep their place over restarts, when their id becomes another one.
    let name = |member: &Candidate| match &member.instance {
        Some(instance) => (0, instance.as_str().to_owned()),
        None => (1, member.id.as_str().to_owned()),
    };
    members.sort_by_key(name);
    let mut shares: BTreeMap<MemberId, Partitions> = members
        .iter()
        .map(|member| (member.id.clone(), Partitions::default()))
        .collect();
    for (topic, partitions) in work {
        let readers: Vec<&Candidate> = members
            .iter()
            .filter(|member| member.topics.contains(topic))
            .collect();
        let count = i32::try_from(readers.len()).unwrap_or(i32::MAX).max(1);
        let (each, more) = (partitions / count, partitions % count);
        let mut next = 0;
        for (place, member) in (0..).zip(readers) {
            let mine = each + i32::from(place < more);
            let share = shares.entry(member.id.clone()).or_default();
            (next..next + mine).for_each(|partition| share.insert(*topic, partition));
            next += mine;
        }
    }
    shares
}
