use proptest::prelude::*;

use super::*;

const A: TopicId = TopicId(1);
const B: TopicId = TopicId(2);

fn candidate(id: &str, topics: &[TopicId], had: &[(TopicId, i32)]) -> Candidate {
    Candidate {
        id: id.into(),
        instance: None,
        topics: topics.iter().copied().collect(),
        had: Arc::new(had.iter().copied().collect()),
    }
}

fn text(shares: &BTreeMap<MemberId, Partitions>) -> Vec<String> {
    let share = |(id, share): (&MemberId, &Partitions)| {
        let parts: Vec<_> = share
            .iter()
            .map(|(topic, p)| format!("{}{p}", if topic == A { "a" } else { "b" }))
            .collect();
        format!("{id}: {}", parts.join(" "))
    };
    shares.iter().map(share).collect()
}

#[test]
fn range_gives_neighbours_and_the_same_of_each_topic() {
    let work = Work::from([(A, 5), (B, 3)]);
    let both = [A, B];
    let members = ["x", "y"].map(|id| candidate(id, &both, &[]));
    let shares = range::divide(&work, members.into());
    assert_eq!(text(&shares), ["x: a0 a1 a2 b0 b1", "y: a3 a4 b2"]);
}

#[test]
fn range_leaves_those_out_who_do_not_read_a_topic() {
    let work = Work::from([(A, 2), (B, 2)]);
    let members = vec![
        candidate("x", &[A], &[]),
        candidate("y", &[A, B], &[]),
        candidate("z", &[], &[]),
    ];
    assert_eq!(
        text(&range::divide(&work, members)),
        ["x: a0", "y: a1 b0 b1", "z: "]
    );
}

#[test]
fn range_knows_static_members_by_their_instance() {
    let work = Work::from([(A, 2)]);
    let mut first = candidate("zzz", &[A], &[]);
    first.instance = Some("1".into());
    let mut second = candidate("aaa", &[A], &[]);
    second.instance = Some("2".into());
    assert_eq!(
        text(&range::divide(&work, vec![second, first])),
        ["aaa: a1", "zzz: a0"]
    );
}

#[test]
fn uniform_moves_only_what_it_must() {
    let work = Work::from([(A, 4)]);
    let members = [
        candidate("x", &[A], &[(A, 0), (A, 1), (A, 2), (A, 3)]),
        candidate("y", &[A], &[]),
    ];
    assert_eq!(text(&uniform::divide(&work, &members)), ["x: a0 a1", "y: a2 a3"]);
    let members = [
        candidate("x", &[A], &[(A, 0), (A, 1)]),
        candidate("y", &[A], &[(A, 2), (A, 3), (A, 9)]),
        candidate("z", &[A], &[(A, 0)]),
    ];
    assert_eq!(
        text(&uniform::divide(&work, &members)),
        ["x: a0 a1", "y: a2", "z: a3"],
        "what is gone or belongs to another is not kept"
    );
}

#[test]
fn uniform_gives_to_those_who_can_take() {
    let work = Work::from([(A, 4), (B, 2)]);
    let members = [candidate("x", &[A, B], &[]), candidate("y", &[A], &[])];
    assert_eq!(
        text(&uniform::divide(&work, &members)),
        ["x: a2 b0 b1", "y: a0 a1 a3"]
    );
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let member = (
        proptest::collection::btree_set(1..4u128, 0..4),
        proptest::collection::vec((1..4u128, 0..12i32), 0..12),
    );
    proptest::collection::vec(member, 1..8).prop_map(|members| {
        let named = members
            .into_iter()
            .enumerate()
            .map(|(at, (topics, had))| Candidate {
                id: format!("m{at}").into(),
                instance: None,
                topics: topics.into_iter().map(TopicId).collect(),
                had: Arc::new(had.into_iter().map(|(topic, p)| (TopicId(topic), p)).collect()),
            });
        named.collect()
    })
}

proptest! {
    /// Every partition that somebody reads goes to exactly one who reads it, and nobody who could take one from another
    /// has two less.
    #[test]
    fn all_work_is_done_once(members in candidates(), counts in [0..12i32, 0..12i32, 0..12i32]) {
        let work: Work = (1..).map(TopicId).zip(counts).collect();
        let uniform = uniform::divide(&work, &members);
        for shares in [&uniform, &range::divide(&work, members.iter().map(|m| candidate(m.id.as_str(), &m.topics.iter().copied().collect::<Vec<_>>(), &[])).collect())] {
            let mut seen = BTreeSet::new();
            for member in &members {
                for (topic, partition) in shares[&member.id].iter() {
                    prop_assert!(member.topics.contains(&topic) && (0..work[&topic]).contains(&partition));
                    prop_assert!(seen.insert((topic, partition)), "given twice");
                }
            }
            let read = work.iter().filter(|(topic, _)| members.iter().any(|m| m.topics.contains(topic)));
            prop_assert_eq!(seen.len(), read.map(|(_, count)| usize::try_from(*count).unwrap()).sum::<usize>());
        }
        for rich in &members {
            for poor in &members {
                let movable = uniform[&rich.id].topics().any(|(topic, _)| poor.topics.contains(&topic));
                prop_assert!(!movable || uniform[&rich.id].len() < uniform[&poor.id].len() + 2);
            }
        }
    }

    /// Dividing again what is divided moves nothing.
    #[test]
    fn a_division_stays(members in candidates(), counts in [0..12i32, 0..12i32, 0..12i32]) {
        let work: Work = (1..).map(TopicId).zip(counts).collect();
        let once = uniform::divide(&work, &members);
        let again: Vec<Candidate> = members.iter().map(|member| Candidate {
            id: member.id.clone(),
            instance: None,
            topics: member.topics.clone(),
            had: Arc::new(once[&member.id].clone()),
        }).collect();
        prop_assert_eq!(uniform::divide(&work, &again), once);
    }
}
