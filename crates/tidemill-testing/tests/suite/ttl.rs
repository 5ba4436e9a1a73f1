//! Tables whose rows go by themselves: when, what is seen of it, and what restarts leave of it.

use std::time::Duration;

use tidemill_data::{BoxError, StoreName, Topic};
use tidemill_streams::{
    App, Clock, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KTable, KeyValues, Materialized, Tumbling,
    Versions,
};
use tidemill_testing::{TestDriver, ms};

const IN: Topic<String, i64> = Topic::new("in");
const OTHER: Topic<String, i64> = Topic::new("other");
const OUT: Topic<String, Option<i64>> = Topic::new("out");
const STORE: StoreName<String, i64> = StoreName::new("store");
const SUMS: StoreName<String, i64> = StoreName::new("sums");
const TTL: Duration = Duration::from_millis(100);

fn kept(clock: Clock) -> Materialized<String, i64> {
    Materialized::from(&STORE).ttl(TTL, clock)
}

fn driver(make: impl Fn(&App) -> KTable<String, i64>) -> TestDriver {
    let app = App::new("app");
    make(&app).to_stream().to(&OUT);
    TestDriver::new(&app)
}

fn put(t: &mut TestDriver, key: &str, value: i64, at: i64) {
    t.pipe(&IN, key.to_owned(), value, ms(at));
}

/// What came out: `key=value @time`, with `-` for a deletion.
fn seen(t: &mut TestDriver) -> Vec<String> {
    let records = t.read(&OUT).into_iter();
    records
        .map(|record| {
            let value = record.value.map_or("-".to_owned(), |value| value.to_string());
            format!("{}={value} @{}", record.key, record.timestamp)
        })
        .collect()
}

fn keys(t: &mut TestDriver) -> Vec<String> {
    t.rows(&STORE).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn a_row_goes_when_stream_time_says_so_before_the_record_that_says_it() {
    let mut t = driver(|app| app.stream(&IN).group_by_key().count(kept(Clock::StreamTime)));
    put(&mut t, "a", 1, 1_000);
    put(&mut t, "b", 1, 1_050);
    // The row lives from when it was last put.
    put(&mut t, "a", 1, 1_090);
    put(&mut t, "b", 1, 1_149);
    assert_eq!(seen(&mut t), ["a=1 @1000", "b=1 @1050", "a=2 @1090", "b=2 @1149"]);
    put(&mut t, "a", 1, 1_190);
    assert_eq!(seen(&mut t), ["a=- @1190", "a=1 @1190"], "counting begins anew");
    put(&mut t, "c", 1, 5_000);
    assert_eq!(seen(&mut t), ["b=- @1249", "a=- @1290", "c=1 @5000"]);
    assert_eq!(keys(&mut t), ["c"]);
}

#[test]
fn a_row_goes_when_the_wall_clock_says_so() {
    let mut t = driver(|app| app.table_as(&IN, kept(Clock::WallClock)));
    put(&mut t, "a", 1, 7);
    t.advance(Duration::from_millis(60));
    put(&mut t, "b", 2, 5);
    t.advance(Duration::from_millis(39));
    assert_eq!(seen(&mut t), ["a=1 @7", "b=2 @5"]);
    t.advance(Duration::from_millis(1));
    assert_eq!(seen(&mut t), ["a=- @7"]);
    put(&mut t, "b", 3, 6);
    t.advance(Duration::from_millis(99));
    assert_eq!(seen(&mut t), ["b=3 @6"]);
    t.advance(Duration::from_millis(1));
    assert_eq!(seen(&mut t), ["b=- @7"]);
    assert!(keys(&mut t).is_empty());
}

#[test]
fn a_deleted_row_that_comes_back_lives_from_then() {
    let app = App::new("app");
    let grouped = app.stream(&IN).group_by_key();
    let table = grouped.aggregate_option(
        kept(Clock::StreamTime),
        || None,
        |_, new, _| (new > 0).then_some(new),
    );
    table.to_stream().to(&OUT);
    let mut t = TestDriver::new(&app);
    put(&mut t, "a", 1, 1_000);
    put(&mut t, "a", 0, 1_010);
    put(&mut t, "a", 2, 1_090);
    put(&mut t, "b", 1, 1_150);
    assert_eq!(seen(&mut t), ["a=1 @1000", "a=- @1010", "a=2 @1090", "b=1 @1150"]);
    put(&mut t, "b", 1, 1_190);
    assert_eq!(seen(&mut t), ["a=- @1190", "b=1 @1190"]);
}

#[test]
fn what_is_made_of_the_table_sees_the_deletion() {
    let app = App::new("app");
    let table = app.stream(&IN).to_table(kept(Clock::StreamTime));
    let sums = table.group_by(|_, value| ("all".to_owned(), value));
    let sums = sums.aggregate(
        &SUMS,
        |_, new, sum: &mut i64| *sum += new,
        |_, old, sum| *sum -= old,
    );
    sums.to_stream().to(&OUT);
    let mut t = TestDriver::new(&app);
    put(&mut t, "a", 5, 1_000);
    put(&mut t, "b", 7, 1_060);
    put(&mut t, "c", 1, 1_120);
    assert_eq!(t.row(&SUMS, "all".to_owned()).unwrap().value, 8, "5 went");
}

#[test]
fn a_lookup_finds_no_row_that_is_over() {
    let app = App::new("app");
    let table = app.table_as(&OTHER, kept(Clock::StreamTime));
    app.stream(&IN)
        .left_join_table(&table, |_, value, row| Some(value + row.unwrap_or(0)))
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&OTHER, "a".to_owned(), 10, ms(1_000));
    put(&mut t, "a", 1, 1_099);
    put(&mut t, "a", 1, 1_100);
    assert_eq!(seen(&mut t), ["a=11 @1099", "a=1 @1100"]);
}

#[test]
fn versions_end_when_their_row_does() {
    let app = App::new("app");
    let history = Duration::from_millis(10_000);
    let table = app.table_as(&OTHER, kept(Clock::StreamTime).versioned(history));
    app.stream(&IN)
        .left_join_table(&table, |_, value, row| Some(value + row.unwrap_or(0)))
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&OTHER, "a".to_owned(), 10, ms(1_000));
    t.pipe(&OTHER, "b".to_owned(), 20, ms(1_500));
    for at in [1_099, 1_100, 1_599] {
        put(&mut t, "a", 1, at);
    }
    assert_eq!(seen(&mut t), ["a=11 @1099", "a=1 @1100", "a=1 @1599"]);
}

#[test]
fn restarts_keep_what_is_due_and_expired_rows_are_gone_from_the_changelog() {
    for clock in [Clock::StreamTime, Clock::WallClock] {
        let restarts: [fn(&mut TestDriver); 3] =
            [TestDriver::restart, TestDriver::restart_without_state, |t| {
                t.commit();
                t.crash();
            }];
        for restart in restarts {
            let mut t = driver(|app| app.stream(&IN).group_by_key().count(kept(clock)));
            put(&mut t, "a", 1, 1_000);
            t.advance(Duration::from_millis(50));
            put(&mut t, "b", 1, 1_050);
            restart(&mut t);
            t.advance(Duration::from_millis(50));
            put(&mut t, "c", 1, 1_100);
            assert_eq!(keys(&mut t), ["b", "c"], "{clock:?}");
            t.commit();
            let last = t.read_raw("app-store-changelog").into_iter();
            let last = last
                .filter(|record| record.key.as_deref() == Some(b"a"))
                .last()
                .unwrap();
            assert_eq!(last.value, None, "{clock:?}");
            t.restart_without_state();
            assert_eq!(keys(&mut t), ["b", "c"], "{clock:?}");
        }
    }
}

#[test]
fn many_rows_go_at_once() {
    let mut t = driver(|app| app.stream(&IN).group_by_key().count(kept(Clock::StreamTime)));
    for n in 0..2_500 {
        put(&mut t, &format!("k{n:04}"), 1, 1_000 + n / 100);
    }
    assert_eq!(seen(&mut t).len(), 2_500);
    put(&mut t, "last", 1, 9_000);
    assert_eq!(seen(&mut t).len(), 2_501);
    assert_eq!(keys(&mut t), ["last"]);
    t.commit();
    let mut index = std::collections::BTreeMap::new();
    for record in t.read_raw("app-store-expiry-changelog") {
        index.insert(record.key, record.value);
    }
    let left = index.into_values().flatten().count();
    assert_eq!(left, 2, "the index has the last row's two entries");
}

#[test]
fn stores_that_cannot_expire_say_so() {
    let app = App::new("app");
    let windows = StoreName::<tidemill_data::Windowed<String>, i64>::new("windows");
    let kept = Materialized::from(&windows).ttl(TTL, Clock::StreamTime);
    let _ = app
        .stream(&IN)
        .group_by_key()
        .window(Tumbling::of(TTL))
        .count(kept);
    let error = app.topology().err().map(|error| error.to_string()).unwrap();
    assert!(
        error.contains(r#"store "windows" cannot have a time to live"#),
        "{error}"
    );
}

const AGES: Topic<String, i64> = Topic::new("ages");

fn cogrouped(clock: Clock) -> impl Fn(&App) -> KTable<String, i64> {
    move |app| {
        let scores = app.stream(&IN).group_by_key();
        let ages = app.stream(&AGES).group_by_key();
        scores
            .cogroup(|_, new, sum: &mut i64| *sum += new)
            .cogroup(ages, |_, new, sum| *sum += 100 * new)
            .aggregate(kept(clock))
    }
}

#[test]
fn rows_of_several_streams_go_when_none_of_them_put_them_again() {
    let mut t = driver(cogrouped(Clock::StreamTime));
    put(&mut t, "a", 1, 1_000);
    put(&mut t, "b", 1, 1_010);
    t.pipe(&AGES, "a".to_owned(), 3, ms(1_050));
    assert_eq!(seen(&mut t), ["a=1 @1000", "b=1 @1010", "a=301 @1050"]);
    // Whichever stream's record says the time, the row goes before it.
    t.pipe(&AGES, "b".to_owned(), 1, ms(1_110));
    assert_eq!(seen(&mut t), ["b=- @1110", "b=100 @1110"]);
    t.restart_without_state();
    put(&mut t, "c", 1, 1_150);
    assert_eq!(seen(&mut t), ["a=- @1150", "c=1 @1150"]);
    assert_eq!(keys(&mut t), ["b", "c"]);
    t.commit();
    let log = t.read_raw("app-store-changelog");
    let last = log.iter().rfind(|record| record.key.as_deref() == Some(b"a"));
    assert_eq!(last.unwrap().value, None);
}

#[test]
fn rows_of_several_streams_go_by_the_wall_clock() {
    let mut t = driver(cogrouped(Clock::WallClock));
    put(&mut t, "a", 1, 7);
    t.advance(Duration::from_millis(60));
    t.pipe(&AGES, "a".to_owned(), 1, ms(8));
    t.advance(Duration::from_millis(99));
    assert_eq!(seen(&mut t), ["a=1 @7", "a=101 @8"]);
    t.restart_without_state();
    t.advance(Duration::from_millis(1));
    assert_eq!(seen(&mut t), ["a=- @8"]);
}

type To<'a, 'b> = &'a mut ForwardValues<'b, String, Option<i64>>;

/// Puts versions with the record's time; a value of 0 asks for the latest one, a negative one for that of a time.
struct Keep(Versions<String, i64>);

impl FixedKeyProcessor<String, i64, Option<i64>> for Keep {
    fn process(&mut self, record: FixedKeyRecord<String, i64>, to: To<'_, '_>) -> Result<(), BoxError> {
        let known = match record.value {
            0 => self.0.get(to, record.key())?,
            at @ ..0 => self.0.get_as_of(to, record.key(), ms(-at))?,
            value => return self.0.put(to, record.key(), Some(&value), record.timestamp),
        };
        to.forward(record.with_value(known.map(|version| version.value)));
        Ok(())
    }
}

fn versions(clock: Clock, history: Duration) -> TestDriver {
    let app = App::new("app");
    let store = app.versions_with_ttl(&STORE, history, TTL, clock);
    app.stream(&IN).process_values_with(store, Keep).to(&OUT);
    TestDriver::new(&app)
}

#[test]
fn the_latest_version_ends_when_its_time_is_over_and_the_past_stays() {
    let mut t = versions(Clock::StreamTime, Duration::from_millis(10_000));
    put(&mut t, "a", 5, 1_000);
    put(&mut t, "a", 6, 1_050);
    put(&mut t, "a", 0, 1_149);
    put(&mut t, "a", 0, 1_150);
    assert_eq!(seen(&mut t), ["a=6 @1149", "a=- @1150"]);
    for restarted in [false, true] {
        if restarted {
            t.restart_without_state();
        }
        for at in [1_000, 1_049, 1_050, 1_149, 1_150, 1_160] {
            put(&mut t, "a", -at, 1_160);
        }
        let expected = ["5", "5", "6", "6", "-", "-"].map(|value| format!("a={value} @1160"));
        assert_eq!(seen(&mut t), expected, "restarted: {restarted}");
    }
}

#[test]
fn a_version_that_comes_after_the_end_of_another_leaves_the_gap_between() {
    let mut t = versions(Clock::StreamTime, Duration::from_millis(10_000));
    put(&mut t, "a", 5, 1_000);
    put(&mut t, "a", 6, 1_200);
    for at in [1_099, 1_100, 1_199, 1_200] {
        put(&mut t, "a", -at, 1_201);
    }
    let expected = ["5", "-", "-", "6"].map(|value| format!("a={value} @1201"));
    assert_eq!(seen(&mut t), expected);
}

#[test]
fn a_version_ends_even_if_the_history_does_not_go_back_to_its_end() {
    let mut t = versions(Clock::StreamTime, Duration::from_millis(10));
    put(&mut t, "a", 5, 1_000);
    put(&mut t, "b", 6, 9_000);
    put(&mut t, "a", 0, 9_001);
    put(&mut t, "a", -8_995, 9_001);
    assert_eq!(seen(&mut t), ["a=- @9001", "a=- @9001"]);
    t.restart_without_state();
    put(&mut t, "a", 0, 9_002);
    put(&mut t, "b", 0, 9_002);
    assert_eq!(seen(&mut t), ["a=- @9002", "b=6 @9002"]);
}

#[test]
fn versions_end_by_the_wall_clock_with_and_without_their_database() {
    for restart in [TestDriver::restart, TestDriver::restart_without_state] {
        let mut t = versions(Clock::WallClock, Duration::from_millis(10_000));
        put(&mut t, "a", 5, 1_000);
        t.advance(Duration::from_millis(60));
        put(&mut t, "b", 6, 1_001);
        restart(&mut t);
        t.advance(Duration::from_millis(40));
        put(&mut t, "a", 0, 1_002);
        put(&mut t, "b", 0, 1_002);
        assert_eq!(seen(&mut t), ["a=- @1002", "b=6 @1002"]);
    }
}

/// The row of a key that another operator than the first put is looked for, too: its index empties.
#[test]
fn rows_of_a_shared_store_go_whoever_put_them() {
    struct Put(KeyValues<String, i64>);
    impl FixedKeyProcessor<String, i64, Option<i64>> for Put {
        fn process(&mut self, record: FixedKeyRecord<String, i64>, to: To<'_, '_>) -> Result<(), BoxError> {
            self.0.put(to, record.key(), &record.value)
        }
    }
    let app = App::new("app");
    let store = app.key_values_with_ttl(&STORE, TTL, Clock::WallClock);
    for topic in [&IN, &OTHER] {
        app.stream(topic).process_values_with(store.clone(), Put).to(&OUT);
    }
    let mut t = TestDriver::new(&app);
    put(&mut t, "a", 1, 1);
    t.advance(TTL);
    t.pipe(&OTHER, "b".to_owned(), 1, ms(2));
    t.advance(TTL);
    t.commit();
    for log in ["app-store-changelog", "app-store-expiry-changelog"] {
        let mut rows = std::collections::BTreeMap::new();
        for record in t.read_raw(log) {
            rows.insert(record.key, record.value);
        }
        assert_eq!(rows.into_values().flatten().count(), 0, "{log}");
    }
}
