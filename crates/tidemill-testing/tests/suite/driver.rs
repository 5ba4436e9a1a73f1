//! What programs do, seen through the driver: failures, state across restarts, partitions, timers.

use tidemill_data::{BoxError, Headers, SECOND, StoreName, Timestamp, Topic};
use tidemill_streams::{
    App, Clock, Forward, Pattern, Policy, Processor, RawRecord, Record, ScheduleId, TaskError, Timers,
};
use tidemill_testing::{TestDriver, TestError, ms};

const IN: Topic<String, String> = Topic::new("in");
const NUMBERS: Topic<String, i64> = Topic::new("numbers");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
const DEAD: Topic<String, String> = Topic::new("dead");

fn numbers(policy: Policy) -> TestDriver {
    let app = App::new("app");
    app.on_error(policy);
    app.stream(&IN)
        .try_map_values(|text| Ok(text.parse::<i64>()?))
        .to(&NUMBERS);
    TestDriver::new(&app)
}

fn values(driver: &mut TestDriver) -> Vec<i64> {
    driver
        .read(&NUMBERS)
        .into_iter()
        .map(|record| record.value)
        .collect()
}

fn piped(driver: &mut TestDriver, value: &str) -> Result<(), TestError> {
    let record = Record {
        key: "k".into(),
        value: value.into(),
        timestamp: ms(7),
        headers: Headers::new().with("h", "1"),
    };
    driver.try_pipe(&IN, record)
}

#[test]
fn a_failure_stops_the_task_and_names_operator_and_offset() {
    let mut t = numbers(Policy::Fail);
    piped(&mut t, "1").expect("a number");
    let error = piped(&mut t, "x").expect_err("no number");
    let TestError::Task(TaskError::Failed(failure)) = error else {
        panic!("{error}")
    };
    assert_eq!(failure.operator, "KSTREAM-MAPVALUES-0000000001");
    let source = failure.source_record.expect("it came from a record");
    assert_eq!((source.topic.as_str(), source.record.offset), ("in", 1));
}

#[test]
fn skipped_failures_leave_the_other_records() {
    let mut t = numbers(Policy::Skip);
    for value in ["1", "x", "2"] {
        piped(&mut t, value).expect("skipping stops nothing");
    }
    assert_eq!(values(&mut t), [1, 2]);
    assert_eq!((t.take_failures().len(), t.dropped()), (1, 1));
}

#[test]
fn a_dead_letter_is_the_source_record_with_the_reason_in_headers() {
    let mut t = numbers(Policy::DeadLetter("dead".into()));
    piped(&mut t, "x").expect("a dead letter stops nothing");
    let dead = t.read(&DEAD);
    let [letter] = dead.as_slice() else {
        panic!("{dead:?}")
    };
    assert_eq!(
        (letter.key.as_str(), letter.value.as_str(), letter.timestamp),
        ("k", "x", ms(7))
    );
    let header = |name: &str| {
        let value = letter.headers.last(name).and_then(|header| header.value.clone());
        String::from_utf8(value.unwrap_or_default().to_vec()).expect("headers are text")
    };
    assert_eq!(header("h"), "1");
    assert_eq!(header("__streams.errors.topic"), "in");
    assert_eq!(
        (
            header("__streams.errors.partition"),
            header("__streams.errors.offset")
        ),
        ("0".into(), "0".into())
    );
    assert_eq!(
        header("__streams.errors.message"),
        "invalid digit found in string"
    );
}

#[test]
fn a_panic_is_an_error_of_its_record_only() {
    let app = App::new("app");
    let numbers = app
        .stream(&IN)
        .map_values(|text| text.parse::<i64>().expect("a number"));
    numbers.on_error(Policy::Skip).to(&NUMBERS);
    let mut t = TestDriver::new(&app);
    for value in ["1", "x", "2"] {
        piped(&mut t, value).expect("skipping stops nothing");
    }
    assert_eq!(values(&mut t), [1, 2]);
}

#[test]
fn a_null_where_the_type_has_none_is_a_decoding_error() {
    let mut t = numbers(Policy::Skip);
    t.try_pipe_raw(
        "in",
        RawRecord {
            key: Some("k".into()),
            ..RawRecord::default()
        },
    )
    .expect("skipped");
    let failures = t.take_failures();
    assert!(
        failures[0]
            .to_string()
            .contains("use Option<alloc::string::String>"),
        "{}",
        failures[0]
    );
}

#[test]
fn what_another_branch_did_stays_done() {
    let app = App::new("app");
    let stream = app.stream(&IN);
    stream.clone().to(&Topic::new("copy"));
    stream
        .try_map_values(|text| Ok(text.parse::<i64>()?))
        .on_error(Policy::Skip)
        .to(&NUMBERS);
    let mut t = TestDriver::new(&app);
    piped(&mut t, "x").expect("skipped");
    assert_eq!(t.read_raw("copy").len(), 1);
    assert!(values(&mut t).is_empty());
}

fn counting() -> App {
    let app = App::new("app");
    app.stream(&IN)
        .group_by(|_, word| word.clone())
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    app
}

#[test]
fn equal_keys_meet_in_one_partition() {
    let mut t = TestDriver::with_partitions(&counting(), 4);
    for n in 0..40 {
        t.pipe(&IN, format!("key-{n}"), format!("word-{}", n % 5), ms(n));
    }
    let mut rows: Vec<_> = t
        .rows(&COUNTS)
        .into_iter()
        .map(|(word, row)| (word, row.value))
        .collect();
    rows.sort();
    let expected: Vec<_> = (0..5).map(|n| (format!("word-{n}"), 8)).collect();
    assert_eq!(rows, expected);
}

#[test]
fn state_survives_a_restart_and_the_loss_of_the_machine() {
    let mut t = TestDriver::with_partitions(&counting(), 2);
    for _ in 0..3 {
        t.pipe(&IN, "k", "word", ms(5));
    }
    t.restart();
    t.pipe(&IN, "k", "word", ms(6));
    assert_eq!(t.row(&COUNTS, "word").map(|row| row.value), Some(4));
    t.restart_without_state();
    let row = t.row(&COUNTS, "word").expect("restored");
    assert_eq!((row.value, row.timestamp), (4, ms(6)));
    assert!(t.topics().contains(&"app-counts-changelog".to_owned()));
}

#[test]
fn a_crash_does_again_what_was_not_committed() {
    let app = App::new("app");
    app.stream(&IN)
        .group_by_key()
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "word", ms(5));
    t.commit();
    t.pipe(&IN, "k", "word", ms(6));
    let _ = t.read(&TOTALS);
    t.crash();
    assert_eq!(t.row(&COUNTS, "k").map(|row| row.value), Some(2));
    let again: Vec<_> = t.read(&TOTALS).into_iter().map(|record| record.value).collect();
    assert_eq!(again, [Some(2)]);
}

#[test]
fn joined_topics_must_have_equal_partitions() {
    let app = App::new("app");
    let table = app.table(&Topic::<String, String>::new("table"));
    app.stream(&IN)
        .join_table(&table, |_, value, row| value + &row)
        .to(&Topic::new("out"));
    let refused = TestDriver::try_new(
        &app,
        2,
        &[("table", 3)],
        Box::new(|_, _| Err("not opened".into())),
    );
    let error = refused.err().expect("the partitions differ").to_string();
    assert!(
        error.contains("[\"in\", \"table\"]") || error.contains("[\"table\", \"in\"]"),
        "{error}"
    );
}

#[derive(Default)]
struct PerSecond {
    seen: i64,
}

impl Processor<String, String, String, i64> for PerSecond {
    fn start(&mut self, timers: &mut Timers<'_>) {
        timers.every(SECOND, Clock::WallClock);
    }

    fn process(
        &mut self,
        _: Record<String, String>,
        _: &mut Forward<'_, String, i64>,
    ) -> Result<(), BoxError> {
        self.seen += 1;
        Ok(())
    }

    fn punctuate(
        &mut self,
        schedule: ScheduleId,
        now: Timestamp,
        to: &mut Forward<'_, String, i64>,
    ) -> Result<(), BoxError> {
        to.forward(Record {
            key: "seen".into(),
            value: self.seen,
            timestamp: now,
            headers: Headers::new(),
        });
        if now >= ms(5_000) {
            to.cancel(schedule);
        }
        Ok(())
    }
}

#[test]
fn a_late_wall_clock_punctuation_comes_once_and_a_cancelled_one_never() {
    let app = App::new("app");
    app.stream(&IN).process(PerSecond::default).to(&NUMBERS);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "v", ms(1));
    t.advance(SECOND / 2);
    assert!(values(&mut t).is_empty());
    t.advance(3 * SECOND);
    assert_eq!(values(&mut t), [1]);
    t.advance(2 * SECOND);
    t.advance(9 * SECOND);
    assert_eq!(values(&mut t), [1]);
}

#[test]
fn a_restart_without_state_empties_the_databases_that_the_test_opens() {
    use std::sync::Arc;
    use tidemill_store::{ByteStore, Family, MemoryByteStore, WriteOp};

    const CLICKS: Topic<String, String> = Topic::new("clicks");
    let app = App::new("app");
    let _ = app.stream(&CLICKS).group_by_key().count(&COUNTS);
    let database: Arc<dyn ByteStore> = Arc::new(MemoryByteStore::new(&["counts"]));
    let opened = Arc::clone(&database);
    let mut t = TestDriver::try_new(&app, 1, &[], Box::new(move |_, _| Ok(Arc::clone(&opened)))).unwrap();
    t.pipe(&CLICKS, "u1", "a", ms(1));
    t.commit();
    // A row that no changelog brings back.
    let (family, key, value) = (Family::of_store(0), &b"stray"[..], &b"row"[..]);
    database
        .write(&mut [WriteOp::Put { family, key, value }].into_iter())
        .unwrap();
    t.restart_without_state();
    assert!(!database.get(family, key, &mut Vec::new()).unwrap());
    assert!(database.get(family, b"u1", &mut Vec::new()).unwrap());
    assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(1));
}

#[test]
fn a_topic_whose_records_say_their_time_is_ordered_by_it() {
    const STAMPED: Topic<String, i64> = Topic::new("stamped");
    let app = App::new("app");
    app.timestamps_of(&STAMPED, |record| (record.value >= 0).then(|| ms(record.value)));
    app.stream(&STAMPED).to(&NUMBERS);
    let mut t = TestDriver::new(&app);
    for value in [70, 5, -1] {
        t.pipe(&STAMPED, "k", value, ms(3));
    }
    let times: Vec<Timestamp> = t
        .read(&NUMBERS)
        .into_iter()
        .map(|record| record.timestamp)
        .collect();
    assert_eq!(times, [ms(70), ms(5), ms(3)]);
}

#[test]
fn the_topics_of_a_pattern_say_their_time_and_those_found_later_too() {
    const EU: Topic<String, i64> = Topic::new("stamped-eu");
    const US: Topic<String, i64> = Topic::new("stamped-us");
    const OWN: Topic<String, i64> = Topic::new("stamped-own");
    let app = App::new("app");
    app.timestamps_of(&OWN, |record| Some(ms(1_000 + record.value)));
    let stamped = Pattern::<String, i64>::new(|topic| topic.starts_with("stamped-"));
    let stamped = stamped.timestamps(|record| (record.value >= 0).then(|| ms(record.value)));
    app.stream_of_pattern(stamped).to(&NUMBERS);
    app.resolve(&["stamped-eu", "stamped-own"]);
    let times = |t: &mut TestDriver| -> Vec<Timestamp> {
        let records = t.read(&NUMBERS).into_iter();
        records.map(|record| record.timestamp).collect()
    };
    let mut t = TestDriver::new(&app);
    for value in [70, 5, -1] {
        t.pipe(&EU, "k", value, ms(3));
    }
    t.pipe(&OWN, "k", 9, ms(3));
    assert_eq!(times(&mut t), [ms(70), ms(5), ms(3), ms(1_009)]);
    app.resolve(&["stamped-eu", "stamped-us"]);
    let mut t = TestDriver::new(&app);
    t.pipe(&US, "k", 8, ms(3));
    t.restart_without_state();
    t.pipe(&EU, "k", 9, ms(3));
    assert_eq!(times(&mut t), [ms(8), ms(9)]);
}
