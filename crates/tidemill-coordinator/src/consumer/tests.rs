//! Groups of the consumer protocol, heartbeat by heartbeat.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::action::{Action, Reply};
use crate::coordinator::{Coordinator, GroupFilter};
use crate::error::WriteFailure;
use crate::event::{
    CommitRequest, Event, HeartbeatRequest, JoinRequest, LeavingMember, OffsetToCommit, Protocol, SyncRequest,
};
use crate::id::{AppendNumber, ReplyTo};
use crate::subscription;

const GROUP: &str = "g";
const TIDES: TopicId = TopicId(0x71);
const WAVES: TopicId = TopicId(0x77);
const OWN: TopicId = TopicId(0x6f);

fn image(version: u64, tides: i32) -> Arc<TopicImage> {
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

struct World {
    coordinator: Coordinator,
    topics: Arc<TopicImage>,
    now: Timestamp,
    log: Vec<Record>,
    appends: VecDeque<(AppendNumber, Vec<Record>)>,
    replies: BTreeMap<ReplyTo, Reply>,
    asked: u64,
}

impl World {
    fn new() -> Self {
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

    fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.coordinator
            .handle(self.now, GROUP.into(), event, &mut actions);
        self.take(actions);
    }

    fn settle(&mut self) {
        while let Some((number, records)) = self.appends.pop_front() {
            self.log.extend(records);
            self.event(Event::Written(number));
        }
    }

    fn fail(&mut self) {
        let (number, _) = self.appends.pop_front().expect("something is on its way");
        self.event(Event::WriteFailed(number, WriteFailure::Unavailable));
    }

    fn to(&mut self) -> ReplyTo {
        self.asked += 1;
        ReplyTo(self.asked)
    }

    fn start_beat(&mut self, request: ConsumerHeartbeat) -> ReplyTo {
        let to = self.to();
        let request = Box::new(ConsumerHeartbeat {
            topics: self.topics.clone(),
            ..request
        });
        self.event(Event::ConsumerHeartbeat { request, to });
        to
    }

    fn beat(&mut self, request: ConsumerHeartbeat) -> Result<ConsumerBeat, GroupError> {
        let to = self.start_beat(request);
        self.settle();
        match self.replies.remove(&to) {
            Some(Reply::ConsumerHeartbeat(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// A member joins and gets what is free.
    fn join(&mut self, id: &str) -> String {
        show(&self.beat(joining(id)))
    }

    fn keep(&mut self, id: &str, epoch: i32) -> String {
        show(&self.beat(at(id, epoch)))
    }

    /// The member says what it holds.
    fn holds(&mut self, id: &str, epoch: i32, partitions: &[(TopicId, i32)]) -> String {
        let holds = Some(partitions.iter().copied().collect());
        show(&self.beat(ConsumerHeartbeat {
            holds,
            ..at(id, epoch)
        }))
    }

    fn classic_join(
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

    fn classic_sync(
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

    fn classic_beat(&mut self, member: &str, generation: i32) -> Result<(), GroupError> {
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

    fn commit(&mut self, member: &str, epoch: i32, knows_group_not_found: bool) -> Result<(), GroupError> {
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

    fn pass(&mut self, ms: i64) {
        self.now = Timestamp(self.now.0 + ms);
        let mut actions = Vec::new();
        self.coordinator.tick(self.now, &mut actions);
        self.take(actions);
        self.settle();
    }

    fn restart(&mut self) {
        self.appends.clear();
        self.coordinator = Coordinator::new(settings());
        for record in &self.log {
            self.coordinator
                .replay(self.now, None, Some(&record.key), record.value.as_deref())
                .unwrap();
        }
        let mut actions = Vec::new();
        self.coordinator.loaded(self.now, &mut actions);
        self.take(actions);
    }

    fn phase(&self) -> PhaseName {
        self.coordinator
            .group(&GROUP.into())
            .expect("it is known")
            .phase()
    }

    fn members(&self) -> usize {
        self.coordinator
            .describe_consumers(&GROUP.into())
            .expect("of the consumer protocol")
            .members
            .len()
    }
}

fn subscription(topics: &[&str], owned: &[i32]) -> Bytes {
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

fn at(id: &str, epoch: i32) -> ConsumerHeartbeat {
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

fn joining(id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout_ms: Some(3_000),
        names: Some(vec!["tides".into()]),
        holds: Some(Partitions::default()),
        ..at(id, 0)
    }
}

fn show(answer: &Result<ConsumerBeat, GroupError>) -> String {
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

#[test]
fn a_second_member_gets_what_the_first_gives_up() {
    let mut world = World::new();
    assert_eq!(world.join("a"), "1 [t0 t1 t2 t3]");
    assert_eq!(world.keep("a", 1), "1 [as before]");
    assert_eq!(world.phase(), PhaseName::Stable);
    assert_eq!(world.join("b"), "2 []", "nothing is free yet");
    assert_eq!(world.phase(), PhaseName::Reconciling);
    assert_eq!(world.keep("a", 1), "1 [t0 t1]", "it shall give up two");
    assert_eq!(world.keep("b", 2), "2 [as before]", "they are not given up");
    assert_eq!(
        world.holds("a", 1, &[(TIDES, 0), (TIDES, 1), (TIDES, 2)]),
        "1 [as before]"
    );
    assert_eq!(world.holds("a", 1, &[(TIDES, 0), (TIDES, 1)]), "2 [as before]");
    assert_eq!(world.keep("b", 2), "2 [t2 t3]");
    assert_eq!(world.phase(), PhaseName::Stable);
}

#[test]
fn a_member_that_leaves_or_is_silent_leaves_its_work_to_others() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    assert_eq!(show(&world.beat(at("b", -1))), "-1 [as before]");
    assert_eq!(
        world.keep("a", 1),
        "3 [as before]",
        "it holds everything and may keep it"
    );
    world.join("b");
    world.keep("a", 3);
    world.pass(500);
    world.holds("a", 3, &[(TIDES, 0), (TIDES, 1)]);
    world.pass(600);
    assert_eq!(world.members(), 1, "b was silent");
    assert_eq!(world.keep("a", 4), "5 [t0 t1 t2 t3]");
    assert_eq!(world.keep("b", 4), "UnknownMemberId");
}

#[test]
fn a_member_that_keeps_what_it_shall_give_up_is_out() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    world.keep("a", 1);
    for _ in 0..4 {
        world.pass(600);
        world.keep("a", 1);
        world.keep("b", 2);
    }
    assert_eq!(world.members(), 2);
    world.pass(600);
    assert_eq!(world.members(), 1);
    assert_eq!(world.keep("b", 2), "3 [t0 t1 t2 t3]");
}

#[test]
fn epochs_fence_and_a_lost_answer_is_forgiven() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    world.keep("a", 1);
    world.holds("a", 1, &[(TIDES, 0), (TIDES, 1)]);
    // The answer with epoch 2 was lost.
    assert_eq!(world.holds("a", 1, &[(TIDES, 0)]), "2 [as before]");
    assert_eq!(
        world.keep("a", 1),
        "FencedMemberEpoch",
        "it does not say what it holds"
    );
    assert_eq!(world.holds("a", 1, &[(TIDES, 3)]), "FencedMemberEpoch");
    assert_eq!(world.keep("a", 3), "FencedMemberEpoch");
    assert_eq!(world.keep("c", 1), "UnknownMemberId");
    assert_eq!(world.join("a"), "2 [t0 t1]", "it starts over");
}

#[test]
fn topics_that_grow_or_appear_are_divided_anew() {
    let mut world = World::new();
    world.join("a");
    world.topics = image(2, 5);
    assert_eq!(world.keep("a", 1), "2 [t0 t1 t2 t3 t4]");
    let both = ConsumerHeartbeat {
        names: Some(vec!["waves".into(), "later".into()]),
        ..at("a", 2)
    };
    assert_eq!(
        show(&world.beat(both)),
        "2 []",
        "it shall give up the others first"
    );
    assert_eq!(world.holds("a", 2, &[]), "3 [w0 w1]");
}

#[test]
fn a_pattern_chooses_topics_by_their_whole_name() {
    let mut world = World::new();
    let wanting = |pattern: &str| ConsumerHeartbeat {
        names: Some(Vec::new()),
        pattern: Some(pattern.to_owned()),
        ..joining("a")
    };
    for broken in ["(", "a)|(b", "x{1000}{1000}"] {
        assert_eq!(show(&world.beat(wanting(broken))), "InvalidRegularExpression");
    }
    assert_eq!(show(&world.beat(wanting("wave"))), "1 []");
    assert_eq!(show(&world.beat(wanting("w.*|t.*s"))), "2 [t0 t1 t2 t3 w0 w1]");
    assert_eq!(
        show(&world.beat(wanting(".*"))),
        "3 [o0 t0 t1 t2 t3 w0 w1]",
        "the broker's own topics are matched as others are"
    );
    assert_eq!(show(&world.beat(wanting("w.*|t.*"))), "4 [t0 t1 t2 t3 w0 w1]");
    world.topics = image(2, 2);
    assert_eq!(
        world.keep("a", 4),
        "4 [t0 t1 w0 w1]",
        "t2 and t3 are to be given up"
    );
    world.restart();
    assert_eq!(
        world.holds("a", 4, &[(TIDES, 0), (TIDES, 1), (WAVES, 0), (WAVES, 1)]),
        "5 [as before]"
    );
}

#[test]
fn a_static_member_that_is_away_keeps_its_work_until_its_session_ends() {
    let mut world = World::new();
    let named = |request: ConsumerHeartbeat| ConsumerHeartbeat {
        instance: Some("one".into()),
        ..request
    };
    assert_eq!(show(&world.beat(named(joining("a")))), "1 [t0 t1 t2 t3]");
    assert_eq!(show(&world.beat(named(joining("b")))), "UnreleasedInstanceId");
    assert_eq!(show(&world.beat(named(at("b", 1)))), "FencedInstanceId");
    assert_eq!(show(&world.beat(named(at("a", -2)))), "-2 [as before]");
    assert_eq!(world.join("other"), "2 []", "what is kept is not given to others");
    assert_eq!(
        show(&world.beat(named(joining("b")))),
        "2 [t0 t1]",
        "its share meanwhile"
    );
    assert_eq!(show(&world.beat(named(at("a", 2)))), "FencedInstanceId");
    world.restart();
    assert_eq!(show(&world.beat(named(at("b", -2)))), "-2 [as before]");
    world.pass(1_000);
    assert_eq!(world.members(), 0);
}

#[test]
fn what_most_members_would_have_is_how_the_work_is_divided() {
    let mut world = World::new();
    let by = |id: &str, assignor: &str| ConsumerHeartbeat {
        assignor: Some(assignor.to_owned()),
        ..joining(id)
    };
    assert_eq!(show(&world.beat(by("a", "random"))), "UnsupportedAssignor");
    world.beat(by("a", "range")).unwrap();
    let described = |world: &World| {
        world
            .coordinator
            .describe_consumers(&GROUP.into())
            .unwrap()
            .assignor
    };
    assert_eq!(described(&world), AssignorName::Range);
    world.beat(by("b", "uniform")).unwrap();
    assert_eq!(
        described(&world),
        AssignorName::Uniform,
        "of two with as many votes the first of the settings"
    );
}

#[test]
fn offsets_are_committed_under_the_members_epoch() {
    let mut world = World::new();
    world.join("a");
    assert_eq!(world.commit("a", 1, true), Ok(()));
    assert_eq!(world.commit("a", 1, false), Err(GroupError::UnsupportedVersion));
    assert_eq!(world.commit("a", 2, true), Err(GroupError::StaleMemberEpoch));
    assert_eq!(world.commit("b", 1, true), Err(GroupError::UnknownMemberId));
    assert_eq!(world.commit("", -1, true), Err(GroupError::UnknownMemberId));
    let check = |world: &World, member: &str, epoch| {
        world
            .coordinator
            .check_fetch(&GROUP.into(), &member.into(), epoch)
    };
    assert_eq!(check(&world, "a", 1), Ok(()));
    assert_eq!(check(&world, "", -1), Ok(()));
    assert_eq!(check(&world, "a", 0), Err(GroupError::StaleMemberEpoch));
    assert_eq!(check(&world, "z", 0), Err(GroupError::UnknownMemberId));
    world.beat(at("a", -1)).unwrap();
    assert_eq!(
        world.commit("", -1, true),
        Ok(()),
        "an administrator, while nobody is there"
    );
}

#[test]
fn a_change_that_cannot_be_written_has_not_happened() {
    let mut world = World::new();
    let to = world.start_beat(joining("a"));
    world.fail();
    let refused = Reply::ConsumerHeartbeat(Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(world.replies.remove(&to), Some(refused));
    assert!(world.coordinator.group(&GROUP.into()).is_none());
    world.join("a");
    world.start_beat(joining("b"));
    world.fail();
    assert_eq!(world.members(), 1);
    assert_eq!(world.keep("a", 1), "1 [as before]");
}

#[test]
fn a_restart_finds_the_group_as_it_was() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    world.keep("a", 1);
    let before = world.coordinator.describe_consumers(&GROUP.into()).unwrap();
    world.restart();
    let after = world.coordinator.describe_consumers(&GROUP.into()).unwrap();
    assert_eq!(
        (after.epoch, after.target_epoch, after.phase),
        (before.epoch, before.target_epoch, before.phase)
    );
    assert_eq!(world.holds("a", 1, &[(TIDES, 0), (TIDES, 1)]), "2 [as before]");
    assert_eq!(world.keep("b", 2), "2 [t2 t3]");
    world.restart();
    world.pass(1_000);
    assert_eq!(world.members(), 0, "nobody came back");
}

#[test]
fn an_empty_group_can_be_deleted_and_is_listed_by_its_type() {
    let mut world = World::new();
    world.join("a");
    let listed = |world: &World, types: &[&str], states: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let filter = GroupFilter {
            types: names(types),
            states: names(states),
        };
        world.coordinator.list(&filter).len()
    };
    assert_eq!(
        (
            listed(&world, &["Consumer"], &["stable"]),
            listed(&world, &["classic"], &[])
        ),
        (1, 0)
    );
    assert!(
        world.coordinator.describe(&GROUP.into()).is_none(),
        "not of the classic protocol"
    );
    let delete = |world: &mut World| {
        let to = world.to();
        world.event(Event::Delete { to });
        world.settle();
        world.replies.remove(&to)
    };
    assert_eq!(
        delete(&mut world),
        Some(Reply::Delete(Err(GroupError::NonEmptyGroup)))
    );
    world.beat(at("a", -1)).unwrap();
    assert_eq!(delete(&mut world), Some(Reply::Delete(Ok(()))));
    world.restart();
    assert!(world.coordinator.group(&GROUP.into()).is_none());
}

/// A group of the classic protocol with one member, `old`, that has all of `tides`.
fn classic_group(world: &mut World) {
    assert_eq!(
        world.classic_join("", "old", &["tides"], &[]),
        Ok((1, "old".to_owned()))
    );
    let (topic, all) = (TopicName::from("tides"), (0..4).collect());
    let bytes = subscription::write_assignment([(&topic, &all)].into_iter());
    assert_eq!(
        world.classic_sync("old", 1, &[("old", bytes)]),
        Ok(vec![0, 1, 2, 3])
    );
}

#[test]
fn a_group_moves_to_the_consumer_protocol_and_back_while_it_works() {
    let mut world = World::new();
    classic_group(&mut world);
    assert_eq!(world.commit("old", 1, false), Ok(()));
    // The first member of the new protocol.
    assert_eq!(world.join("new"), "2 []");
    assert_eq!(world.phase(), PhaseName::Reconciling);
    assert_eq!(world.classic_beat("old", 1), Err(GroupError::RebalanceInProgress));
    assert_eq!(
        world.classic_sync("old", 1, &[]),
        Err(GroupError::RebalanceInProgress)
    );
    // It says what it holds, is told to give up half, and joins again without it.
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[0, 1, 2, 3]),
        Ok((1, "old".to_owned()))
    );
    world.restart();
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[0, 1]),
        Ok((2, "old".to_owned()))
    );
    assert_eq!(world.classic_sync("old", 2, &[]), Ok(vec![0, 1]));
    assert_eq!(world.classic_beat("old", 2), Ok(()));
    assert_eq!(world.classic_beat("old", 1), Err(GroupError::IllegalGeneration));
    assert_eq!(world.keep("new", 2), "2 [t2 t3]");
    assert_eq!(
        world.commit("old", 2, false),
        Ok(()),
        "a classic member commits as it always did"
    );
    // And back, when the last of them leaves.
    assert_eq!(show(&world.beat(at("new", -1))), "-1 [as before]");
    assert!(!world.coordinator.group(&GROUP.into()).unwrap().is_consumer());
    assert_eq!(world.classic_beat("old", 3), Err(GroupError::RebalanceInProgress));
    world.restart();
    assert!(!world.coordinator.group(&GROUP.into()).unwrap().is_consumer());
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[]),
        Ok((4, "old".to_owned()))
    );
    let fetched = world.coordinator.fetch_offsets(&GROUP.into(), None);
    assert_eq!(fetched[0].committed.as_ref().unwrap().offset, 5);
}

#[test]
fn classic_members_join_and_leave_a_group_of_the_consumer_protocol() {
    let mut world = World::new();
    world.join("new");
    assert_eq!(
        world.classic_join("", "old", &["tides"], &[]),
        Ok((2, "old".to_owned()))
    );
    assert_eq!(world.classic_sync("old", 2, &[]), Ok(vec![]));
    world.keep("new", 1);
    assert_eq!(world.classic_beat("old", 2), Ok(()), "nothing is free");
    world.holds("new", 1, &[(TIDES, 0), (TIDES, 1)]);
    assert_eq!(
        world.classic_beat("old", 2),
        Err(GroupError::RebalanceInProgress),
        "there is more to have"
    );
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[]),
        Ok((2, "old".to_owned()))
    );
    assert_eq!(world.classic_sync("old", 2, &[]), Ok(vec![2, 3]));
    assert_eq!(
        world.classic_join("stranger", "x", &["tides"], &[]),
        Err(GroupError::UnknownMemberId)
    );
    let to = world.to();
    let leaving = |id: &str| LeavingMember {
        member: id.into(),
        instance: None,
        reason: None,
    };
    world.event(Event::Leave {
        members: vec![leaving("old"), leaving("stranger")],
        to,
    });
    world.settle();
    let Some(Reply::Leave(Ok(answers))) = world.replies.remove(&to) else {
        panic!()
    };
    assert_eq!(
        answers.iter().map(|a| a.result).collect::<Vec<_>>(),
        [Ok(()), Err(GroupError::UnknownMemberId)]
    );
    assert_eq!(world.members(), 1);
}

#[test]
fn groups_that_are_not_of_consumers_stay_classic() {
    let mut world = World::new();
    let to = world.to();
    let request = JoinRequest {
        protocol_type: "connect".to_owned(),
        ..JoinRequest::consumer("c", "worker", vec![Protocol::new("default", &b""[..])])
    };
    world.event(Event::Join { request, to });
    assert_eq!(world.join("new"), "InconsistentGroupProtocol");
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Beat { who: usize, holds: bool },
    Leave(usize),
    Grow(i32),
    Pass(i64),
    Fail,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..4usize;
    prop_oneof![
        2 => who.clone().prop_map(Step::Join),
        8 => (who.clone(), any::<bool>()).prop_map(|(who, holds)| Step::Beat { who, holds }),
        1 => who.prop_map(Step::Leave),
        1 => (1..9i32).prop_map(Step::Grow),
        1 => (1..700i64).prop_map(Step::Pass),
        1 => Just(Step::Fail),
        1 => Just(Step::Restart),
    ]
}

/// What a well-behaved client knows: it holds what it was told, and gives up at once what it was told to give up.
#[derive(Clone, Default)]
struct Client {
    epoch: i32,
    holds: Partitions,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No partition is ever held by two members that are in the group, whatever happens; and left alone, every partition is
    /// held by one.
    #[test]
    fn nobody_holds_what_another_holds(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        let mut clients = vec![Client::default(); 4];
        let mut version = 1;
        let beat = |world: &mut World, clients: &mut Vec<Client>, who: usize, say: bool| {
            let client = clients[who].clone();
            let id = format!("m{who}");
            let request = if client.epoch == 0 {
                joining(&id)
            } else {
                ConsumerHeartbeat { holds: say.then_some(client.holds), ..at(&id, client.epoch) }
            };
            match world.beat(request) {
                Ok(beat) => {
                    clients[who].epoch = beat.epoch;
                    if let Some(assigned) = beat.assignment { clients[who].holds = assigned; }
                }
                Err(_) => clients[who] = Client::default(),
            }
        };
        for step in steps {
            match step {
                Step::Join(who) => {
                    clients[who] = Client::default();
                    beat(&mut world, &mut clients, who, true);
                }
                Step::Beat { who, holds } => if clients[who].epoch > 0 { beat(&mut world, &mut clients, who, holds) },
                Step::Leave(who) => if clients[who].epoch > 0 {
                    let _ = world.beat(at(&format!("m{who}"), -1));
                    clients[who] = Client::default();
                },
                Step::Grow(partitions) => {
                    version += 1;
                    world.topics = image(version, partitions);
                }
                Step::Pass(ms) => world.pass(ms),
                Step::Fail => {
                    let to = world.start_beat(joining("m0"));
                    if !world.appends.is_empty() { world.fail(); }
                    world.replies.remove(&to);
                    clients[0] = Client::default();
                }
                Step::Restart => world.restart(),
            }
            if let Some(group) = world.coordinator.group(&GROUP.into()) && let Some(consumers) = &group.consumers {
                let mut seen = BTreeSet::new();
                for member in consumers.members.values() {
                    for held in member.assigned.iter().chain(member.revoking.iter()) {
                        prop_assert!(seen.insert(held), "{:?} twice", held);
                    }
                    prop_assert!(consumers.sessions.contains_key(&member.id), "a silent member that is never out");
                    // What a client of this epoch holds is known to the coordinator.
                    let who: usize = member.id.as_str()[1..].parse().unwrap();
                    if clients[who].epoch == member.epoch && member.state == MemberState::Stable {
                        prop_assert!(member.assigned.is_subset(&clients[who].holds) || clients[who].epoch == 0);
                    }
                }
            }
        }
        world.topics = image(version + 1, 4);
        for _ in 0..12 {
            for who in 0..4 { beat(&mut world, &mut clients, who, true); }
        }
        let mut all = Vec::new();
        for client in &clients { all.extend(client.holds.iter()); }
        all.sort_unstable();
        prop_assert_eq!(all, (0..4).map(|p| (TIDES, p)).collect::<Vec<_>>());
        prop_assert_eq!(world.phase(), PhaseName::Stable);
    }
}
