use std::time::Duration;

use super::MemoryCluster;
use tidemill_data::{Headers, Timestamp};

use crate::{CommitError, Event, Member, Outgoing, Record, Start, Subscription, TopicPartition, Transport};

fn join(cluster: &MemoryCluster, client: &str) -> Box<dyn Member> {
    let subscription = Subscription {
        group: "g".into(),
        client: client.into(),
        topics: vec!["in".into()],
        queued_bytes_max: 1 << 20,
    };
    cluster.join(&subscription).unwrap()
}

fn poll(member: &mut dyn Member) -> Vec<Event> {
    let mut events = Vec::new();
    member.poll(100, Duration::ZERO, &mut events).unwrap();
    events
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("in", partition)
}

fn record(value: &'static str) -> Record {
    let timestamp = Timestamp::from_millis(0);
    Record {
        offset: 0,
        timestamp,
        key: None,
        value: Some(value.into()),
        headers: Headers::default(),
    }
}

#[test]
fn a_second_member_waits_until_the_first_has_released() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 2);
    let mut a = join(&cluster, "a");
    assert_eq!(poll(&mut *a), [Event::Assigned(vec![at(0), at(1)])]);
    let mut b = join(&cluster, "b");
    assert_eq!(poll(&mut *b), []);
    assert_eq!(poll(&mut *a), [Event::Revoking(vec![at(0), at(1)])]);
    a.commit(&[(at(1), 7)]).unwrap();
    assert_eq!(poll(&mut *b), []);
    a.release().unwrap();
    assert_eq!(poll(&mut *a), [Event::Assigned(vec![at(0)])]);
    assert_eq!(poll(&mut *b), [Event::Assigned(vec![at(1)])]);
    assert_eq!(b.committed(&[at(0), at(1)]).unwrap(), [None, Some(7)]);
}

#[test]
fn a_member_that_was_expired_may_not_commit_and_joins_again() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 2);
    let mut a = join(&cluster, "a");
    poll(&mut *a);
    cluster.expire("g", "a");
    assert!(matches!(a.commit(&[(at(0), 1)]), Err(CommitError::Fenced(_))));
    assert_eq!(poll(&mut *a), [Event::Lost(vec![at(0), at(1)])]);
    a.release().unwrap();
    assert_eq!(poll(&mut *a), [Event::Assigned(vec![at(0), at(1)])]);
    a.commit(&[(at(0), 1)]).unwrap();
}

#[test]
fn records_come_after_accept_and_resume_and_the_end_is_told_once() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 1);
    cluster.append(&at(0), record("x")).unwrap();
    let mut a = join(&cluster, "a");
    poll(&mut *a);
    a.accept(&[(at(0), Start::Earliest)]).unwrap();
    assert_eq!(poll(&mut *a), []);
    a.resume(&[at(0)]);
    let events = poll(&mut *a);
    assert!(
        matches!(&events[..], [Event::Records(batch), Event::CaughtUp { end: 1, .. }] if batch.records.len() == 1)
    );
    assert_eq!(poll(&mut *a), []);
}

#[test]
fn injected_failures_hit_as_often_as_asked() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 1);
    let mut a = join(&cluster, "a");
    poll(&mut *a);
    cluster.fail_commits(1);
    assert!(matches!(a.commit(&[(at(0), 1)]), Err(CommitError::Transport(_))));
    a.commit(&[(at(0), 1)]).unwrap();
    cluster.fail_sends("in", 1);
    let mut writer = cluster.writer("w").unwrap();
    let (topic, headers, timestamp) = (
        writer.topic("in").unwrap(),
        Headers::default(),
        Timestamp::from_millis(0),
    );
    let out = Outgoing {
        topic,
        partition: 0,
        timestamp,
        key: None,
        value: Some(b"x"),
        headers: &headers,
    };
    writer.send(&[out]).unwrap();
    assert!(writer.flush().is_err());
    writer.send(&[out]).unwrap();
    writer.flush().unwrap();
    assert_eq!(cluster.records(&at(0)).unwrap().len(), 1);
}

#[test]
fn reading_before_the_first_record_is_out_of_range() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 1);
    for _ in 0..3 {
        cluster.append(&at(0), record("x")).unwrap();
    }
    cluster.trim(&at(0), 2);
    let mut reader = cluster.reader("r").unwrap();
    reader.assign(&[(at(0), Start::At(1))]).unwrap();
    assert!(reader.poll(10, Duration::ZERO, &mut Vec::new()).is_err());
    reader.assign(&[(at(0), Start::Earliest)]).unwrap();
    let mut events = Vec::new();
    reader.poll(10, Duration::ZERO, &mut events).unwrap();
    assert!(
        matches!(&events[..], [Event::Records(batch), Event::CaughtUp { end: 3, .. }] if batch.records.len() == 1)
    );
}
