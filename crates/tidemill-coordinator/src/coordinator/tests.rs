//! Random clients, random time, random failures of the log: what must hold whatever they do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::reloaded::reloaded;
use crate::*;

#[test]
fn groups_are_kept_where_kafka_keeps_them() {
    // From Java: Math.abs("name".hashCode()) % 50.
    assert_eq!(partition_of_group("", 50), 0);
    assert_eq!(partition_of_group("a", 50), 47);
    assert_eq!(partition_of_group("hello", 50), 99_162_322 % 50);
    assert_eq!(
        partition_of_group("polygenelubricants", 50),
        0,
        "the smallest integer counts as zero"
    );
    assert_eq!(partition_of_group("é", 50), 233 % 50);
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Join {
        who: usize,
        protocols: usize,
        fresh_process: bool,
    },
    Sync {
        who: usize,
        stale: bool,
    },
    Beat {
        who: usize,
    },
    Leave {
        who: usize,
    },
    Commit {
        who: usize,
    },
    Delete,
    Pass {
        ms: i64,
    },
    Write,
    Fail,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..5usize;
    prop_oneof![
        6 => (who.clone(), 0..3usize, proptest::bool::weighted(0.2))
            .prop_map(|(who, protocols, fresh_process)| Step::Join { who, protocols, fresh_process }),
        5 => (who.clone(), proptest::bool::weighted(0.1)).prop_map(|(who, stale)| Step::Sync { who, stale }),
        3 => who.clone().prop_map(|who| Step::Beat { who }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        2 => who.prop_map(|who| Step::Commit { who }),
        1 => Just(Step::Delete),
        3 => (1..700i64).prop_map(|ms| Step::Pass { ms }),
        6 => Just(Step::Write),
        1 => Just(Step::Fail),
        1 => Just(Step::Restart),
    ]
}

/// What a client knows of itself. Clients 3 and 4 are static, client 2 knows MEMBER_ID_REQUIRED.
#[derive(Clone, Default)]
struct Client {
    member: String,
    generation: i32,
    leads: Vec<MemberId>,
}

struct World {
    coordinator: Coordinator,
    now: Timestamp,
    clients: Vec<Client>,
    /// Who asked what is not answered yet.
    open: BTreeMap<ReplyTo, usize>,
    asked: u64,
    ids: u64,
    generation: i32,
    /// Of the current generation, who was told to lead.
    leaders: BTreeSet<(i32, MemberId)>,
    unwritten: VecDeque<(GroupId, AppendNumber, Vec<Record>)>,
    log: Vec<Record>,
}

const GROUP: &str = "g";

fn settings() -> GroupSettings {
    GroupSettings {
        size_max: 4,
        offsets_retention_ms: 2_000,
        offsets_retention_check_ms: 500,
        ..GroupSettings::embedded()
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            coordinator: Coordinator::new(settings()),
            now: Timestamp(0),
            clients: vec![Client::default(); 5],
            open: BTreeMap::new(),
            asked: 0,
            ids: 0,
            generation: 0,
            leaders: BTreeSet::new(),
            unwritten: VecDeque::new(),
            log: Vec::new(),
        };
        world.coordinator.loaded(world.now, &mut Vec::new());
        world
    }

    fn ask(&mut self, who: usize) -> ReplyTo {
        self.asked += 1;
        self.open.insert(ReplyTo(self.asked), who);
        ReplyTo(self.asked)
    }

    #[allow(clippy::too_many_lines, reason = "one arm a step")]
    fn run(&mut self, step: Step) {
        let event = match step {
            Step::Join {
                who,
                protocols,
                fresh_process,
            } => {
                if fresh_process {
                    self.clients[who] = Client::default();
                }
                self.ids += 1;
                let names: &[&str] = [&["range"][..], &["range", "sticky"], &["sticky", "range"]][protocols];
                let request = JoinRequest {
                    member: self.clients[who].member.as_str().into(),
                    fresh_member: format!("{who}-{}", self.ids).into(),
                    instance: instance(who),
                    session_timeout_ms: 1_000,
                    rebalance_timeout_ms: 400,
                    member_id_required: who == 2,
                    skips_assignment: who == 4,
                    ..JoinRequest::consumer(
                        "c",
                        "x",
                        names
                            .iter()
                            .map(|n| Protocol::new(*n, &b"\0\0\0\0\0\0"[..]))
                            .collect(),
                    )
                };
                Event::Join {
                    request,
                    to: self.ask(who),
                }
            }
            Step::Sync { who, stale } => {
                let client = self.clients[who].clone();
                let mut assignments: Vec<_> = client
                    .leads
                    .iter()
                    .map(|m| (m.clone(), Bytes::from(m.as_str().to_owned())))
                    .collect();
                assignments.push(("stranger".into(), Bytes::from_static(b"stranger")));
                let request = SyncRequest {
                    member: client.member.as_str().into(),
                    instance: instance(who),
                    generation: client.generation - i32::from(stale),
                    protocol_type: None,
                    protocol: None,
                    assignments,
                };
                Event::Sync {
                    request,
                    to: self.ask(who),
                }
            }
            Step::Beat { who } => {
                let Client {
                    member, generation, ..
                } = self.clients[who].clone();
                let request = HeartbeatRequest {
                    member: member.into(),
                    instance: instance(who),
                    generation,
                };
                Event::Heartbeat {
                    request,
                    to: self.ask(who),
                }
            }
            Step::Leave { who } => {
                let member = MemberId::from(self.clients[who].member.as_str());
                Event::Leave {
                    members: vec![LeavingMember {
                        member,
                        instance: instance(who),
                        reason: None,
                    }],
                    to: self.ask(who),
                }
            }
            Step::Commit { who } => {
                let Client {
                    member, generation, ..
                } = self.clients[who].clone();
                let offset = OffsetToCommit {
                    topic: "t".into(),
                    partition: 0,
                    offset: self.now.0,
                    leader_epoch: None,
                    metadata: String::new(),
                };
                let generation = if member.is_empty() { -1 } else { generation };
                let request = CommitRequest {
                    member: member.into(),
                    instance: instance(who),
                    generation,
                    retention_ms: None,
                    transaction: None,
                    knows_group_not_found: false,
                    offsets: vec![offset],
                };
                Event::Commit {
                    request,
                    to: self.ask(who),
                }
            }
            Step::Delete => Event::Delete { to: self.ask(0) },
            Step::Pass { ms } => return self.pass(ms),
            Step::Write => return self.finish(true),
            Step::Fail => return self.finish(false),
            Step::Restart => return self.restart(),
        };
        let mut actions = Vec::new();
        self.coordinator
            .handle(self.now, GROUP.into(), event, &mut actions);
        self.act(actions);
    }

    fn pass(&mut self, ms: i64) {
        let until = Timestamp(self.now.0 + ms);
        let mut ticks = 0;
        while let Some(due) = self.coordinator.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let mut actions = Vec::new();
            self.coordinator.tick(self.now, &mut actions);
            self.act(actions);
            ticks += 1;
            assert!(ticks < 1_000, "a deadline that is never met");
        }
        self.now = until;
    }

    fn finish(&mut self, written: bool) {
        let Some((group, number, records)) = self.unwritten.pop_front() else {
            return;
        };
        let event = if written {
            self.log.extend(records);
            Event::Written(number)
        } else {
            Event::WriteFailed(number, WriteFailure::Unavailable)
        };
        let mut actions = Vec::new();
        self.coordinator.handle(self.now, group, event, &mut actions);
        self.act(actions);
    }

    /// Every connection breaks, and what was not written is gone.
    fn restart(&mut self) {
        self.open.clear();
        self.unwritten.clear();
        self.leaders.clear();
        self.generation = 0;
        let (coordinator, actions) = reloaded(settings(), &self.log, self.now);
        self.coordinator = coordinator;
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Note { note, .. } => assert!(!note.to_string().is_empty()),
                Action::Append {
                    group,
                    number,
                    records,
                    ..
                } => {
                    assert!(!records.is_empty(), "an append of nothing");
                    self.unwritten.push_back((group, number, records));
                }
                Action::Reply { to, reply } => {
                    let who = self.open.remove(&to).expect("a request is answered exactly once");
                    self.learn(who, reply);
                }
            }
        }
    }

    fn learn(&mut self, who: usize, reply: Reply) {
        let client = &mut self.clients[who];
        match reply {
            Reply::Join(Ok(joined)) => {
                let Joined {
                    generation,
                    leader,
                    member,
                    members,
                    ..
                } = joined;
                assert!(generation >= 1);
                (client.member, client.generation) = (member.to_string(), generation);
                client.leads = members.iter().map(|m| m.member.clone()).collect();
                if !members.is_empty() {
                    assert_eq!(leader, member, "only the leader learns the members");
                    assert!(client.leads.contains(&member));
                    let renamed = instance(who).is_some();
                    self.leaders.insert((generation, member.clone()));
                    let others = self
                        .leaders
                        .iter()
                        .filter(|(g, m)| *g == generation && !m.as_str().starts_with(&format!("{who}-")));
                    assert!(renamed || others.count() == 0, "two leaders in one generation");
                }
            }
            Reply::Join(Err(refused)) => {
                *client = Client {
                    member: refused.member.to_string(),
                    ..Client::default()
                };
                let again = matches!(
                    refused.error,
                    GroupError::MemberIdRequired | GroupError::RebalanceInProgress
                );
                if !again {
                    client.member.clear();
                }
            }
            Reply::Sync(Ok(assigned)) => assert!(assigned.assignment != "stranger"),
            Reply::Sync(Err(GroupError::UnknownMemberId))
            | Reply::Heartbeat(Err(GroupError::UnknownMemberId)) => {
                *client = Client::default();
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let Some(group) = self.coordinator.group(&GROUP.into()) else {
            // Deleted: the next group of this name counts from the start again.
            self.generation = 0;
            self.leaders.clear();
            return;
        };
        assert!(group.generation() >= self.generation, "the generation fell");
        self.generation = group.generation();
        if group.phase() != PhaseName::PreparingRebalance {
            // Static members that are not back keep their places beside those who came.
            assert!(group.members.len() <= settings().size_max + group.statics.len());
        }
        let leads = group
            .leader
            .as_ref()
            .is_some_and(|leader| group.members.contains_key(leader));
        assert_eq!(
            leads,
            !group.members.is_empty(),
            "a group with members has a leader among them"
        );
        let statics: BTreeSet<_> = group
            .members
            .values()
            .filter_map(|m| m.instance.clone())
            .collect();
        assert_eq!(statics, group.statics.keys().cloned().collect());
        assert!(group.statics.values().all(|id| group.members.contains_key(id)));
        match group.phase() {
            PhaseName::Empty | PhaseName::Dead => assert!(group.members.is_empty()),
            PhaseName::Stable | PhaseName::CompletingRebalance => assert!(!group.members.is_empty()),
            PhaseName::PreparingRebalance => {}
            PhaseName::Assigning | PhaseName::Reconciling => panic!("of the consumer protocol"),
        }
        for member in group.members.values() {
            let waits = member.waiting != crate::member::Waiting::Nothing;
            assert!(
                waits || member.session_deadline.is_some(),
                "a silent member that is never out"
            );
        }
    }
}

fn instance(who: usize) -> Option<InstanceId> {
    (who >= 3).then(|| InstanceId::from(format!("static-{who}")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_clients_and_failures_keep_the_invariants(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.check();
        }
        // Whoever still waits is answered in the end: appends finish, sessions and timeouts run out.
        for _ in 0..40 {
            while !world.unwritten.is_empty() {
                world.finish(true);
            }
            world.pass(100_000);
            world.check();
        }
        prop_assert!(world.open.is_empty(), "never answered: {:?}", world.open);
        // And the log says the same as memory.
        let (members, offsets) = world.coordinator.group(&GROUP.into())
            .map(|g| (g.members.len(), g.fetch_all_offsets())).unwrap_or_default();
        world.restart();
        let restored = world.coordinator.group(&GROUP.into())
            .map(|g| (g.members.len(), g.fetch_all_offsets())).unwrap_or_default();
        prop_assert_eq!((members, offsets), restored);
    }
}
