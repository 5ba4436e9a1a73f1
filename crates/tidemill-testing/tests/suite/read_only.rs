//! Stores that are filled straight from a topic: what processors see, what comes back after a restart, and whatever a
//! seed does to the instances.

use std::collections::BTreeMap;

use tidemill_data::{BoxError, Headers, StoreName, Timestamp, Topic};
use tidemill_streams::{App, Direction, Forward, Policy, Processor, RawRecord, ReadOnlyKeyValues, Record};
use tidemill_testing::{Guarantee, Scene, Simulation, TestDriver, ms};

const PRICES: Topic<String, i64> = Topic::new("prices");
const KNOWN: StoreName<String, i64> = StoreName::new("known");
const ASKED: Topic<String, String> = Topic::new("asked");
const OUT: Topic<String, String> = Topic::new("out");

struct Answer(ReadOnlyKeyValues<String, i64>);

impl Processor<String, String, String, String> for Answer {
    fn process(
        &mut self,
        record: Record<String, String>,
        to: &mut Forward<'_, String, String>,
    ) -> Result<(), BoxError> {
        let one = |row: Result<(String, i64), BoxError>| row.map(|(key, cents)| format!("{key}={cents}"));
        let rows: Vec<String> = match record.value.as_str() {
            "all" => self
                .0
                .all(to, Direction::Backward)?
                .map(one)
                .collect::<Result<_, _>>()?,
            "a..b" => {
                let range = "a".to_owned().."b".to_owned();
                self.0
                    .range(to, range, Direction::Forward)?
                    .map(one)
                    .collect::<Result<_, _>>()?
            }
            "b*" => self
                .0
                .prefix(to, &"b".to_owned(), Direction::Forward)?
                .map(one)
                .collect::<Result<_, _>>()?,
            _ => {
                let known = self.0.get_stamped(to, &record.key)?;
                let text = known.map_or("?".to_owned(), |row| format!("{} @{}", row.value, row.timestamp));
                vec![text]
            }
        };
        to.forward(record.with_value(rows.join(" ")));
        Ok(())
    }
}

fn app() -> App {
    let app = App::new("app");
    app.on_error(Policy::Skip);
    let prices = app.read_only_state_store(&PRICES, &KNOWN);
    app.stream(&ASKED).process_with(prices, Answer).to(&OUT);
    app
}

fn answer(t: &mut TestDriver, key: &str, question: &str) -> String {
    t.pipe(&ASKED, key.to_owned(), question.to_owned(), ms(0));
    t.read(&OUT).pop().map(|record| record.value).unwrap()
}

fn price(key: &str, value: Option<&[u8]>, timestamp: Timestamp) -> RawRecord {
    RawRecord {
        offset: 0,
        timestamp,
        key: Some(key.to_owned().into()),
        value: value.map(|value| value.to_vec().into()),
        headers: Headers::new(),
    }
}

fn filled() -> TestDriver {
    let mut t = TestDriver::new(&app());
    for (key, cents, time) in [
        ("a", 10_i64, 1),
        ("b", 20, 2),
        ("bb", 22, 3),
        ("a", 11, 4),
        ("c", 30, 5),
    ] {
        t.pipe(&PRICES, key.to_owned(), cents, ms(time));
    }
    t.try_pipe_raw("prices", price("c", None, ms(6))).unwrap();
    t.try_pipe_raw("prices", price("b", Some(b"no number"), ms(7)))
        .unwrap();
    t
}

#[test]
fn processors_see_the_latest_record_of_each_key() {
    let mut t = filled();
    assert_eq!(answer(&mut t, "a", ""), "11 @4");
    assert_eq!(
        answer(&mut t, "b", ""),
        "20 @2",
        "what cannot be read does not get in"
    );
    assert_eq!(answer(&mut t, "c", ""), "?", "a null deletes");
    assert_eq!(answer(&mut t, "", "all"), "bb=22 b=20 a=11");
    assert_eq!(answer(&mut t, "", "a..b"), "a=11");
    assert_eq!(answer(&mut t, "", "b*"), "b=20 bb=22");
    assert_eq!(t.row(&KNOWN, "a".to_owned()).unwrap().value, 11);
}

#[test]
fn the_topic_is_what_the_store_is_restored_from_as_far_as_it_was_read() {
    let mut t = filled();
    t.restart_without_state();
    assert_eq!(answer(&mut t, "", "all"), "bb=22 b=20 a=11");
    assert_eq!(answer(&mut t, "a", ""), "11 @4");
    assert!(
        !t.topics().iter().any(|topic| topic.contains("changelog")),
        "{:?}",
        t.topics()
    );
    // What was read since the last commit is read again, and nothing more is written.
    t.pipe(&PRICES, "d".to_owned(), 40, ms(8));
    t.crash();
    assert_eq!(answer(&mut t, "d", ""), "40 @8");
    t.restart();
    assert_eq!(answer(&mut t, "", "all"), "d=40 bb=22 b=20 a=11");
    assert_eq!(
        t.read_raw("prices").len(),
        8,
        "only what was piped: the program writes none"
    );
}

#[test]
fn times_taken_from_the_records_are_those_of_the_rows_also_after_restoring() {
    let app = App::new("app");
    app.timestamps_of(&PRICES, |record| Some(ms(record.value)));
    let prices = app.read_only_state_store(&PRICES, &KNOWN);
    app.stream(&ASKED).process_with(prices, Answer).to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&PRICES, "a".to_owned(), 70, ms(1));
    assert_eq!(answer(&mut t, "a", ""), "70 @70");
    t.restart_without_state();
    assert_eq!(answer(&mut t, "a", ""), "70 @70");
}

#[test]
fn whatever_a_seed_does_to_the_instances_the_store_has_the_topic() {
    let scene = |guarantee, seed| Scene {
        partitions: 3,
        instances: 3,
        guarantee,
        seed,
    };
    for seed in 0..40 {
        for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
            let mut simulation = Simulation::new(&app(), &scene(guarantee, seed));
            let mut expected = BTreeMap::new();
            for n in 0..40_i64 {
                let key = format!("k{}", n % 7);
                simulation.pipe(&PRICES, key.clone(), n, ms(n));
                simulation.pipe(&ASKED, key.clone(), "", ms(n));
                expected.insert(key, n);
                simulation.run(4);
            }
            simulation.settle();
            let rows = simulation
                .rows(&KNOWN)
                .into_iter()
                .map(|(key, row)| (key, row.value));
            assert_eq!(rows.collect::<BTreeMap<_, _>>(), expected, "seed {seed}");
        }
    }
}

#[test]
fn a_topic_fills_one_store_and_needs_as_many_partitions_as_the_inputs() {
    let app = app();
    let topology = app.topology().unwrap();
    assert_eq!(topology.copartitioned_topics(), [["prices", "asked"]]);
    let part = topology.subtopologies().first().unwrap();
    assert_eq!(
        part.read_only.first().map(|filled| filled.topic.as_str()),
        Some("prices")
    );
    assert!(part.changelogs.is_empty());

    let app = App::new("app");
    let _ = app.read_only_state_store(&PRICES, &KNOWN);
    let _ = app.read_only_state_store(&PRICES, &StoreName::new("again"));
    let error = app.topology().err().map(|error| error.to_string()).unwrap();
    assert!(
        error.contains(r#"topic "prices" fills two read-only stores"#),
        "{error}"
    );
}
