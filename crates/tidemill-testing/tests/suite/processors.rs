//! Processors: their stores, children, timers of keys, and what a restart leaves of them.

use tidemill_data::{BoxError, Headers, SECOND, StoreName, Timestamp, Topic, Windowed};
use tidemill_streams::{
    App, Child, Clock, Direction, FixedKeyProcessor, FixedKeyRecord, Forward, ForwardValues, KeyTimers,
    KeyValues, Processor, ProcessorContext, Record, RecordMetadata, Sessions, Versions,
};
use tidemill_testing::{TestDriver, ms};

const IN: Topic<String, String> = Topic::new("in");
const OTHER: Topic<String, String> = Topic::new("other");
const OUT: Topic<String, String> = Topic::new("out");
const REST: Topic<String, i64> = Topic::new("rest");
const STORE: StoreName<String, String> = StoreName::new("store");

type To<'a, 'b> = &'a mut Forward<'b, String, String>;
type Done = Result<(), BoxError>;

/// A processor that is one function.
struct Does<S, F>(S, F);

impl<S, F> Processor<String, String, String, String> for Does<S, F>
where
    S: Send + 'static,
    F: Fn(&S, Record<String, String>, To<'_, '_>) -> Done + Send + 'static,
{
    fn process(&mut self, record: Record<String, String>, to: To<'_, '_>) -> Done {
        (self.1)(&self.0, record, to)
    }
}

fn values(t: &mut TestDriver) -> Vec<String> {
    t.read(&OUT).into_iter().map(|record| record.value).collect()
}

fn say(to: To<'_, '_>, key: &str, value: impl Into<String>, timestamp: Timestamp) {
    to.forward(Record {
        key: key.to_owned(),
        value: value.into(),
        timestamp,
        headers: Headers::new(),
    });
}

#[test]
fn rows_come_by_range_prefix_and_in_reverse() {
    let app = App::new("app");
    let store = app.key_values(&STORE);
    let query = |rows: &KeyValues<String, String>, record: Record<String, String>, to: To<'_, '_>| {
        let all: Vec<(String, String)> = match record.value.as_str() {
            "all" => rows.all(to, Direction::Forward)?.collect::<Result<_, _>>()?,
            "reverse" => rows.all(to, Direction::Backward)?.collect::<Result<_, _>>()?,
            "b..c" => rows
                .range(to, "b".to_owned().."c".to_owned(), Direction::Forward)?
                .collect::<Result<_, _>>()?,
            "b..=c" => rows
                .range(to, "b".to_owned()..="c".to_owned(), Direction::Forward)?
                .collect::<Result<_, _>>()?,
            "..b" => rows
                .range(to, .."b".to_owned(), Direction::Backward)?
                .collect::<Result<_, _>>()?,
            "prefix" => rows
                .prefix(to, &"b".to_owned(), Direction::Forward)?
                .collect::<Result<_, _>>()?,
            _ => return rows.put(to, &record.key, &record.value),
        };
        let keys: Vec<String> = all.into_iter().map(|(key, _)| key).collect();
        say(to, "keys", keys.join(" "), record.timestamp);
        Ok(())
    };
    app.stream(&IN)
        .process_with(store, move |store| Does(store, query))
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    for key in ["c", "a", "bb", "b", "d"] {
        t.pipe(&IN, key, "put", ms(1));
    }
    t.commit();
    t.pipe(&IN, "ba", "put", ms(1));
    for query in ["all", "reverse", "b..c", "b..=c", "..b", "prefix"] {
        t.pipe(&IN, "", query, ms(1));
    }
    let expected = [
        "a b ba bb c d",
        "d c bb ba b a",
        "b ba bb",
        "b ba bb c",
        "a",
        "b ba bb",
    ];
    assert_eq!(values(&mut t), expected);
}

#[test]
fn a_store_is_shared_by_the_processors_it_is_given_to() {
    let app = App::new("app");
    let store = app.key_values(&STORE);
    app.stream(&IN)
        .process_with(store.clone(), |store| {
            Does(
                store,
                |store: &KeyValues<String, String>, record: Record<String, String>, to: To<'_, '_>| {
                    store.put(to, &record.key, &record.value)
                },
            )
        })
        .to(&OUT);
    app.stream(&OTHER)
        .process_with(store, |store| {
            Does(
                store,
                |store: &KeyValues<String, String>, record: Record<String, String>, to: To<'_, '_>| {
                    let taken = store.take(to, &record.key)?.unwrap_or_default();
                    say(to, &record.key, taken, record.timestamp);
                    Ok(())
                },
            )
        })
        .to(&OUT);
    let topology = app.topology().expect("the program can run");
    assert_eq!(topology.subtopologies().len(), 1);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "v", ms(1));
    t.pipe(&OTHER, "k", "?", ms(2));
    t.pipe(&OTHER, "k", "?", ms(3));
    assert_eq!(values(&mut t), ["v", ""]);
}

#[test]
fn a_store_that_was_not_given_is_refused_by_name() {
    let app = App::new("app");
    let store = app.key_values(&STORE);
    let put = move |_: &(), record: Record<String, String>, to: To<'_, '_>| {
        store.put(to, &record.key, &record.value)
    };
    app.stream(&IN).process(move || Does((), put.clone())).to(&OUT);
    let mut t = TestDriver::new(&app);
    let record = Record {
        key: "k".to_owned(),
        value: "v".to_owned(),
        timestamp: ms(1),
        headers: Headers::new(),
    };
    let error = t.try_pipe(&IN, record).expect_err("the store is not connected");
    let text = error.to_string();
    assert!(
        text.contains("KSTREAM-PROCESSOR-0000000001") && text.contains("\"store\""),
        "{text}"
    );
}

const NUMBERS: Child<String, i64> = Child::new("numbers");
const UNREAD: Child<String, i64> = Child::new("unread");

#[test]
fn a_child_gets_only_what_was_handed_to_it_in_types_of_its_own() {
    let app = App::new("app");
    let processed = app.stream(&IN).process(|| {
        Does((), |_: &(), record: Record<String, String>, to: To<'_, '_>| {
            match record.value.parse() {
                Ok(number) => to.forward_to(&NUMBERS, record.with_value(number))?,
                Err(_) if record.value == "unread" => to.forward_to(&UNREAD, record.with_value(0))?,
                Err(_) => to.forward(record),
            }
            Ok(())
        })
    });
    processed.child(&NUMBERS).to(&REST);
    processed.to(&OUT);
    app.on_error(tidemill_streams::Policy::Skip);
    let mut t = TestDriver::new(&app);
    for value in ["1", "x", "unread", "2"] {
        t.pipe(&IN, "k", value, ms(1));
    }
    assert_eq!(values(&mut t), ["x"]);
    let numbers: Vec<i64> = t.read(&REST).into_iter().map(|record| record.value).collect();
    assert_eq!(numbers, [1, 2]);
    let failures = t.take_failures();
    assert!(
        failures
            .iter()
            .any(|failure| failure.error.to_string().contains("\"unread\"")),
        "{failures:?}"
    );
}

#[test]
fn a_record_knows_where_it_came_from() {
    let app = App::new("app");
    app.stream(&IN)
        .process(|| {
            Does((), |_: &(), record: Record<String, String>, to: To<'_, '_>| {
                let Some(RecordMetadata {
                    topic,
                    partition,
                    offset,
                }) = to.metadata()
                else {
                    return Err("a record comes from somewhere".into());
                };
                let app = to.app().to_owned();
                say(
                    to,
                    "k",
                    format!("{app} {topic}-{partition}@{offset}"),
                    record.timestamp,
                );
                Ok(())
            })
        })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "v", ms(1));
    t.pipe(&IN, "k", "v", ms(1));
    assert_eq!(values(&mut t), ["app in-0@0", "app in-0@1"]);
}

/// Says that a key is idle ten seconds after its last record.
struct Idle(KeyTimers<String>, Clock);

impl Processor<String, String, String, String> for Idle {
    fn process(&mut self, record: Record<String, String>, to: To<'_, '_>) -> Done {
        if record.value == "bye" {
            return self.0.cancel(to, &record.key);
        }
        let now = match self.1 {
            Clock::StreamTime => record.timestamp,
            Clock::WallClock => to.wall_clock(),
        };
        self.0.set(to, &record.key, now.saturating_add(10 * SECOND))
    }

    fn timer(&mut self, key: String, due: Timestamp, to: To<'_, '_>) -> Done {
        say(
            to,
            &key,
            format!("{key} idle since {}", due.millis() - 10_000),
            due,
        );
        Ok(())
    }
}

fn idle(clock: Clock) -> TestDriver {
    const IDLE: StoreName<String, ()> = StoreName::new("idle");
    let app = App::new("app");
    let timers = app.key_timers(&IDLE, clock);
    app.stream(&IN)
        .process_with(timers, move |timers| Idle(timers, clock))
        .to(&OUT);
    TestDriver::new(&app)
}

#[test]
fn timers_of_keys_fire_once_in_the_order_of_their_times_and_can_be_set_anew() {
    let mut t = idle(Clock::StreamTime);
    for (key, value, at) in [
        ("a", "hi", 0),
        ("b", "hi", 1_000),
        ("c", "hi", 2_000),
        ("a", "hi", 5_000),
        ("c", "bye", 6_000),
        ("d", "hi", 10_999),
    ] {
        t.pipe(&IN, key, value, ms(at));
    }
    assert_eq!(values(&mut t), [""; 0]);
    t.pipe(&IN, "e", "hi", ms(20_000));
    assert_eq!(values(&mut t), ["b idle since 1000", "a idle since 5000"]);
    t.pipe(&IN, "f", "bye", ms(90_000));
    assert_eq!(values(&mut t), ["d idle since 10999", "e idle since 20000"]);
    t.pipe(&IN, "f", "bye", ms(190_000));
    assert_eq!(values(&mut t), [""; 0]);
}

#[test]
fn timers_of_keys_survive_a_restart_with_and_without_the_database() {
    for clock in [Clock::StreamTime, Clock::WallClock] {
        let mut t = idle(clock);
        t.pipe(&IN, "a", "hi", ms(0));
        t.restart();
        t.advance(SECOND);
        t.pipe(&IN, "b", "hi", ms(1_000));
        t.commit();
        t.restart_without_state();
        t.advance(9 * SECOND);
        t.pipe(&IN, "x", "bye", ms(10_000));
        assert_eq!(values(&mut t), ["a idle since 0"], "{clock:?}");
        t.restart();
        t.advance(60 * SECOND);
        t.pipe(&IN, "x", "bye", ms(60_000));
        assert_eq!(values(&mut t), ["b idle since 1000"], "{clock:?}");
    }
}

#[test]
fn timers_for_keys_of_another_type_are_refused_by_name() {
    const WRONG: StoreName<i64, ()> = StoreName::new("wrong");
    let app = App::new("app");
    let timers = app.key_timers(&WRONG, Clock::StreamTime);
    app.stream(&IN)
        .process_with(timers, |timers| {
            Does(timers, |_: &KeyTimers<i64>, _, _: To<'_, '_>| Ok(()))
        })
        .to(&OUT);
    let error = app.topology().err().expect("the keys are of another type");
    assert!(error.to_string().contains("\"wrong\""), "{error}");
}

/// Forwards what is not known for ten seconds already.
fn fresh(clock: Clock) -> TestDriver {
    let app = App::new("app");
    let seen = app.key_values_with_ttl(&STORE, 10 * SECOND, clock);
    app.stream(&IN)
        .process_with(seen, |seen| {
            Does(
                seen,
                |seen: &KeyValues<String, String>, record: Record<String, String>, to: To<'_, '_>| {
                    if record.value == "count" {
                        let rows = seen.all(to, Direction::Forward)?.count();
                        say(to, "rows", rows.to_string(), record.timestamp);
                    } else if seen.put_if_absent(to, &record.key, &record.value)?.is_none() {
                        to.forward(record);
                    }
                    Ok(())
                },
            )
        })
        .to(&OUT);
    TestDriver::new(&app)
}

#[test]
fn rows_expire_by_stream_time_and_leave_store_and_index() {
    let mut t = fresh(Clock::StreamTime);
    for at in [0, 5_000, 9_999, 10_000, 15_000, 20_000] {
        t.pipe(&IN, "k", at.to_string(), ms(at));
    }
    assert_eq!(values(&mut t), ["0", "10000", "20000"]);
    t.pipe(&IN, "l", "x", ms(21_000));
    t.pipe(&IN, "", "count", ms(22_000));
    t.restart_without_state();
    t.pipe(&IN, "", "count", ms(30_500));
    assert_eq!(values(&mut t), ["x", "2", "1"]);
    t.pipe(&IN, "", "count", ms(31_500));
    assert_eq!(values(&mut t), ["0"]);
    t.commit();
    let rows: Vec<(String, _)> = t.rows(&STORE);
    assert!(rows.is_empty(), "{rows:?}");
    let expiry = t.rows(&StoreName::<Vec<u8>, Vec<u8>>::new("store-expiry"));
    assert!(expiry.is_empty(), "{expiry:?}");
}

#[test]
fn rows_expire_by_the_wall_clock_without_records() {
    let mut t = fresh(Clock::WallClock);
    t.pipe(&IN, "k", "v", ms(0));
    t.advance(9 * SECOND);
    assert_eq!(t.rows(&STORE).len(), 1);
    t.advance(SECOND);
    assert_eq!(t.rows(&STORE).len(), 0);
}

#[test]
fn a_row_that_is_put_again_lives_longer() {
    let app = App::new("app");
    let seen = app.key_values_with_ttl(&STORE, 10 * SECOND, Clock::StreamTime);
    app.stream(&IN)
        .process_with(seen, |seen| {
            Does(
                seen,
                |seen: &KeyValues<String, String>, record: Record<String, String>, to: To<'_, '_>| {
                    if record.value == "?" {
                        let found = seen.get(to, &record.key)?;
                        say(to, "k", found.unwrap_or_default(), record.timestamp);
                        return Ok(());
                    }
                    seen.put(to, &record.key, &record.value)
                },
            )
        })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "1", ms(0));
    t.pipe(&IN, "k", "2", ms(8_000));
    t.pipe(&IN, "k", "?", ms(17_999));
    t.pipe(&IN, "k", "?", ms(18_000));
    t.pipe(&IN, "k", "?", ms(50_000));
    assert_eq!(values(&mut t), ["2", "", ""]);
    assert!(t.rows(&STORE).is_empty());
}

#[test]
fn sessions_are_found_by_their_neighbourhood() {
    const SESSIONS: StoreName<String, String> = StoreName::new("sessions");
    let app = App::new("app");
    let sessions = app.sessions(&SESSIONS, 1_000 * SECOND);
    app.stream(&IN)
        .process_with(sessions, |sessions| {
            Does(
                sessions,
                |sessions: &Sessions<String, String>, record: Record<String, String>, to: To<'_, '_>| {
                    let at = record.timestamp;
                    let (before, after) = (at.saturating_sub(5 * SECOND), at.saturating_add(5 * SECOND));
                    let near = sessions
                        .find(to, &record.key, before, after, Direction::Forward)?
                        .collect::<Result<Vec<_>, _>>()?;
                    let mut merged = Windowed {
                        key: record.key.clone(),
                        start_ms: at.millis(),
                        end_ms: at.millis(),
                    };
                    let mut value = record.value.clone();
                    for (session, old) in near {
                        sessions.remove(to, &session)?;
                        merged.start_ms = merged.start_ms.min(session.start_ms);
                        merged.end_ms = merged.end_ms.max(session.end_ms);
                        value = old + &value;
                    }
                    sessions.put(to, &merged, &value)?;
                    let known = sessions.get(to, &merged)?.unwrap_or_default();
                    let all = sessions.all(to, Direction::Forward)?.count();
                    let of_key = sessions.fetch(to, &record.key, Direction::Forward)?.count();
                    say(to, &record.key, format!("{known} {all} {of_key}"), at);
                    Ok(())
                },
            )
        })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    for (key, value, at) in [
        ("k", "a", 0),
        ("k", "b", 9_000),
        ("l", "x", 9_000),
        ("k", "c", 4_500),
    ] {
        t.pipe(&IN, key, value, ms(at));
    }
    assert_eq!(values(&mut t), ["a 1 1", "b 2 2", "x 3 1", "bac 2 1"]);
}

/// Answers what a key's value was at a time.
struct AsOf(Versions<String, String>);

impl FixedKeyProcessor<String, String, String> for AsOf {
    fn process(
        &mut self,
        record: FixedKeyRecord<String, String>,
        to: &mut ForwardValues<'_, String, String>,
    ) -> Done {
        let context: &mut ProcessorContext<'_> = to;
        let Some(time) = record.value.strip_prefix('?') else {
            return self
                .0
                .put(context, record.key(), Some(&record.value), record.timestamp);
        };
        let found = self.0.get_as_of(context, record.key(), ms(time.parse()?))?;
        let latest = self.0.get(context, record.key())?;
        let text = |version: Option<tidemill_streams::Versioned<String>>| {
            version.map_or_else(
                || "-".to_owned(),
                |version| format!("{}@{}", version.value, version.valid_from),
            )
        };
        let value = format!("{} {}", text(found), text(latest));
        to.forward(record.with_value(value));
        Ok(())
    }
}

#[test]
fn versions_answer_as_of_a_time() {
    const VERSIONS: StoreName<String, String> = StoreName::new("versions");
    let app = App::new("app");
    let versions = app.versions(&VERSIONS, 1_000 * SECOND);
    app.stream(&IN).process_values_with(versions, AsOf).to(&OUT);
    let mut t = TestDriver::new(&app);
    for (value, at) in [
        ("a", 10),
        ("c", 30),
        ("b", 20),
        ("?9", 40),
        ("?29", 40),
        ("?35", 40),
    ] {
        t.pipe(&IN, "k", value, ms(at));
    }
    assert_eq!(values(&mut t), ["- c@30", "b@20 c@30", "c@30 c@30"]);
}

#[test]
fn a_fixed_key_needs_no_repartition() {
    struct Same;
    impl FixedKeyProcessor<String, String, String> for Same {
        fn process(
            &mut self,
            record: FixedKeyRecord<String, String>,
            to: &mut ForwardValues<'_, String, String>,
        ) -> Done {
            to.forward(record);
            Ok(())
        }
    }
    const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    let subtopologies = |app: &App| app.topology().expect("it can run").subtopologies().len();
    let app = App::new("app");
    app.stream(&IN)
        .process_values(|| Same)
        .group_by_key()
        .count(&COUNTS);
    assert_eq!(subtopologies(&app), 1);
    let app = App::new("app");
    app.stream(&IN)
        .process(|| {
            Does((), |_: &(), record: Record<String, String>, to: To<'_, '_>| {
                to.forward(record);
                Ok(())
            })
        })
        .group_by_key()
        .count(&COUNTS);
    assert_eq!(subtopologies(&app), 2);
}
