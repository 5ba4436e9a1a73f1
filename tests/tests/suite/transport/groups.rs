//! Members of groups: what they are given, what they give up, and what they commit.

use std::time::Instant;

use tidemill_client::{CommitError, Committed, Event, Member, Start, TopicPartition};

use super::clusters::{Cluster, PATIENCE, TICK, at, on_each, poll_until, values};

fn assigned(events: &[Event]) -> Option<Vec<TopicPartition>> {
    events.iter().rev().find_map(|event| match event {
        Event::Assigned(partitions) => Some(partitions.clone()),
        _ => None,
    })
}

fn await_assigned(member: &mut Box<dyn Member>, what: &str) -> Vec<TopicPartition> {
    let events = poll_until(member, what, |events| assigned(events).is_some());
    assigned(&events).unwrap()
}

/// Reads all it is given from the start.
fn read_from_start(member: &mut dyn Member, partitions: &[TopicPartition]) {
    let from: Vec<_> = partitions.iter().map(|p| (p.clone(), Start::Earliest)).collect();
    member.accept(&from).unwrap();
    member.resume(partitions);
}

fn committed(next: i64, metadata: &str) -> Committed {
    Committed {
        next,
        metadata: metadata.into(),
    }
}

/// Polls all members in turn, each giving up what it must, until the partitions of `count` assignments are accepted.
fn settle(
    cluster: &Cluster,
    members: &mut [Box<dyn Member>],
    done: impl Fn(&[Vec<TopicPartition>]) -> bool,
) -> Vec<Vec<TopicPartition>> {
    let mut owned = vec![Vec::new(); members.len()];
    let began = Instant::now();
    while !done(&owned) {
        assert!(began.elapsed() < PATIENCE, "{}: {owned:?}", cluster.name);
        for (member, owned) in members.iter_mut().zip(&mut owned) {
            let mut events = Vec::new();
            member.poll(100, TICK, &mut events).unwrap();
            for event in events {
                match event {
                    Event::Assigned(partitions) => {
                        read_from_start(&mut **member, &partitions);
                        *owned = partitions;
                    }
                    Event::Revoking(_) | Event::Lost(_) => {
                        owned.clear();
                        member.release().unwrap();
                    }
                    Event::Records(_) | Event::CaughtUp { .. } => {}
                }
            }
        }
    }
    owned
}

#[test]
fn a_lone_member_gets_all_and_reads_nothing_before_it_is_resumed() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        cluster.write(&at("t", 0), &["a"]);
        let mut member = cluster.join("one", &["t"]);
        let mut partitions = await_assigned(&mut member, cluster.name);
        partitions.sort();
        assert_eq!(partitions, [at("t", 0), at("t", 1)]);
        let from: Vec<_> = partitions.iter().map(|p| (p.clone(), Start::Earliest)).collect();
        member.accept(&from).unwrap();
        let mut events = Vec::new();
        for _ in 0..10 {
            member.poll(10, TICK, &mut events).unwrap();
        }
        assert_eq!(events, [], "{}", cluster.name);
        member.resume(&partitions);
        poll_until(&mut member, cluster.name, |events| values(events) == ["a"]);
        member.leave().unwrap();
    });
}

#[test]
fn a_pause_holds_records_back_and_loses_none() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        cluster.write(&at("t", 0), &["a"]);
        let mut member = cluster.join("one", &["t"]);
        let partitions = await_assigned(&mut member, cluster.name);
        read_from_start(&mut *member, &partitions);
        poll_until(&mut member, cluster.name, |events| values(events) == ["a"]);
        member.pause(&partitions);
        cluster.write(&at("t", 0), &["b", "c"]);
        let mut events = Vec::new();
        for _ in 0..10 {
            member.poll(10, TICK, &mut events).unwrap();
        }
        assert_eq!(values(&events), [""; 0], "{}", cluster.name);
        member.resume(&partitions);
        poll_until(&mut member, cluster.name, |events| values(events) == ["b", "c"]);
        member.leave().unwrap();
    });
}

#[test]
fn commits_come_back_with_their_metadata() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        let mut member = cluster.join("one", &["t"]);
        let partitions = await_assigned(&mut member, cluster.name);
        read_from_start(&mut *member, &partitions);
        assert_eq!(member.committed(&[at("t", 0), at("t", 1)]).unwrap(), [None, None]);
        member
            .commit(&[(at("t", 1), committed(5, "stream time 9"))])
            .unwrap();
        let found = member.committed(&[at("t", 0), at("t", 1)]).unwrap();
        assert_eq!(
            found,
            [None, Some(committed(5, "stream time 9"))],
            "{}",
            cluster.name
        );
        assert_eq!(member.group_metadata().group, "readers");
        member.leave().unwrap();
        let mut next = cluster.join("two", &["t"]);
        await_assigned(&mut next, cluster.name);
        assert_eq!(
            next.committed(&[at("t", 1)]).unwrap(),
            [Some(committed(5, "stream time 9"))]
        );
        next.leave().unwrap();
    });
}

#[test]
fn a_second_member_takes_its_share_after_the_first_has_committed_and_released() {
    on_each(|cluster| {
        cluster.topic("t", 4);
        cluster.write(&at("t", 0), &["a"]);
        let mut first = cluster.join("one", &["t"]);
        let partitions = await_assigned(&mut first, cluster.name);
        read_from_start(&mut *first, &partitions);
        poll_until(&mut first, cluster.name, |events| values(events) == ["a"]);
        let second = cluster.join("two", &["t"]);
        let revoking = |events: &[Event]| {
            events
                .iter()
                .any(|e| matches!(e, Event::Revoking(p) if p.len() == 4))
        };
        poll_until(&mut first, cluster.name, revoking);
        // Still ours: the commit is taken, and nothing is delivered any more.
        first.commit(&[(at("t", 0), 1.into())]).unwrap();
        cluster.write(&at("t", 0), &["b"]);
        let mut events = Vec::new();
        first.poll(10, TICK, &mut events).unwrap();
        assert_eq!(events, [], "{}", cluster.name);
        first.release().unwrap();
        let mut members = [first, second];
        let owned = settle(cluster, &mut members, |owned| owned.iter().all(|o| o.len() == 2));
        let mut all: Vec<_> = owned.concat();
        all.sort();
        assert_eq!(
            all,
            (0..4).map(|p| at("t", p)).collect::<Vec<_>>(),
            "{}",
            cluster.name
        );
        for member in members {
            member.leave().unwrap();
        }
    });
}

#[test]
fn who_leaves_hands_over_at_once() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        let mut members = vec![cluster.join("one", &["t"]), cluster.join("two", &["t"])];
        settle(cluster, &mut members, |owned| owned.iter().all(|o| o.len() == 1));
        members.pop().unwrap().leave().unwrap();
        // Its session would last longer than this test may.
        settle(cluster, &mut members, |owned| owned.iter().all(|o| o.len() == 2));
        members.pop().unwrap().leave().unwrap();
    });
}

#[test]
fn topics_with_equal_counts_are_shared_out_alike() {
    on_each(|cluster| {
        cluster.topic("t", 2);
        cluster.topic("u", 2);
        let mut members = vec![cluster.join("one", &["t", "u"]), cluster.join("two", &["t", "u"])];
        let owned = settle(cluster, &mut members, |owned| owned.iter().all(|o| o.len() == 2));
        for owned in owned {
            assert_eq!(
                owned[0].partition, owned[1].partition,
                "{}: {owned:?}",
                cluster.name
            );
        }
        for member in members {
            member.leave().unwrap();
        }
    });
}

#[test]
fn a_member_that_is_none_commits_nothing() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        let mut members = vec![cluster.join("one", &["t"])];
        settle(cluster, &mut members, |owned| owned[0].len() == 1);
        members.push(cluster.join("two", &["t"]));
        let revoking = |events: &[Event]| events.iter().any(|e| matches!(e, Event::Revoking(_)));
        poll_until(&mut members[0], cluster.name, revoking);
        members[0].release().unwrap();
        // Now the group has two members and one partition: whoever owns none has nothing to commit for.
        let mut settled = settle(cluster, &mut members, |owned| owned.concat().len() == 1);
        let idle = settled.iter().position(Vec::is_empty).unwrap();
        settled.clear();
        let outcome = members[idle].commit(&[(at("t", 0), 1.into())]);
        // Kafka takes the commit of any member of the generation; what counts is that it is no panic and no hang.
        assert!(
            matches!(
                outcome,
                Ok(()) | Err(CommitError::Fenced(_) | CommitError::Rebalancing)
            ),
            "{outcome:?}"
        );
        for member in members {
            member.leave().unwrap();
        }
    });
}

#[test]
fn a_wait_ends_when_it_is_woken() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        let mut member = cluster.join("one", &["t"]);
        let partitions = await_assigned(&mut member, cluster.name);
        read_from_start(&mut *member, &partitions);
        let wake = member.wake();
        let waker = std::thread::spawn(move || wake());
        let mut events = Vec::new();
        let began = Instant::now();
        // Woken before or while it waits; either way it does not wait until the end.
        while events.is_empty() && !waker.is_finished() {
            member.poll(10, TICK, &mut events).unwrap();
        }
        waker.join().unwrap();
        member.wake()();
        member.poll(10, PATIENCE, &mut events).unwrap();
        assert!(began.elapsed() < PATIENCE, "{}", cluster.name);
        member.leave().unwrap();
    });
}
