//! Internal topics hold what Kafka Streams' own hold, byte for byte, so that either can take over the other's
//! application. `tests/golden/changelog/Changelogs.java` ran the same topologies on the same records.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidemill_data::{BoxError, MINUTE, SECOND, StoreName, Topic, Windowed};
use tidemill_streams::{
    App, Buffer, Forward, JoinWindow, KeyValues, Materialized, Processor, Record, Session, Sliding, Tumbling,
    Windows,
};
use tidemill_testing::{TestDriver, ms};

use crate::hex::hex;

type Text = Option<String>;

const LEFT: Topic<String, Text> = Topic::new("left");
const RIGHT: Topic<String, Text> = Topic::new("right");

/// Topic, key, value and timestamp: those of the Java program.
const RECORDS: [(&str, &str, Option<&str>, i64); 13] = [
    ("left", "a", Some("x1"), 1_000),
    ("right", "a", Some("y1"), 1_500),
    ("left", "b", Some("x2"), 2_000),
    ("left", "a", Some("x3"), 61_000),
    ("right", "c", Some("y2"), 62_000),
    ("left", "a", Some("x4"), 3_000),
    ("left", "ab", Some("x5"), 63_000),
    ("right", "x5", Some("y3"), 64_000),
    ("left", "b", None, 65_000),
    ("right", "a", Some("y4"), 66_000),
    ("left", "c", Some("x1"), 130_000),
    ("left", "c", Some("x1"), 130_000),
    ("right", "x1", Some("y5"), 131_000),
];

fn store<V: tidemill_data::Data>(name: &str) -> StoreName<String, V> {
    StoreName::named(name)
}

fn windows(name: &str) -> StoreName<Windowed<String>, i64> {
    StoreName::named(name)
}

fn texts(app: &App, topic: &str) -> tidemill_streams::KTable<String, String> {
    app.table_as(
        &Topic::<String, String>::named(topic),
        &store(if topic == "left" { "orders" } else { "customers" }),
    )
}

/// Whether records without a value are piped.
#[derive(PartialEq, Eq)]
enum Nulls {
    Piped,
    /// A join of streams drops them; only the changelog's count of records goes on there, which nothing reads.
    LeftOut,
}

/// Runs the records and gives the internal topics as the Java program writes them.
fn run(compose: impl FnOnce(&App), nulls: Nulls) -> String {
    let app = App::new("app");
    compose(&app);
    let mut t = TestDriver::new(&app);
    let known = app.topology().expect("the topology can run").topics().to_vec();
    for (topic, key, value, at) in RECORDS {
        if known.iter().any(|name| name == topic) && (value.is_some() || nulls == Nulls::Piped) {
            let topic = if topic == "left" { &LEFT } else { &RIGHT };
            t.pipe(topic, key, value.map(str::to_owned), ms(at));
            t.commit();
        }
    }
    let mut text = String::new();
    for topic in t.topics() {
        let internal = topic.starts_with("app-");
        if !internal {
            continue;
        }
        let records = t.read_raw(&topic);
        let mut line = |key: &Option<bytes::Bytes>, value: &Option<bytes::Bytes>, at: i64| {
            writeln!(
                text,
                "{topic} {} {} {at}",
                hex(key.as_deref()),
                hex(value.as_deref())
            )
            .expect("writing to a string cannot fail");
        };
        if topic.ends_with("-changelog") {
            let mut last = BTreeMap::new();
            for record in records {
                match record.value {
                    Some(_) => last.insert(record.key.clone(), record),
                    None => last.remove(&record.key),
                };
            }
            for record in last.values() {
                line(&record.key, &record.value, record.timestamp.millis());
            }
        } else {
            for record in records {
                line(&record.key, &record.value, record.timestamp.millis());
            }
        }
    }
    text
}

/// Lines agree, but for a timestamp that Kafka Streams left to the broker, written `null`.
fn check(golden: &str, compose: impl FnOnce(&App), nulls: Nulls) {
    let ours = run(compose, nulls);
    let unstamped = |line: &str| {
        line.rsplit_once(' ')
            .map_or(line.to_owned(), |(rest, _)| format!("{rest} null"))
    };
    let ours: Vec<String> = ours
        .lines()
        .zip(golden.lines().map(Some).chain(std::iter::repeat(None)))
        .map(|(line, theirs)| match theirs {
            Some(theirs) if theirs.ends_with(" null") => unstamped(line),
            _ => line.to_owned(),
        })
        .collect();
    assert_eq!(ours.join("\n"), golden.trim_end());
}

struct Keeps {
    values: KeyValues<String, String>,
    times: Windows<String, String>,
}

impl Processor<String, Text, String, String> for Keeps {
    fn process(
        &mut self,
        record: Record<String, Text>,
        to: &mut Forward<'_, String, String>,
    ) -> Result<(), BoxError> {
        match record.value {
            Some(value) => {
                self.values.put(to, &record.key, &value)?;
                self.times.put(to, &record.key, record.timestamp, &value)
            }
            None => {
                self.values.delete(to, &record.key)?;
                self.times.delete(to, &record.key, record.timestamp)
            }
        }
    }
}

macro_rules! golden {
    ($($name:ident, $nulls:ident: $compose:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let golden = include_str!(concat!("../../../../tests/golden/changelog/", stringify!($name), ".txt"));
                check(golden, $compose, Nulls::$nulls);
            }
        )*
    };
}

golden! {
    count, Piped: |app| {
        app.stream(&Topic::<String, Text>::new("left")).group_by_key().count(&store("counts"));
    };
    reduce_after_repartition, Piped: |app| {
        app.stream(&LEFT)
            .group_by(|_, value: &Text| value.clone())
            .reduce_option(Materialized::from(&StoreName::<Text, String>::named("reduced")), |x: String, y: String| {
                Some(x + &y)
            });
    };
    table, Piped: |app| {
        app.table_as(&Topic::<String, String>::new("left"), &store("rows"));
    };
    group_table, Piped: |app| {
        app.table_as(&Topic::<String, String>::new("left"), &store("rows"))
            .group_by(|key, value| (value, key.clone()))
            .aggregate(
                &store::<String>("keys"),
                |_, key, keys: &mut String| keys.push_str(&key),
                |_, key, keys: &mut String| *keys = keys.replacen(&key, "", 1),
            );
    };
    tumbling, Piped: |app| {
        app.stream(&LEFT)
            .group_by_key()
            .window(Tumbling::of(10 * SECOND).grace(5 * MINUTE))
            .count(&windows("windows"));
    };
    sliding, Piped: |app| {
        app.stream(&LEFT)
            .group_by_key()
            .window(Sliding::within(10 * SECOND).grace(5 * MINUTE))
            .count(&windows("windows"));
    };
    session, Piped: |app| {
        app.stream(&LEFT)
            .group_by_key()
            .window(Session::gap(10 * SECOND).grace(5 * MINUTE))
            .count(&windows("sessions"));
    };
    join_streams, LeftOut: |app| {
        let window = JoinWindow::within(10 * SECOND).grace(5 * MINUTE).named("met").stores_named("met");
        app.stream(&Topic::<String, Text>::new("left"))
            .outer_join(app.stream(&RIGHT), window, |_, x, y| format!("{x:?}{y:?}"))
            .for_each(|_, _| {});
    };
    join_foreign_key, Piped: |app| {
        texts(app, "left")
            .by_foreign_key(|_, value| value.clone())
            .named("by-value")
            .join_as(&texts(app, "right"), &store("joined"), |_, x, y| format!("{x}{y}"));
    };
    versioned, Piped: |app| {
        app.table_versioned(&Topic::<String, String>::new("left"), &store("history"), 5 * MINUTE);
    };
    suppress, Piped: |app| {
        let _ = app.stream(&LEFT)
            .group_by_key()
            .count(&store("counts"))
            .suppress_until_time_limit(10 * MINUTE, Buffer::unbounded().named("wait"));
    };
    suppress_windows, Piped: |app| {
        let _ = app.stream(&LEFT)
            .group_by_key()
            .window(Tumbling::of(10 * SECOND).grace(5 * MINUTE))
            .count(&windows("windows"))
            .suppress_until_window_closes(Buffer::unbounded().named("wait"));
    };
    processor_stores, Piped: |app| {
        let values = app.key_values(&store("values"));
        let times = app.windows(&StoreName::named("times"), 10 * SECOND, 10 * MINUTE);
        app.stream(&LEFT).process_with((values, times), |(values, times)| Keeps { values, times }).for_each(|_, _| {});
    };
}
