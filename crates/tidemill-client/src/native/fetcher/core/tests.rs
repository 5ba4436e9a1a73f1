use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::fetch::FetchableTopicResponse;
use tidemill_protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A reader driven by hand, of a topic with two partitions on one broker.
struct Script {
    core: Core,
    view: View,
    now: Instant,
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn batch(base: i64, count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None).assigned(base, 0);
    for _ in 0..count {
        builder.push(1, None, Some(&[7; 100]), []);
    }
    builder.build().into()
}

impl Script {
    fn new(starts: &[(i32, Start)]) -> Self {
        let settings = FetchSettings {
            isolation: Isolation::ReadCommitted,
            reset: OffsetReset::Refuse,
            check_crcs: true,
            bytes_min: 1,
            bytes_max: 1 << 20,
            partition_bytes_max: 1 << 20,
            wait_max: 500 * MS,
            queued_bytes_max: 128 << 10,
            metadata_age_max: 1000 * MS,
        };
        let now = Instant::now();
        let mut core = Core::new(settings);
        let from: Vec<_> = starts.iter().map(|(p, start)| (at(*p), *start)).collect();
        core.assign(&from, false, &Backoff::new(10 * MS, 10 * MS, 1));
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            leader_epoch: 3,
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: Uuid::max(),
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
        Self { core, view, now }
    }

    fn step(&mut self) -> Step {
        self.core.step(&self.view, self.now)
    }

    fn fetch(&mut self) -> Departure {
        self.step().fetches.pop().expect("something to fetch")
    }

    fn answer(&mut self, departure: Departure, answer: Result<FetchResponse, String>) {
        let Departure {
            node,
            topic_ids,
            asked,
            ..
        } = departure;
        let returned = Returned {
            node,
            topic_ids,
            asked,
            answer,
        };
        self.core.returned(returned, &mut self.view, self.now);
    }

    /// Answers for some partitions, by topic id as new brokers do.
    fn answer_parts(&mut self, departure: Departure, partitions: Vec<PartitionData>) {
        let topic = FetchableTopicResponse {
            topic_id: Uuid::max(),
            partitions,
            ..Default::default()
        };
        let response = FetchResponse {
            session_id: 9,
            responses: vec![topic],
            ..Default::default()
        };
        self.answer(departure, Ok(response));
    }

    fn poll(&mut self, max: usize) -> Vec<String> {
        let mut events = Vec::new();
        for (at, mut chunk) in self.core.lend() {
            let mut records = Vec::new();
            chunk.take(max, true, &mut records).unwrap();
            self.core.give_back(at, chunk, records, &mut events);
        }
        self.core.report_ends(&mut events);
        let text = |event: Event| match event {
            Event::Records(batch) => {
                let offsets: Vec<i64> = batch.records.iter().map(|r| r.offset).collect();
                format!(
                    "{} {:?}..={:?}",
                    batch.partition,
                    offsets.first().unwrap(),
                    offsets.last().unwrap()
                )
            }
            Event::CaughtUp { partition, end } => format!("{partition} ends at {end}"),
            other => format!("{other:?}"),
        };
        events.into_iter().map(text).collect()
    }
}

fn data(partition_index: i32, records: Vec<u8>, end: i64) -> PartitionData {
    PartitionData {
        partition_index,
        high_watermark: end + 10,
        last_stable_offset: end,
        records: Some(records.into()),
        ..Default::default()
    }
}

fn refused(partition_index: i32, error_code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code,
        ..Default::default()
    }
}

fn offsets_asked(departure: &Departure) -> Vec<(i32, i64)> {
    let parts = departure.request.topics.iter().flat_map(|t| &t.partitions);
    parts.map(|p| (p.partition, p.fetch_offset)).collect()
}

#[test]
fn records_are_handed_out_in_turn_and_the_end_is_told_once() {
    let mut script = Script::new(&[(0, Start::At(0)), (1, Start::At(5))]);
    let departure = script.fetch();
    assert_eq!(offsets_asked(&departure), [(0, 0), (1, 5)]);
    assert_eq!(
        departure.request.max_wait_ms, 0,
        "one that is at the end must hear of it"
    );
    assert!(script.step().fetches.is_empty(), "one request at a time");
    script.answer_parts(departure, vec![data(0, batch(0, 4), 4), data(1, Vec::new(), 5)]);
    let mut told = script.poll(3);
    told.sort();
    assert_eq!(told, ["t-0 0..=2", "t-1 ends at 5"]);
    assert_eq!(script.poll(3), ["t-0 3..=3", "t-0 ends at 4"]);
    assert_eq!(script.poll(3), [""; 0]);
    let departure = script.fetch();
    assert_eq!(offsets_asked(&departure), [(0, 4)], "the session knows the other");
    assert_eq!(departure.request.max_wait_ms, 500);
    assert_eq!(
        (departure.request.session_id, departure.request.session_epoch),
        (9, 1)
    );
}

#[test]
fn a_partition_with_enough_waiting_is_not_asked_for_and_a_paused_one_keeps_what_it_has() {
    let mut script = Script::new(&[(0, Start::At(0)), (1, Start::At(0))]);
    let departure = script.fetch();
    script.answer_parts(departure, vec![data(0, batch(0, 400), 1000)]);
    let departure = script.fetch();
    assert_eq!(departure.request.forgotten_topics_data.len(), 1);
    assert_eq!(
        departure.request.max_wait_ms, 10,
        "the other may want to join soon"
    );
    script.core.set_paused(&[at(0)], true);
    assert_eq!(script.poll(1000), [""; 0]);
    script.answer_parts(departure, Vec::new());
    assert_eq!(
        script.fetch().request.max_wait_ms,
        500,
        "a paused one joins only after it was resumed"
    );
    script.core.set_paused(&[at(0)], false);
    assert_eq!(script.poll(1000), ["t-0 0..=399"]);
}

#[test]
fn a_start_that_is_no_offset_is_looked_up_first() {
    let mut script = Script::new(&[(0, Start::Latest)]);
    let step = script.step();
    assert!(step.fetches.is_empty());
    let expected = Lookup {
        node: 1,
        partitions: vec![(at(0), Start::Latest, 3)],
    };
    assert_eq!(step.lookups, [expected]);
    assert!(script.step().lookups.is_empty(), "asked once");
    script.core.resolved(&at(0), None, script.now);
    script.now += 20 * MS;
    assert_eq!(script.step().lookups.len(), 1);
    script.core.resolved(&at(0), Some(8), script.now);
    assert_eq!(offsets_asked(&script.fetch()), [(0, 8)]);
}

#[test]
fn a_leader_that_moved_is_asked_for_and_reading_goes_on_where_it_was() {
    let mut script = Script::new(&[(0, Start::At(7))]);
    let departure = script.fetch();
    script.answer_parts(departure, vec![refused(0, ErrorCode::NotLeaderOrFollower)]);
    script.now += 20 * MS;
    let step = script.step();
    assert!(step.fetches.is_empty());
    assert_eq!(step.leaderless, ["t"]);
    let leader = Leader { node: 1, epoch: 4 };
    assert!(script.view.note_leader("t", 0, leader, None));
    assert_eq!(offsets_asked(&script.fetch()), [(0, 7)]);
}

#[test]
fn a_session_that_is_gone_is_begun_anew_at_once() {
    let mut script = Script::new(&[(0, Start::At(7))]);
    let departure = script.fetch();
    script.answer_parts(departure, Vec::new());
    let departure = script.fetch();
    assert_eq!(departure.request.session_id, 9);
    let response = FetchResponse {
        error_code: ErrorCode::FetchSessionIdNotFound,
        ..Default::default()
    };
    script.answer(departure, Ok(response));
    let departure = script.fetch();
    assert_eq!(
        (departure.request.session_id, departure.request.session_epoch),
        (0, 0)
    );
    assert_eq!(offsets_asked(&departure), [(0, 7)]);
}

#[test]
fn an_offset_out_of_range_is_told_unless_a_reset_is_set() {
    let mut script = Script::new(&[(0, Start::At(7))]);
    let departure = script.fetch();
    script.answer_parts(departure, vec![refused(0, ErrorCode::OffsetOutOfRange)]);
    let error = script.core.take_failure().unwrap_err();
    assert!(
        matches!(error, TransportError::OutOfRange { offset: 7, .. }),
        "{error}"
    );
    let mut script = Script::new(&[(0, Start::At(7))]);
    script.core.settings.reset = OffsetReset::Earliest;
    let departure = script.fetch();
    script.answer_parts(departure, vec![refused(0, ErrorCode::OffsetOutOfRange)]);
    assert!(script.core.take_failure().is_ok());
    assert_eq!(script.step().lookups[0].partitions[0].1, Start::Earliest);
}

#[test]
fn bytes_that_are_no_records_are_an_error_that_says_where() {
    for bytes in [vec![0; 100], batch(0, 3)] {
        let mut script = Script::new(&[(0, Start::At(7))]);
        let departure = script.fetch();
        script.answer_parts(departure, vec![data(0, bytes, 9)]);
        let error = script.core.take_failure().unwrap_err().to_string();
        assert!(error.contains("t-0 at offset 7"), "{error}");
    }
}

#[test]
fn answers_about_what_was_not_asked_are_ignored() {
    let mut script = Script::new(&[(0, Start::At(0))]);
    let departure = script.fetch();
    script.answer_parts(departure, vec![data(1, batch(0, 1), 1), data(-5, batch(0, 1), 1)]);
    assert_eq!(script.poll(10), [""; 0]);
}
