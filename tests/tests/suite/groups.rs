//! Consumer groups with real clients: members that join, leave, die and come back, and a broker that does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use crate::server::Server;
use crate::{PATIENCE, TICK};

const TOPIC: &str = "tides";
const PARTITIONS: usize = 4;

/// A broker whose topics have `PARTITIONS` partitions, also when a producer makes them.
fn start() -> Server {
    Server::start(&[("num.partitions", &PARTITIONS.to_string())])
}

/// Counts what a member is told, besides what a member always does.
#[derive(Default)]
struct Told {
    rebalances: AtomicUsize,
    revoked: Mutex<BTreeSet<i32>>,
}

impl ClientContext for Told {}
impl ConsumerContext for Told {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.rebalances.fetch_add(1, Ordering::SeqCst);
        if let Rebalance::Revoke(partitions) = rebalance {
            self.revoked.lock().unwrap().extend(numbers(partitions));
        }
    }
}

type Member = BaseConsumer<Told>;

fn numbers(partitions: &TopicPartitionList) -> BTreeSet<i32> {
    partitions
        .elements()
        .iter()
        .map(|element| element.partition())
        .collect()
}

/// A client that soon hears of topics that others make.
fn client(server: &Server) -> ClientConfig {
    let mut client = server.client();
    client.set("topic.metadata.refresh.interval.ms", "500");
    client
}

fn member(server: &Server, group: &str, settings: &[(&str, &str)]) -> Member {
    let mut client = client(server);
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    client
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "100")
        .set("fetch.wait.max.ms", "20");
    for (name, value) in settings {
        client.set(*name, *value);
    }
    let member: Member = client.create_with_context(Told::default()).unwrap();
    member.subscribe(&[TOPIC]).unwrap();
    member
}

/// Writes `count` records to each partition, and makes the topic if it is not there.
fn produce(server: &Server, count: usize) {
    let producer: BaseProducer = client(server).set("acks", "all").create().unwrap();
    for n in 0..count {
        for partition in 0..PARTITIONS {
            let (key, value) = (partition.to_string(), n.to_string());
            let record = BaseRecord::to(TOPIC)
                .partition(partition as i32)
                .key(&key)
                .payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// Polls all members in turn until `done`; errors a client recovers from by itself are passed over.
fn poll_until(
    members: &[&Member],
    what: &str,
    mut on: impl FnMut(usize, i32, i64),
    mut done: impl FnMut() -> bool,
) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        for (index, member) in members.iter().enumerate() {
            match member.poll(TICK) {
                Some(Ok(record)) => on(index, record.partition(), record.offset()),
                Some(Err(KafkaError::MessageConsumption(_))) | None => {}
                Some(Err(error)) => panic!("{what}: {error}"),
            }
        }
    }
}

fn owned(member: &Member) -> BTreeSet<i32> {
    numbers(&member.assignment().unwrap())
}

/// Polls until the members share all partitions, each with at least one.
fn settle(members: &[&Member], what: &str) {
    poll_until(members, what, |_, _, _| {}, || shared(members));
}

fn shared(members: &[&Member]) -> bool {
    let shares: Vec<_> = members.iter().map(|member| owned(member)).collect();
    let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
    let none_twice = shares.iter().map(BTreeSet::len).sum::<usize>() == PARTITIONS;
    all.len() == PARTITIONS && none_twice && shares.iter().all(|share| !share.is_empty())
}

fn commit(member: &Member, partition: i32, offset: i64, metadata: &str) {
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(TOPIC, partition, Offset::Offset(offset))
        .unwrap();
    if let Some(mut element) = offsets.find_partition(TOPIC, partition) {
        element.set_metadata(metadata);
    }
    member.commit(&offsets, CommitMode::Sync).unwrap();
}

fn committed(server: &Server, group: &str) -> BTreeMap<i32, (Offset, String)> {
    let reader: BaseConsumer = client(server).set("group.id", group).create().unwrap();
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_range(TOPIC, 0, PARTITIONS as i32 - 1);
    let offsets = reader.committed_offsets(wanted, PATIENCE).unwrap();
    let all = offsets.elements();
    all.iter()
        .map(|each| (each.partition(), (each.offset(), each.metadata().to_owned())))
        .collect()
}

#[test]
fn members_that_join_and_leave_share_all_partitions() {
    let server = start();
    produce(&server, 1);
    let first = member(&server, "share", &[]);
    settle(&[&first], "one member has everything");
    let second = member(&server, "share", &[]);
    settle(&[&first, &second], "two members share");
    let third = member(&server, "share", &[]);
    settle(&[&first, &second, &third], "three members share");
    second.unsubscribe();
    settle(&[&first, &third], "the two that are left share");
    drop(first);
    settle(&[&third], "the last has everything again");
}

#[test]
fn a_member_that_dies_is_out_when_its_session_ends() {
    let server = start();
    produce(&server, 1);
    let short = [("session.timeout.ms", "400"), ("heartbeat.interval.ms", "50")];
    // A static member does not say goodbye when it closes: to the others that is death.
    let mortal = [short[0], short[1], ("group.instance.id", "mortal")];
    let survivor = member(&server, "death", &short);
    let dying = member(&server, "death", &mortal);
    settle(&[&survivor, &dying], "both share");
    drop(dying);
    settle(&[&survivor], "the survivor has everything");
}

#[test]
fn a_static_member_that_restarts_moves_nobody() {
    let server = start();
    produce(&server, 1);
    let named = |name: &'static str| member(&server, "static", &[("group.instance.id", name)]);
    let (ebb, flow) = (named("ebb"), named("flow"));
    settle(&[&ebb, &flow], "both share");
    let (before, told) = (owned(&flow), ebb.context().rebalances.load(Ordering::SeqCst));
    let stays = owned(&ebb);
    drop(flow);
    let flow = named("flow");
    poll_until(
        &[&ebb, &flow],
        "its partitions are its own again",
        |_, _, _| {},
        || owned(&flow) == before,
    );
    assert_eq!(owned(&ebb), stays);
    assert_eq!(
        ebb.context().rebalances.load(Ordering::SeqCst),
        told,
        "nobody else was told to rebalance"
    );
}

#[test]
fn cooperative_members_give_up_only_what_moves() {
    let server = start();
    produce(&server, 1);
    let cooperative = [("partition.assignment.strategy", "cooperative-sticky")];
    let first = member(&server, "cooperative", &cooperative);
    settle(&[&first], "one member has everything");
    let second = member(&server, "cooperative", &cooperative);
    settle(&[&first, &second], "both share");
    let revoked = first.context().revoked.lock().unwrap().clone();
    assert_eq!(revoked, owned(&second), "what moved, and nothing else");
    drop(second);
    settle(&[&first], "one member has everything again");
}

#[test]
fn offsets_survive_any_end_of_the_broker() {
    let mut server = start();
    produce(&server, 10);
    let reader = member(&server, "kept", &[]);
    settle(&[&reader], "assigned");
    commit(&reader, 0, 7, "seven");
    commit(&reader, 1, 3, "");
    commit(&reader, 0, 8, "eight");
    drop(reader);
    let expected = BTreeMap::from([
        (0, (Offset::Offset(8), "eight".to_owned())),
        (1, (Offset::Offset(3), String::new())),
        (2, (Offset::Invalid, String::new())),
        (3, (Offset::Invalid, String::new())),
    ]);
    assert_eq!(committed(&server, "kept"), expected);
    server.stop();
    server.start_again();
    assert_eq!(committed(&server, "kept"), expected, "after a clean stop");
    server.kill();
    server.start_again();
    assert_eq!(committed(&server, "kept"), expected, "after a crash");

    let reader = member(&server, "kept", &[]);
    let mut first_seen = BTreeMap::new();
    let seen = Mutex::new(&mut first_seen);
    let note = |_, partition, offset| {
        seen.lock().unwrap().entry(partition).or_insert(offset);
    };
    poll_until(&[&reader], "a record of each partition", note, || {
        seen.lock().unwrap().len() == PARTITIONS
    });
    assert_eq!(first_seen, BTreeMap::from([(0, 8), (1, 3), (2, 0), (3, 0)]));
}

#[test]
fn a_group_goes_on_when_the_broker_comes_back() {
    let mut server = start();
    produce(&server, 5);
    let (first, second) = (member(&server, "resume", &[]), member(&server, "resume", &[]));
    let seen = Mutex::new(BTreeMap::<i32, BTreeSet<i64>>::new());
    let note = |_, partition, offset| {
        seen.lock().unwrap().entry(partition).or_default().insert(offset);
    };
    let all_seen = |count| {
        let seen = seen.lock().unwrap();
        seen.len() == PARTITIONS && seen.values().all(|offsets| offsets.len() == count)
    };
    poll_until(&[&first, &second], "the first records", note, || {
        all_seen(5) && shared(&[&first, &second])
    });
    server.kill();
    server.start_again();
    produce(&server, 5);
    poll_until(&[&first, &second], "records after a crash", note, || all_seen(10));
    server.stop();
    server.start_again();
    produce(&server, 5);
    poll_until(&[&first, &second], "records after a stop", note, || all_seen(15));
    settle(&[&first, &second], "both share still");
    commit(&first, *owned(&first).first().unwrap(), 15, "");
}
