use std::time::Duration;

use super::MemoryCluster;
use tidemill_data::{Headers, Timestamp};

use crate::{
    CommitError, Event, Isolation, Member, Outgoing, Record, Start, Subscription, TopicPartition,
    TransactionError, TransactionSettings, TransactionalWriter, Transport, TransportError,
};

fn join(cluster: &MemoryCluster, client: &str) -> Box<dyn Member> {
    cluster
        .join(&Subscription::new("g", client, vec!["in".into()]))
        .unwrap()
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
    a.commit(&[(at(1), 7.into())]).unwrap();
    assert_eq!(poll(&mut *b), []);
    a.release().unwrap();
    assert_eq!(poll(&mut *a), [Event::Assigned(vec![at(0)])]);
    assert_eq!(poll(&mut *b), [Event::Assigned(vec![at(1)])]);
    assert_eq!(b.committed(&[at(0), at(1)]).unwrap(), [None, Some(7.into())]);
}

#[test]
fn a_topic_that_is_deleted_and_made_again_is_read_from_its_start() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 2);
    let mut a = join(&cluster, "a");
    poll(&mut *a);
    a.commit(&[(at(0), 7.into())]).unwrap();
    cluster.delete_topic("in");
    assert_eq!(cluster.committed("g", &at(0)), None);
    // Nor does what its reader commits afterwards count for the topic that has its name next.
    a.commit(&[(at(1), 5.into())]).unwrap();
    cluster.topic("in", 2);
    assert_eq!(a.committed(&[at(0), at(1)]).unwrap(), [None, None]);
}

#[test]
fn a_member_that_was_expired_may_not_commit_and_joins_again() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 2);
    let mut a = join(&cluster, "a");
    poll(&mut *a);
    cluster.expire("g", "a");
    assert!(matches!(
        a.commit(&[(at(0), 1.into())]),
        Err(CommitError::Fenced(_))
    ));
    assert_eq!(poll(&mut *a), [Event::Lost(vec![at(0), at(1)])]);
    a.release().unwrap();
    assert_eq!(poll(&mut *a), [Event::Assigned(vec![at(0), at(1)])]);
    a.commit(&[(at(0), 1.into())]).unwrap();
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
    assert!(matches!(
        a.commit(&[(at(0), 1.into())]),
        Err(CommitError::Transport(_))
    ));
    a.commit(&[(at(0), 1.into())]).unwrap();
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

fn outgoing<'a>(topic: crate::WriterTopic, value: &'a str, headers: &'a Headers) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: 0,
        timestamp: Timestamp::from_millis(0),
        key: None,
        value: Some(value.as_bytes()),
        headers,
    }
}

fn transactional(cluster: &MemoryCluster) -> Box<dyn TransactionalWriter> {
    let settings = TransactionSettings {
        id: "t".into(),
        timeout: Duration::from_secs(10),
    };
    cluster.transactional_writer("w", &settings).unwrap()
}

fn values(cluster: &MemoryCluster) -> Vec<String> {
    let records = cluster.records(&at(0)).unwrap().into_iter();
    records
        .map(|r| String::from_utf8(r.value.unwrap().to_vec()).unwrap())
        .collect()
}

#[test]
fn a_transaction_is_seen_when_it_is_committed_and_never_when_it_is_aborted() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 1);
    let (mut writer, headers) = (transactional(&cluster), Headers::default());
    let topic = writer.topic("in").unwrap();
    writer.begin().unwrap();
    writer.send(&[outgoing(topic, "aborted", &headers)]).unwrap();
    writer.abort().unwrap();
    writer.begin().unwrap();
    writer.send(&[outgoing(topic, "committed", &headers)]).unwrap();
    cluster.append(&at(0), record("after")).unwrap();
    assert_eq!(values(&cluster), [] as [&str; 0]);
    assert_eq!(cluster.end_offsets(&[at(0)]).unwrap(), [2]);
    assert_eq!(cluster.high_watermarks(&[at(0)]).unwrap(), [4]);
    writer.commit().unwrap();
    assert_eq!(values(&cluster), ["committed", "after"]);
    assert_eq!(cluster.end_offsets(&[at(0)]).unwrap(), [5]);
}

#[test]
fn a_writer_whose_id_was_taken_over_is_fenced_and_its_open_transaction_aborted() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 1);
    let (mut zombie, headers) = (transactional(&cluster), Headers::default());
    let topic = zombie.topic("in").unwrap();
    zombie.begin().unwrap();
    zombie.send(&[outgoing(topic, "x", &headers)]).unwrap();
    let mut heir = transactional(&cluster);
    assert!(matches!(zombie.commit(), Err(TransactionError::Fenced { .. })));
    assert!(matches!(zombie.abort(), Err(TransactionError::Fenced { .. })));
    heir.begin().unwrap();
    heir.commit().unwrap();
    assert_eq!(values(&cluster), [] as [&str; 0]);
}

#[test]
fn offsets_of_a_transaction_are_stable_once_it_ends_and_refused_from_a_former_member() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 1);
    let subscription = Subscription {
        isolation: Isolation::ReadCommitted,
        ..Subscription::new("g", "a", vec!["in".into()])
    };
    let mut a = cluster.join(&subscription).unwrap();
    poll(&mut *a);
    let mut writer = transactional(&cluster);
    writer.begin().unwrap();
    writer
        .send_offsets(&[(at(0), 3.into())], &a.group_metadata())
        .unwrap();
    assert!(matches!(a.committed(&[at(0)]), Err(TransportError::Unstable)));
    writer.commit().unwrap();
    assert_eq!(a.committed(&[at(0)]).unwrap(), [Some(3.into())]);
    cluster.expire("g", "a");
    writer.begin().unwrap();
    let refused = writer.send_offsets(&[(at(0), 4.into())], &a.group_metadata());
    assert!(matches!(refused, Err(TransactionError::Abortable(_))));
    writer.abort().unwrap();
    assert_eq!(cluster.committed("g", &at(0)), Some(3));
}
