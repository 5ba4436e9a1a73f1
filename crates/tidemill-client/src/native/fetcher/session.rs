//! Fetch sessions (KIP-227): after a first, full request only what changed is named. Pure.

use std::collections::BTreeMap;

use tidemill_protocol::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
use tidemill_protocol::{KString, Uuid};

/// A partition in a request, and its topic's id.
pub(super) type Key = (KString, i32);

/// What is asked of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) topic_id: Uuid,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) bytes_max: i32,
}

/// A request's part that sessions decide.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) topics: Vec<FetchTopic>,
    pub(super) forgotten: Vec<ForgottenTopic>,
}

/// Our side of the session with one broker.
#[derive(Debug, Default)]
pub(super) struct Session {
    // 0: there is none, and every request is a full one.
    id: i32,
    epoch: i32,
    // What the broker knows that we ask for.
    known: BTreeMap<Key, Asked>,
}

impl Session {
    /// The next request asks for exactly `wanted`.
    pub(super) fn plan(&mut self, wanted: BTreeMap<Key, Asked>) -> Plan {
        let other_id = |(key, asked): (&Key, &Asked)| {
            self.known
                .get(key)
                .is_some_and(|known| known.topic_id != asked.topic_id)
        };
        if wanted.iter().any(other_id) {
            self.reset();
        }
        let is_full = self.id == 0;
        let named = |(key, asked): (&Key, &Asked)| {
            (is_full || self.known.get(key) != Some(asked)).then(|| (key.clone(), *asked))
        };
        let topics = topics(wanted.iter().filter_map(named));
        let gone = |(key, asked): (&Key, &Asked)| {
            (!is_full && !wanted.contains_key(key)).then(|| (key.clone(), asked.topic_id))
        };
        let forgotten = forgotten(self.known.iter().filter_map(gone));
        self.known = wanted;
        Plan {
            session_id: self.id,
            session_epoch: if is_full { 0 } else { self.epoch },
            topics,
            forgotten,
        }
    }

    /// The broker answered, in this session.
    pub(super) fn answered(&mut self, session_id: i32) {
        if session_id == 0 {
            self.reset();
        } else if self.id == session_id {
            // Epoch 0 asks for a new session, so after the last number comes 1.
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        } else {
            (self.id, self.epoch) = (session_id, 1);
        }
    }

    /// The session is no more, or may not be: begin another.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

fn topics(partitions: impl Iterator<Item = (Key, Asked)>) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic, partition), asked) in partitions {
        let part = FetchPartition {
            partition,
            current_leader_epoch: asked.leader_epoch,
            fetch_offset: asked.offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: asked.bytes_max,
            ..FetchPartition::default()
        };
        match topics.last_mut().filter(|last| last.topic == topic) {
            Some(last) => last.partitions.push(part),
            None => topics.push(FetchTopic {
                topic,
                topic_id: asked.topic_id,
                partitions: vec![part],
            }),
        }
    }
    topics
}

fn forgotten(partitions: impl Iterator<Item = (Key, Uuid)>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for ((topic, partition), topic_id) in partitions {
        match topics.last_mut().filter(|last| last.topic == topic) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(ForgottenTopic {
                topic,
                topic_id,
                partitions: vec![partition],
            }),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partitions: &[(i32, i64)]) -> BTreeMap<Key, Asked> {
        let asked = |&(partition, offset): &(i32, i64)| {
            let asked = Asked {
                topic_id: Uuid::nil(),
                offset,
                leader_epoch: 0,
                bytes_max: 1,
            };
            (("t".into(), partition), asked)
        };
        partitions.iter().map(asked).collect()
    }

    fn shown(plan: &Plan) -> String {
        let named = plan.topics.iter().flat_map(|t| &t.partitions);
        let named: Vec<_> = named
            .map(|p| format!("{}@{}", p.partition, p.fetch_offset))
            .collect();
        let gone: Vec<i32> = plan.forgotten.iter().flat_map(|t| t.partitions.clone()).collect();
        format!(
            "{}/{} {} -{gone:?}",
            plan.session_id,
            plan.session_epoch,
            named.join(" ")
        )
    }

    #[test]
    fn after_a_full_request_only_changes_are_named() {
        let mut session = Session::default();
        assert_eq!(shown(&session.plan(wanted(&[(0, 1), (1, 1)]))), "0/0 0@1 1@1 -[]");
        session.answered(9);
        assert_eq!(shown(&session.plan(wanted(&[(0, 5), (1, 1)]))), "9/1 0@5 -[]");
        session.answered(9);
        assert_eq!(shown(&session.plan(wanted(&[(1, 1)]))), "9/2  -[0]");
        session.answered(9);
        assert_eq!(shown(&session.plan(wanted(&[(0, 5), (1, 1)]))), "9/3 0@5 -[]");
    }

    #[test]
    fn without_a_session_every_request_is_full() {
        let mut session = Session::default();
        for _ in 0..2 {
            assert_eq!(shown(&session.plan(wanted(&[(0, 1)]))), "0/0 0@1 -[]");
            session.answered(0);
        }
        session.answered(9);
        session.plan(wanted(&[(0, 1)]));
        session.reset();
        assert_eq!(shown(&session.plan(wanted(&[(0, 1)]))), "0/0 0@1 -[]");
    }

    #[test]
    fn another_topic_of_the_same_name_needs_another_session() {
        let mut session = Session::default();
        session.plan(wanted(&[(0, 1)]));
        session.answered(9);
        let mut other = wanted(&[(0, 1)]);
        other.values_mut().for_each(|asked| asked.topic_id = Uuid::max());
        assert_eq!(shown(&session.plan(other)), "0/0 0@1 -[]");
    }

    #[test]
    fn epochs_wrap_to_one() {
        let mut session = Session {
            id: 9,
            epoch: i32::MAX,
            ..Session::default()
        };
        session.answered(9);
        assert_eq!(session.plan(BTreeMap::new()).session_epoch, 1);
    }
}
