use std::time::Duration;

use bytes::Bytes;
use tidemill_data::{Headers, Timestamp};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::batch::{Batch, ProducerStamp};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::departing::{Flight, Step};
use super::*;
use crate::WriterTopic;
use crate::native::cluster::View;
use crate::native::settings::Acks;

const MS: Duration = Duration::from_millis(1);
const ID: ProducerId = ProducerId { id: 7, epoch: 0 };

/// A buffer driven by hand, in a cluster of one broker with one topic of two partitions.
struct Script {
    accumulator: Accumulator,
    view: View,
    now: Instant,
}

fn settings() -> ProducerSettings {
    ProducerSettings {
        acks: Acks::All,
        idempotent: true,
        compression: Compression::None,
        linger: 5 * MS,
        batch_bytes: 200,
        buffer_bytes: 2000,
        request_bytes_max: 1000,
        in_flight_max: 5,
        delivery_timeout: 1000 * MS,
        request_timeout: 100 * MS,
        retry_backoff: (10 * MS, 10 * MS),
        metadata_age_max: 10_000 * MS,
    }
}

fn view(now: Instant) -> View {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        ..Default::default()
    };
    let topic = MetadataResponseTopic {
        name: Some("t".into()),
        partitions: vec![partition(0), partition(1)],
        ..Default::default()
    };
    let broker = MetadataResponseBroker {
        node_id: 1,
        host: "h".into(),
        port: 1,
        ..Default::default()
    };
    let mut view = View::default();
    let response = MetadataResponse {
        brokers: vec![broker],
        topics: vec![topic],
        ..Default::default()
    };
    view.apply(&response, now);
    view
}

/// A batch that was sent: its place and number, first sequence and records.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    partition: usize,
    number: u64,
    stamp: Option<ProducerStamp>,
    bytes: Bytes,
}

impl Sent {
    fn sequence(&self) -> i32 {
        Batch::parse(&self.bytes).unwrap().header().base_sequence
    }

    fn producer(&self) -> i64 {
        Batch::parse(&self.bytes).unwrap().header().producer_id
    }

    fn values(&self) -> Vec<String> {
        let batch = Batch::parse(&self.bytes).unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        let records = batch.records(&payload).map(Result::unwrap);
        records
            .map(|r| String::from_utf8_lossy(r.value.unwrap()).trim_end().to_owned())
            .collect()
    }
}

impl Script {
    fn over(accumulator: impl FnOnce(ProducerSettings) -> Accumulator, settings: ProducerSettings) -> Self {
        let now = Instant::now();
        let mut accumulator = accumulator(settings);
        assert_eq!(accumulator.topic("t"), 0);
        Self {
            accumulator,
            view: view(now),
            now,
        }
    }

    fn new() -> Self {
        Self::over(Accumulator::new, settings())
    }

    /// One that knows who it is.
    fn identified() -> Self {
        let mut script = Self::new();
        script.push(0, "first");
        assert!(script.step().wants_identity);
        script.accumulator.identified(ID);
        script.pass(5 * MS);
        let first = script.departed();
        script.land(&first[0], Outcome::Written);
        script
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn push(&mut self, partition: i32, value: &str) -> Pushed {
        let headers = Headers::default();
        let record = Outgoing {
            topic: WriterTopic(0),
            partition,
            timestamp: Timestamp::from_millis(1),
            key: None,
            value: Some(value.as_bytes()),
            headers: &headers,
        };
        self.accumulator.push(&record, self.now)
    }

    /// A batch of its own: no second record of this size fits beside it.
    fn push_full(&mut self, partition: i32, value: &str) {
        self.push(partition, &format!("{value:<100}"));
    }

    fn step(&mut self) -> Step {
        self.accumulator.step(&self.view, self.now)
    }

    fn departed(&mut self) -> Vec<Sent> {
        let flights = self
            .step()
            .departures
            .into_iter()
            .flat_map(|departure| departure.flights);
        let sent = |flight: Flight| Sent {
            partition: flight.partition,
            number: flight.number,
            stamp: flight.stamp,
            bytes: flight.body.build(flight.stamp, flight.is_restamped),
        };
        flights.map(sent).collect()
    }

    fn land(&mut self, sent: &Sent, outcome: Outcome) {
        let landing = Landing {
            partition: sent.partition,
            number: sent.number,
            bytes: sent.bytes.clone(),
            outcome,
        };
        self.accumulator.request_ended(1);
        self.accumulator.land(landing, self.now);
    }

    fn refuse(&mut self, sent: &Sent, code: ErrorCode) {
        self.land(sent, Outcome::Refused(code, None));
    }

    fn losses(&mut self) -> Vec<String> {
        self.accumulator
            .take_losses()
            .into_iter()
            .map(|loss| loss.reason)
            .collect()
    }
}

#[test]
fn a_batch_waits_for_company_until_it_is_full_or_has_lingered() {
    let mut script = Script::identified();
    assert_eq!(script.push(0, "a"), Pushed::Wake);
    assert_eq!(script.push(0, "b"), Pushed::Queued);
    let step = script.step();
    assert!(step.departures.is_empty());
    assert_eq!(step.wake_at, Some(script.now + 5 * MS));
    script.pass(5 * MS);
    assert_eq!(script.departed()[0].values(), ["a", "b"]);
    script.push_full(1, "c");
    script.push_full(1, "d");
    assert_eq!(
        script.departed().len(),
        1,
        "the first is full, the second may grow"
    );
}

#[test]
fn a_flush_waits_for_nothing() {
    let mut script = Script::identified();
    script.push(0, "a");
    script.accumulator.flushing = true;
    let sent = script.departed();
    assert!(!script.accumulator.is_empty());
    script.land(&sent[0], Outcome::Written);
    assert!(script.accumulator.is_empty());
}

#[test]
fn no_more_than_five_batches_of_a_partition_are_under_way() {
    let mut script = Script::identified();
    for n in 0..8 {
        script.push_full(0, &n.to_string());
    }
    let sent = script.departed();
    let sequences: Vec<i32> = sent.iter().map(Sent::sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    script.land(&sent[0], Outcome::Written);
    assert_eq!(script.departed()[0].sequence(), 6);
}

#[test]
fn a_refused_batch_keeps_its_number_and_goes_alone_before_those_behind_it() {
    let mut script = Script::identified();
    for n in 0..3 {
        script.push_full(0, &n.to_string());
    }
    script.accumulator.flushing = true;
    let sent = script.departed();
    script.refuse(&sent[0], ErrorCode::NotLeaderOrFollower);
    script.refuse(&sent[1], ErrorCode::OutOfOrderSequenceNumber);
    script.pass(20 * MS);
    assert_eq!(script.departed(), [], "the third may still arrive");
    script.refuse(&sent[2], ErrorCode::OutOfOrderSequenceNumber);
    script.pass(20 * MS);
    for sent in sent {
        let again = script.departed();
        assert_eq!(again, [sent]);
        script.land(&again[0], Outcome::Written);
    }
    assert!(script.accumulator.is_empty());
    assert_eq!(script.losses(), [""; 0]);
}

#[test]
fn a_gap_that_nothing_fills_means_another_id_and_counting_from_zero() {
    let mut script = Script::identified();
    script.push_full(0, "a");
    script.push_full(0, "b");
    script.accumulator.flushing = true;
    let sent = script.departed();
    // The broker has lost what was before: no retry mends that.
    script.refuse(&sent[0], ErrorCode::OutOfOrderSequenceNumber);
    script.pass(20 * MS);
    assert!(!script.step().wants_identity, "the second is still under way");
    script.land(&sent[1], Outcome::NoAnswer("lost".into()));
    script.pass(20 * MS);
    assert!(script.step().wants_identity);
    script.accumulator.identified(ProducerId { id: 8, epoch: 0 });
    let again = script.departed();
    assert_eq!((again[0].producer(), again[0].sequence()), (8, 0));
    assert_eq!(again[0].values(), ["a"]);
    Batch::parse(&again[0].bytes).unwrap().check_crc().unwrap();
    script.land(&again[0], Outcome::Written);
    script.pass(20 * MS);
    let again = script.departed();
    assert_eq!(
        (again[0].values(), again[0].sequence()),
        (vec!["b".to_owned()], 1)
    );
}

#[test]
fn what_is_not_written_in_time_is_lost_and_said_so() {
    let mut script = Script::identified();
    script.push(0, "a");
    script.accumulator.flushing = true;
    let sent = script.departed();
    script.land(&sent[0], Outcome::NoAnswer("down".into()));
    script.pass(1000 * MS);
    let step = script.step();
    let losses = script.losses();
    assert!(losses[0].contains("delivery.timeout.ms"), "{losses:?}");
    assert!(script.accumulator.is_empty());
    assert!(!step.wants_identity);
    // It may have been written, so the next one must not be taken for it.
    script.push(0, "b");
    assert!(script.step().wants_identity);
}

#[test]
fn a_batch_too_large_for_the_broker_is_halved_and_a_record_is_lost() {
    let mut script = Script::identified();
    for value in ["a", "b", "c"] {
        script.push(0, value);
    }
    script.accumulator.flushing = true;
    let sent = script.departed();
    script.refuse(&sent[0], ErrorCode::MessageTooLarge);
    let front = script.departed();
    assert_eq!(
        (front[0].values(), front[0].sequence()),
        (vec!["a".to_owned()], 1)
    );
    script.land(&front[0], Outcome::Written);
    let back = script.departed();
    assert_eq!(
        (back[0].values(), back[0].sequence()),
        (vec!["b".to_owned(), "c".to_owned()], 2)
    );
    script.land(&back[0], Outcome::Written);
    script.push(0, "d");
    let sent = script.departed();
    script.refuse(&sent[0], ErrorCode::MessageTooLarge);
    assert_eq!(script.losses(), ["MESSAGE_TOO_LARGE (10)"]);
}

#[test]
fn a_full_buffer_takes_no_more_and_sends_what_it_has() {
    let mut script = Script::identified();
    let pushed = (0..100)
        .map(|_| script.push(0, &"x".repeat(50)))
        .position(|pushed| pushed == Pushed::Full);
    assert!(pushed.is_some_and(|count| count > 10), "{pushed:?}");
    script.accumulator.blocked = true;
    assert!(!script.departed().is_empty());
    assert_eq!(script.push(0, &"x".repeat(2000)), Pushed::Full);
    let mut empty = Script::new();
    assert_eq!(empty.push(0, &"x".repeat(2000)), Pushed::TooLarge(1000));
}

/// A dead letter may say any number in its headers: 2^31 places for it were more memory than there is.
#[test]
fn a_partition_that_no_topic_has_is_refused() {
    let mut script = Script::identified();
    for partition in [-1, i32::MAX] {
        assert_eq!(script.push(partition, "v"), Pushed::NoSuchPartition);
    }
    assert_eq!(script.push(1, "v"), Pushed::Wake);
}

#[test]
fn nobody_leads_means_asking_who_does() {
    let mut script = Script::identified();
    script.view.forget_leader("t", 0, 0);
    script.push(0, "a");
    script.accumulator.flushing = true;
    let step = script.step();
    assert!(step.departures.is_empty());
    assert_eq!(step.leaderless, ["t"]);
}

#[test]
fn a_transaction_enrols_a_partition_before_its_first_batch() {
    let mut script = Script::over(
        |settings| Accumulator::transactional(settings, ID, false),
        settings(),
    );
    script.accumulator.begin_transaction();
    script.push(0, "a");
    script.accumulator.flushing = true;
    let step = script.step();
    assert!(step.departures.is_empty());
    assert_eq!(step.to_enrol.len(), 1);
    assert!(script.step().to_enrol.is_empty(), "asked once");
    script.accumulator.not_enrolled(script.now);
    assert_eq!(script.step().to_enrol.len(), 1);
    script.accumulator.enrolled(&[0]);
    let sent = script.departed();
    assert!(
        Batch::parse(&sent[0].bytes)
            .unwrap()
            .header()
            .attributes
            .is_transactional()
    );
    assert!(script.accumulator.is_transaction_known());
    script.land(&sent[0], Outcome::Written);
    script.accumulator.end_transaction(None);
    assert!(!script.accumulator.is_transaction_known());
}

#[test]
fn what_is_lost_dooms_its_transaction_and_the_next_epoch_begins_anew() {
    let mut script = Script::over(
        |settings| Accumulator::transactional(settings, ID, true),
        settings(),
    );
    script.accumulator.begin_transaction();
    script.push(0, "a");
    script.accumulator.flushing = true;
    let sent = script.departed();
    script.refuse(&sent[0], ErrorCode::InvalidRecord);
    assert!(matches!(script.accumulator.doomed(), Some(Doom::Abortable(_))));
    script.push(0, "b");
    assert!(script.departed().is_empty());
    assert!(script.accumulator.is_empty(), "nothing of it waits any more");
    assert!(script.accumulator.has_gap());
    script
        .accumulator
        .end_transaction(Some(ProducerId { id: 7, epoch: 1 }));
    script.accumulator.begin_transaction();
    script.push(0, "c");
    let sent = script.departed();
    assert_eq!((sent[0].sequence(), sent[0].stamp.unwrap().epoch), (0, 1));
    script.refuse(&sent[0], ErrorCode::InvalidProducerEpoch);
    assert!(matches!(script.accumulator.doomed(), Some(Doom::Fenced(_))));
}
