//! Who gets which partitions: computed by the group's leader. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::protocol::{Assignment, MemberSubscription};
use crate::TopicPartition;

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) subscription: MemberSubscription,
}

/// How partitions are shared out. Members and leader may pass each other bytes of the assignor's own, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignor {
    /// Consecutive partitions of each topic; the first members get one more. With equal partition counts one member
    /// has the same numbers of all topics.
    Range,
}

impl Assignor {
    /// The name under which members agree on it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
        }
    }

    /// What a member tells the leader besides its topics.
    pub(super) fn user_data(self) -> Option<Bytes> {
        match self {
            Self::Range => None,
        }
    }

    /// Shares out the partitions of the topics that anyone wants; `counts` lacks those that do not exist.
    pub(super) fn assign(
        self,
        counts: &BTreeMap<String, i32>,
        mut members: Vec<Candidate>,
    ) -> BTreeMap<String, Assignment> {
        // Static members come first and in the order of their names, so that they keep what they have over restarts.
        members.sort_by(|a, b| match (&a.instance_id, &b.instance_id) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => a.member_id.cmp(&b.member_id),
        });
        let mut shares: BTreeMap<String, Assignment> = members
            .iter()
            .map(|m| (m.member_id.clone(), Assignment::default()))
            .collect();
        for (topic, count) in counts {
            let takers: Vec<&Candidate> = members
                .iter()
                .filter(|m| m.subscription.topics.contains(topic))
                .collect();
            range(topic, *count, &takers, &mut shares);
        }
        shares
    }
}

fn range(topic: &str, count: i32, takers: &[&Candidate], shares: &mut BTreeMap<String, Assignment>) {
    let among = i32::try_from(takers.len()).unwrap_or(i32::MAX);
    if among == 0 {
        return;
    }
    let (each, more) = (count / among, count % among);
    let topic: std::sync::Arc<str> = topic.into();
    let mut next = 0;
    for (place, taker) in (0..).zip(takers) {
        let end = next + each + i32::from(place < more);
        if let Some(share) = shares.get_mut(&taker.member_id) {
            share
                .partitions
                .extend((next..end).map(|partition| TopicPartition {
                    topic: topic.clone(),
                    partition,
                }));
        }
        next = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> Candidate {
        Candidate {
            member_id: id.into(),
            instance_id: instance.map(Into::into),
            subscription: MemberSubscription {
                topics: topics.iter().map(|t| (*t).to_owned()).collect(),
                user_data: None,
            },
        }
    }

    fn shared_out(counts: &[(&str, i32)], members: Vec<Candidate>) -> String {
        let counts = counts
            .iter()
            .map(|(topic, count)| ((*topic).to_owned(), *count))
            .collect();
        let shares = Assignor::Range.assign(&counts, members);
        let text = |(member, share): (&String, &Assignment)| {
            let partitions: Vec<String> = share.partitions.iter().map(ToString::to_string).collect();
            format!("{member}: {}", partitions.join(" "))
        };
        shares.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_first_members_get_one_more() {
        let members = vec![member("b", None, &["t"]), member("a", None, &["t"])];
        assert_eq!(shared_out(&[("t", 3)], members), "a: t-0 t-1; b: t-2");
    }

    #[test]
    fn static_members_come_first_whatever_their_member_id_is() {
        let members = vec![member("a", None, &["t"]), member("z", Some("one"), &["t"])];
        assert_eq!(shared_out(&[("t", 1)], members), "a: ; z: t-0");
    }

    #[test]
    fn a_topic_goes_to_those_who_want_it_and_one_that_is_missing_to_nobody() {
        let members = vec![member("a", None, &["t", "gone"]), member("b", None, &["t", "u"])];
        assert_eq!(shared_out(&[("t", 2), ("u", 1)], members), "a: t-0; b: t-1 u-0");
        assert_eq!(shared_out(&[("t", 1)], Vec::new()), "");
    }
}
