//! Random members, requests and failures: what holds whatever happens.

use proptest::prelude::*;

use super::super::*;
use super::world::{GROUP, TIDES, World, at, image, joining};

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
