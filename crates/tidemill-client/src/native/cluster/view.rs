//! What is known of a cluster: its brokers, and who leads which partition. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tidemill_protocol::messages::metadata::{MetadataResponse, MetadataResponseTopic};
use tidemill_protocol::{ErrorCode, Uuid};

use super::super::connection::Address;

/// A broker's number.
pub(crate) type Node = i32;

/// A partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) node: Node,
    pub(crate) epoch: i32,
}

/// A topic as last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicView {
    /// All zero where brokers do not tell.
    pub(crate) id: Uuid,
    // In order of partition; `None` while there is no leader.
    leaders: Vec<Option<Leader>>,
}

impl TopicView {
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.leaders.len()).unwrap_or(i32::MAX)
    }

    pub(crate) fn leader(&self, partition: i32) -> Option<Leader> {
        *self.leaders.get(usize::try_from(partition).ok()?)?
    }
}

/// What was heard about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Topic(TopicView),
    /// It is not there, and has not been since then.
    Missing {
        since: Instant,
    },
    /// We may not see it, or its name is none.
    Refused(ErrorCode),
}

/// The cluster as last heard of.
#[derive(Debug, Default)]
pub(crate) struct View {
    brokers: BTreeMap<Node, Address>,
    controller: Option<Node>,
    topics: HashMap<String, Heard>,
}

impl View {
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &Address> {
        self.brokers.values()
    }

    pub(crate) fn address(&self, node: Node) -> Option<&Address> {
        self.brokers.get(&node)
    }

    pub(crate) fn controller(&self) -> Option<&Address> {
        self.address(self.controller?)
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&TopicView> {
        match self.topics.get(name)? {
            Heard::Topic(topic) => Some(topic),
            _ => None,
        }
    }

    /// Since when it is known that the topic is not there.
    pub(crate) fn missing_since(&self, name: &str) -> Option<Instant> {
        match self.topics.get(name)? {
            Heard::Missing { since } => Some(*since),
            _ => None,
        }
    }

    /// Why the topic is refused to us, for good.
    pub(crate) fn refusal(&self, name: &str) -> Option<ErrorCode> {
        match self.topics.get(name)? {
            Heard::Refused(code) => Some(*code),
            _ => None,
        }
    }

    /// The partition's leader, if it is known and its broker too.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        self.topic(topic)?
            .leader(partition)
            .filter(|leader| self.brokers.contains_key(&leader.node))
    }

    /// Takes in an answer to Metadata.
    pub(crate) fn apply(&mut self, response: &MetadataResponse, now: Instant) {
        if !response.brokers.is_empty() {
            let broker = |b: &tidemill_protocol::messages::metadata::MetadataResponseBroker| {
                let port = u16::try_from(b.port).ok()?;
                let host = b.host.to_string();
                Some((b.node_id, Address { host, port }))
            };
            self.brokers = response.brokers.iter().filter_map(broker).collect();
        }
        self.controller = Some(response.controller_id).filter(|id| *id >= 0);
        for topic in &response.topics {
            if let Some(name) = &topic.name {
                self.apply_topic(name, topic, now);
            }
        }
    }

    fn apply_topic(&mut self, name: &str, topic: &MetadataResponseTopic, now: Instant) {
        let heard = match topic.error_code {
            ErrorCode::None => Heard::Topic(self.merged(name, topic)),
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
                let since = self.missing_since(name).unwrap_or(now);
                Heard::Missing { since }
            }
            code if code.is_retriable() => return,
            code => Heard::Refused(code),
        };
        self.topics.insert(name.to_owned(), heard);
    }

    /// Answers of brokers that lag may come after newer ones: a leader of an older epoch is not believed.
    fn merged(&self, name: &str, topic: &MetadataResponseTopic) -> TopicView {
        let known = self.topic(name).filter(|known| known.id == topic.topic_id);
        let mut leaders = Vec::new();
        for partition in &topic.partitions {
            let Ok(at) = usize::try_from(partition.partition_index) else {
                continue;
            };
            // Partitions come in any order, but are numbered without gaps: no more than were sent.
            if at >= topic.partitions.len() {
                continue;
            }
            if leaders.len() <= at {
                leaders.resize(at + 1, None);
            }
            let heard = (partition.leader_id >= 0).then_some(Leader {
                node: partition.leader_id,
                epoch: partition.leader_epoch,
            });
            let before = known.and_then(|known| known.leader(partition.partition_index));
            let newer = match (before, heard) {
                (Some(before), Some(heard)) if heard.epoch >= 0 && heard.epoch < before.epoch => Some(before),
                (_, heard) => heard,
            };
            if let Some(slot) = leaders.get_mut(at) {
                *slot = newer;
            }
        }
        TopicView {
            id: topic.topic_id,
            leaders,
        }
    }

    /// A broker that refused a request named the leader (KIP-951). False: it told nothing new.
    pub(crate) fn note_leader(
        &mut self,
        topic: &str,
        partition: i32,
        leader: Leader,
        address: Option<Address>,
    ) -> bool {
        if let Some(address) = address {
            self.brokers.insert(leader.node, address);
        }
        if leader.node < 0 || !self.brokers.contains_key(&leader.node) {
            return false;
        }
        let Some(Heard::Topic(topic)) = self.topics.get_mut(topic) else {
            return false;
        };
        let slot = usize::try_from(partition)
            .ok()
            .and_then(|at| topic.leaders.get_mut(at));
        match slot {
            Some(slot) if slot.is_none_or(|known| known.epoch < leader.epoch) => {
                *slot = Some(leader);
                true
            }
            _ => false,
        }
    }

    /// Forgets a leader that refused: until we hear more, there is none.
    pub(crate) fn forget_leader(&mut self, topic: &str, partition: i32, epoch: i32) {
        if let Some(Heard::Topic(topic)) = self.topics.get_mut(topic) {
            let slot = usize::try_from(partition)
                .ok()
                .and_then(|at| topic.leaders.get_mut(at));
            if let Some(slot) = slot
                && slot.is_some_and(|known| known.epoch <= epoch)
            {
                *slot = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemill_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition};

    use super::*;

    fn response(leader_id: i32, leader_epoch: i32) -> MetadataResponse {
        let partition = MetadataResponsePartition {
            partition_index: 0,
            leader_id,
            leader_epoch,
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("tides".into()),
            partitions: vec![partition],
            ..Default::default()
        };
        let broker = |node_id| MetadataResponseBroker {
            node_id,
            host: "h".into(),
            port: 9092,
            ..Default::default()
        };
        MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            topics: vec![topic],
            ..Default::default()
        }
    }

    fn missing() -> MetadataResponse {
        let mut response = response(1, 0);
        response.topics[0].error_code = ErrorCode::UnknownTopicOrPartition;
        response.topics[0].partitions.clear();
        response
    }

    #[test]
    fn an_answer_that_lags_does_not_bring_an_old_leader_back() {
        let (mut view, now) = (View::default(), Instant::now());
        view.apply(&response(1, 5), now);
        view.apply(&response(2, 4), now);
        assert_eq!(view.leader("tides", 0), Some(Leader { node: 1, epoch: 5 }));
        view.apply(&response(2, 6), now);
        assert_eq!(view.leader("tides", 0), Some(Leader { node: 2, epoch: 6 }));
    }

    #[test]
    fn a_refused_leader_is_forgotten_unless_a_newer_one_is_known() {
        let (mut view, now) = (View::default(), Instant::now());
        view.apply(&response(1, 5), now);
        view.forget_leader("tides", 0, 4);
        assert!(view.leader("tides", 0).is_some());
        view.forget_leader("tides", 0, 5);
        assert_eq!(view.leader("tides", 0), None);
        assert!(view.note_leader("tides", 0, Leader { node: 2, epoch: 6 }, None));
        assert!(!view.note_leader("tides", 0, Leader { node: 1, epoch: 6 }, None));
        assert!(
            !view.note_leader("tides", 0, Leader { node: 9, epoch: 7 }, None),
            "nobody knows where 9 is"
        );
        assert_eq!(view.leader("tides", 0), Some(Leader { node: 2, epoch: 6 }));
    }

    #[test]
    fn a_missing_topic_remembers_since_when() {
        let (mut view, now) = (View::default(), Instant::now());
        let later = now + std::time::Duration::from_secs(1);
        view.apply(&missing(), now);
        view.apply(&missing(), later);
        assert_eq!(view.missing_since("tides"), Some(now));
        view.apply(&response(1, 0), later);
        assert_eq!(view.missing_since("tides"), None);
    }

    #[test]
    fn partition_numbers_that_lie_allocate_nothing() {
        let (mut view, now) = (View::default(), Instant::now());
        let mut lie = response(1, 0);
        lie.topics[0].partitions[0].partition_index = i32::MAX;
        view.apply(&lie, now);
        assert_eq!(view.topic("tides").map(TopicView::partition_count), Some(0));
    }
}
