//! Changelog records are Kafka Streams', byte for byte, and Kafka Streams' restore our stores: see
//! `tests/golden/changelog/`.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidemill_data::{Headers, SECOND, StoreName, Topic, Windowed};
use tidemill_streams::{App, Buffer, RawRecord, Record, Session, Sliding, Tumbling};
use tidemill_testing::{TestDriver, ms};

use crate::hex::{hex, unhex};

const GOLDEN: &str = include_str!("../../../../tests/golden/changelog/changelog.txt");

const IN: Topic<String, String> = Topic::new("in");
const ROWS: Topic<String, Option<String>> = Topic::new("rows");
const KEPT: StoreName<String, String> = StoreName::new("rows");
const WINDOWS: StoreName<Windowed<String>, i64> = StoreName::new("windows");
const SLIDING: StoreName<Windowed<String>, i64> = StoreName::new("sliding");
const SESSIONS: StoreName<Windowed<String>, i64> = StoreName::new("sessions");
const FINAL: Topic<Windowed<String>, Option<i64>> = Topic::new("final-out");
const CALM: Topic<String, Option<String>> = Topic::new("calm-out");

/// What stands after topic and key, by those.
type Records = BTreeMap<(String, String), String>;

fn driver() -> TestDriver {
    let app = App::new("app");
    let grouped = app.stream(&IN).group_by_key();
    let windows = Tumbling::of(10 * SECOND).grace(2 * SECOND);
    let windows = grouped.clone().window(windows).count(&WINDOWS);
    let last = windows.suppress_until_window_closes(Buffer::unbounded().named("final"));
    last.to_stream().to(&FINAL);
    let sliding = Sliding::within(10 * SECOND).grace(30 * SECOND);
    let _ = grouped.clone().window(sliding).count(&SLIDING);
    let sessions = Session::gap(5 * SECOND).grace(30 * SECOND);
    let _ = grouped.window(sessions).count(&SESSIONS);
    let rows: Topic<String, String> = Topic::named(ROWS.name());
    let calm = Buffer::unbounded().named("calm");
    let calm = app
        .table_as(&rows, &KEPT)
        .suppress_until_time_limit(20 * SECOND, calm);
    calm.to_stream().to(&CALM);
    TestDriver::new(&app)
}

/// An input of the golden file, as `in TOPIC KEY=VALUE @TIME HEADER`.
fn pipe(driver: &mut TestDriver, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let (key, value) = words[2].split_once('=').unwrap();
    let mut headers = Headers::new();
    if let Some(name) = words.get(4) {
        headers.push(*name, Some(Bytes::from_static(b"x")));
    }
    let record = Record {
        key: key.to_owned(),
        value: Some(value.to_owned()).filter(|value| value != "null"),
        timestamp: ms(words[3].strip_prefix('@').unwrap().parse().unwrap()),
        headers,
    };
    driver.try_pipe(&Topic::named(words[1]), record).unwrap();
    driver.commit();
}

/// The changelog records that were not read yet, by topic and key.
fn changelogs(driver: &mut TestDriver) -> Records {
    let mut lines = BTreeMap::new();
    for topic in driver.topics() {
        if !topic.ends_with("-changelog") {
            continue;
        }
        for record in driver.read_raw(&topic) {
            let key = hex(record.key.as_deref());
            let mut line = hex(record.value.as_deref());
            if !topic.contains("-store-") {
                line.push_str(&format!(" @{}", record.timestamp));
            }
            // Kafka Streams puts no header on a tombstone of a buffer, and neither do we.
            for header in &record.headers {
                line.push_str(&format!(" {}={}", header.name, hex(header.value.as_deref())));
            }
            lines.insert((topic.clone(), key), line);
        }
    }
    lines
}

/// Inputs, each with the last record it led to of each changelog and key.
fn golden() -> Vec<(&'static str, Records)> {
    let mut steps: Vec<(&str, Records)> = Vec::new();
    for line in GOLDEN.lines() {
        match line.strip_prefix("  ") {
            None => steps.push((line, BTreeMap::new())),
            Some(record) => {
                let mut words = record.splitn(3, ' ').map(str::to_owned);
                let key = (words.next().unwrap(), words.next().unwrap());
                let (_, records) = steps.last_mut().unwrap();
                records.insert(key, words.next().unwrap());
            }
        }
    }
    steps
}

#[test]
fn changelog_records_are_those_of_kafka_streams() {
    let mut driver = driver();
    let steps = golden();
    assert!(steps.len() > 10);
    for (input, expected) in steps {
        pipe(&mut driver, input);
        assert_eq!(changelogs(&mut driver), expected, "after {input}");
    }
}

/// A driver whose stores were restored from what Kafka Streams wrote up to an input, and that input's place.
fn restored_before(input: &str) -> TestDriver {
    let mut driver = driver();
    for (line, records) in golden() {
        if line == input {
            break;
        }
        for ((topic, key), rest) in records {
            let mut words = rest.split(' ');
            let value = unhex(words.next().unwrap());
            let time = rest.split_once('@').map_or("0", |(_, time)| time);
            let record = RawRecord {
                offset: 0,
                timestamp: ms(time.parse().unwrap()),
                key: unhex(&key),
                value,
                headers: Headers::new(),
            };
            driver.try_pipe_raw(&topic, record).unwrap();
        }
    }
    driver.restart_without_state();
    driver
}

#[test]
fn windows_sessions_and_buffers_are_restored_from_kafka_streams_records() {
    let input = "in in b=6 @23000";
    let mut driver = restored_before(input);
    let rows = |rows: Vec<(Windowed<String>, tidemill_data::Stamped<i64>)>| -> Vec<String> {
        rows.into_iter()
            .map(|(key, row)| format!("{key}={} @{}", row.value, row.timestamp))
            .collect()
    };
    assert_eq!(
        rows(driver.windows(&WINDOWS)),
        ["a@0/10000=3 @8000", "a@10000/20000=1 @11500", "b@0/10000=1 @3000"]
    );
    assert_eq!(
        rows(driver.windows(&SESSIONS)),
        ["a@1000/11500=4 @11500", "b@3000/3000=1 @3000"]
    );
    pipe(&mut driver, input);
    let last: Vec<String> = driver
        .read(&FINAL)
        .into_iter()
        .map(|record| {
            format!(
                "{}={:?} @{} {:?}",
                record.key, record.value, record.timestamp, record.headers
            )
        })
        .collect();
    assert_eq!(
        last,
        [
            "a@0/10000=Some(3) @8000 [(\"late\", Some(b\"x\"))]",
            "b@0/10000=Some(1) @3000 [(\"h\", Some(b\"x\"))]",
            "a@10000/20000=Some(1) @11500 []"
        ]
    );
}
