//! A coordinator of one group, its log and the answers it gave.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::*;
use crate::action::{Action, Reply};
use crate::coordinator::Coordinator;
use crate::error::WriteFailure;
use crate::event::{
    CommitRequest, Event, HeartbeatRequest, JoinRequest, OffsetToCommit, Protocol, SyncRequest,
};
use crate::id::{AppendNumber, ReplyTo};
use crate::reloaded::reloaded;
use crate::subscription;

pub(super) const GROUP: &str = "g";
pub(super) const TIDES: TopicId = TopicId(0x71);
pub(super) const WAVES: TopicId = TopicId(0x77);
pub(super) const OWN: TopicId = TopicId(0x6f);

pub(super) fn image(version: u64, tides: i32) -> Arc<TopicImage> {
    let shape = |id, partitions| TopicShape { id, partitions };
    Arc::new(TopicImage::new(
        version,
        [
            ("tides".into(), shape(TIDES, tides)),
            ("waves".into(), shape(WAVES, 2)),
            ("__own".into(), shape(OWN, 1)),
        ],
    ))
}

fn settings() -> GroupSettings {
    GroupSettings {
        consumer_session_timeout_ms: 1_000,
        ..GroupSettings::embedded()
    }
}

pub(super) struct World {
    pub(super) coordinator: Coordinator,
    pub(super) topics: Arc<TopicImage>,
    now: Timestamp,
    log: Vec<Record>,
    pub(super) appends: VecDeque<(AppendNumber, Vec<Record>)>,
    pub(super) replies: BTreeMap<ReplyTo, Reply>,
    asked: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            coordinator: Coordinator::new(settings()),
            topics: image(1, 4),
            now: Timestamp(0),
            log: Vec::new(),
            appends: VecDeque::new(),
            replies: BTreeMap::new(),
            asked: 0,
        };
        world.coordinator.loaded(world.now, &mut Vec::new());
        world
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Append { number, records, .. } => self.appends.push_back((number, records)),
                Action::Reply { to, reply } => {
                    assert!(self.replies.insert(to, reply).is_none(), "answered twice");
                }
                Action::Note { .. } => {}
            }
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.coordinator
            .handle(self.now, GROUP.into(), event, &mut actions);
        self.take(actions);
    }

    pub(super) fn settle(&mut self) {
        while let Some((number, records)) = self.appends.pop_front() {
            self.log.extend(records);
            self.event(Event::Written(number));
        }
    }

    pub(super) fn fail(&mut self) {
        let (number, _) = self.appends.pop_front().expect("something is on its way");
        self.event(Event::WriteFailed(number, WriteFailure::Unavailable));
    }

    pub(super) fn to(&mut self) -> ReplyTo {
        self.asked += 1;
        ReplyTo(self.asked)
    }

    pub(super) fn start_beat(&mut self, request: ConsumerHeartbeat) -> ReplyTo {
        let to = self.to();
        let request = Box::new(ConsumerHeartbeat {
            topics: self.topics.clone(),
            ..request
        });
        self.event(Event::ConsumerHeartbeat { request, to });
        to
    }

    pub(super) fn beat(&mut self, request: ConsumerHeartbeat) -> Result<ConsumerBeat, GroupError> {
        let to = self.start_beat(request);
        self.settle();
        match self.replies.remove(&to) {
            Some(Reply::ConsumerHeartbeat(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// A member joins and gets what is free.
    pub(super) fn join(&mut self, id: &str) -> String {
        show(&self.beat(joining(id)))
    }

    pub(super) fn keep(&mut self, id: &str, epoch: i32) -> String {
        show(&self.beat(at(id, epoch)))
    }

    /// The member says what it holds.
    pub(super) fn holds(&mut self, id: &str, epoch: i32, partitions: &[(TopicId, i32)]) -> String {
        let holds = Some(partitions.iter().copied().collect());
        show(&self.beat(ConsumerHeartbeat {
            holds,
            ..at(id, epoch)
        }))
    }

    pub(super) fn classic_join(
        &mut self,
        member: &str,
        fresh: &str,
        topics: &[&str],
        owned: &[i32],
    ) -> Result<(i32, String), GroupError> {
        let to = self.to();
        let request = JoinRequest {
            member: member.into(),
            topics: self.topics.clone(),
            session_timeout_ms: 2_000,
            rebalance_timeout_ms: 3_000,
            ..JoinRequest::consumer(
                "c",
                fresh,
                vec![Protocol::new("range", subscription(topics, owned))],
            )
        };
        self.event(Event::Join { request, to });
        self.settle();
        match self.replies.remove(&to) {
            Some(Reply::Join(Ok(joined))) => Ok((joined.generation, joined.member.to_string())),
            Some(Reply::Join(Err(refused))) => Err(refused.error),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn classic_sync(
        &mut self,
        member: &str,
        generation: i32,
        leads: &[(&str, Bytes)],
    ) -> Result<Vec<i32>, GroupError> {
        let to = self.to();
        let request = SyncRequest {
            member: member.into(),
            instance: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments: leads
                .iter()
                .map(|(id, bytes)| ((*id).into(), bytes.clone()))
                .collect(),
        };
        self.event(Event::Sync { request, to });
        self.settle();
        match self.replies.remove(&to) {
            Some(Reply::Sync(answer)) => answer.map(|assigned| {
                let all = subscription::read_assignment(&assigned.assignment).unwrap_or_default();
                all.into_iter().map(|(_, partition)| partition).collect()
            }),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn classic_beat(&mut self, member: &str, generation: i32) -> Result<(), GroupError> {
        let to = self.to();
        let request = HeartbeatRequest {
            member: member.into(),
            instance: None,
            generation,
        };
        self.event(Event::Heartbeat { request, to });
        self.settle();
        match self.replies.remove(&to) {
            Some(Reply::Heartbeat(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit(
        &mut self,
        member: &str,
        epoch: i32,
        knows_group_not_found: bool,
    ) -> Result<(), GroupError> {
        let to = self.to();
        let request = CommitRequest {
            member: member.into(),
            instance: None,
            generation: epoch,
            retention_ms: None,
            knows_group_not_found,
            transaction: None,
            offsets: vec![OffsetToCommit {
                topic: "tides".into(),
                partition: 0,
                offset: 5,
                leader_epoch: None,
                metadata: String::new(),
            }],
        };
        self.event(Event::Commit { request, to });
        self.settle();
        match self.replies.remove(&to) {
            Some(Reply::Commit(answer)) => answer.map(drop),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn pass(&mut self, ms: i64) {
        self.now = Timestamp(self.now.0 + ms);
        let mut actions = Vec::new();
        self.coordinator.tick(self.now, &mut actions);
        self.take(actions);
        self.settle();
    }

    pub(super) fn restart(&mut self) {
        self.appends.clear();
        let (coordinator, actions) = reloaded(settings(), &self.log, self.now);
        self.coordinator = coordinator;
        self.take(actions);
    }

    pub(super) fn phase(&self) -> PhaseName {
        self.coordinator
            .group(&GROUP.into())
            .expect("it is known")
            .phase()
    }

    pub(super) fn members(&self) -> usize {
        self.coordinator
            .describe_consumers(&GROUP.into())
            .expect("of the consumer protocol")
            .members
            .len()
    }
}

pub(super) fn subscription(topics: &[&str], owned: &[i32]) -> Bytes {
    let mut out = b"\0\x01".to_vec();
    out.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        out.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend([0xff; 4]);
    out.extend(b"\0\0\0\x01\0\x05tides");
    out.extend(i32::try_from(owned.len()).unwrap().to_be_bytes());
    owned
        .iter()
        .for_each(|partition| out.extend(partition.to_be_bytes()));
    out.into()
}

pub(super) fn at(id: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member: id.into(),
        epoch: MemberEpoch::of_wire(epoch).unwrap(),
        instance: None,
        rack: None,
        rebalance_timeout_ms: None,
        names: None,
        pattern: None,
        assignor: None,
        holds: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        topics: Arc::default(),
    }
}

pub(super) fn joining(id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout_ms: Some(3_000),
        names: Some(vec!["tides".into()]),
        holds: Some(Partitions::default()),
        ..at(id, 0)
    }
}

pub(super) fn show(answer: &Result<ConsumerBeat, GroupError>) -> String {
    match answer {
        Err(error) => format!("{error:?}"),
        Ok(beat) => {
            let held = beat.assignment.as_ref().map(|held| {
                let name = |topic: TopicId| match topic {
                    TIDES => "t",
                    OWN => "o",
                    _ => "w",
                };
                let names = held.iter().map(|(topic, p)| format!("{}{p}", name(topic)));
                names.collect::<Vec<_>>().join(" ")
            });
            format!(
                "{} [{}]",
                beat.epoch,
                held.unwrap_or_else(|| "as before".to_owned())
            )
        }
    }
}
