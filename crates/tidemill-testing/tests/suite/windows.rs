//! What windows do beyond the oracle: late records, idle input, buffers that are full, restored or spoilt.

use bytes::Bytes;
use tidemill_data::{Headers, SECOND, StoreName, Topic, Windowed};
use tidemill_streams::{
    App, Buffer, Counted, Hopping, KTable, Materialized, RawRecord, Session, Sliding, TaskError, Tumbling,
    WhenFull,
};
use tidemill_testing::{TestDriver, TestError, ms};

const IN: Topic<String, String> = Topic::new("in");
const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
const OUT: Topic<Windowed<String>, Option<i64>> = Topic::new("out");
const LATE: Topic<String, String> = Topic::new("late");
const JOINED: Topic<String, String> = Topic::new("joined");
const OPEN: StoreName<String, String> = StoreName::new("open");
const ROWS: Topic<String, String> = Topic::new("rows");
const CALM: Topic<String, Option<String>> = Topic::new("calm");

fn pipe(driver: &mut TestDriver, key: &str, ms_: i64) {
    driver.pipe(&IN, key, "v", ms(ms_));
}

fn out(driver: &mut TestDriver) -> Vec<String> {
    let records = driver.read(&OUT).into_iter();
    records
        .map(|record| match record.value {
            Some(count) => format!("{}={count}", record.key),
            None => format!("{} gone", record.key),
        })
        .collect()
}

fn to_out(counts: &KTable<Windowed<String>, i64>) {
    counts.to_stream().to(&OUT);
}

#[test]
fn late_records_go_to_the_side_if_none_of_their_windows_is_open() {
    let app = App::new("app");
    let windows = app
        .stream(&IN)
        .group_by_key()
        .window(Hopping::of(10 * SECOND, 5 * SECOND));
    let counts = windows.late_records(|late| late.to(&LATE)).count(&COUNTS);
    to_out(&counts);
    let mut driver = TestDriver::new(&app);
    for time in [0, 11_000, 6_000, 4_000, 26_000, 9_000] {
        pipe(&mut driver, "k", time);
    }
    let late: Vec<i64> = driver
        .read(&LATE)
        .into_iter()
        .map(|record| record.timestamp.millis())
        .collect();
    // At 11 s, [5, 15) is open for 6 s, and nothing for 4 s.
    assert_eq!(late, [4_000, 9_000]);
    // [0, 10) twice, for 6 s and 4 s; both windows of 9 s.
    assert_eq!(driver.dropped(), 4);
}

#[test]
fn late_records_of_sliding_windows_and_sessions_go_to_the_side() {
    let app = App::new("app");
    let grouped = app.stream(&IN).group_by_key();
    let sliding = grouped.clone().window(Sliding::within(SECOND));
    let _ = sliding
        .late_records(|late| late.map_values(|_| "sliding".to_owned()).to(&LATE))
        .count(&COUNTS);
    let sessions = grouped.window(Session::gap(SECOND));
    let _ = sessions
        .late_records(|late| late.map_values(|_| "session".to_owned()).to(&LATE))
        .count(Materialized::unnamed());
    let mut driver = TestDriver::new(&app);
    for time in [10_000, 8_999, 9_000] {
        pipe(&mut driver, "k", time);
    }
    let late: Vec<String> = driver
        .read(&LATE)
        .into_iter()
        .map(|record| format!("{}@{}", record.value, record.timestamp))
        .collect();
    assert_eq!(late, ["sliding@8999", "session@8999"]);
}

#[test]
fn windows_close_by_the_wall_clock_when_input_is_idle() {
    for on_close in [true, false] {
        let app = App::new("app");
        let windows = Tumbling::of(10 * SECOND)
            .grace(2 * SECOND)
            .close_when_idle(5 * SECOND);
        let windows = app.stream(&IN).group_by_key().window(windows);
        to_out(&if on_close {
            windows.emit_on_close().count(&COUNTS)
        } else {
            let counts = windows.count(&COUNTS);
            counts.suppress_until_window_closes(Buffer::unbounded())
        });
        let mut driver = TestDriver::new(&app);
        pipe(&mut driver, "k", 4_000);
        driver.advance(4 * SECOND);
        assert!(out(&mut driver).is_empty(), "input is not idle yet");
        driver.advance(3 * SECOND);
        assert!(
            out(&mut driver).is_empty(),
            "stream time stands at 11 s, and the window closes at 12 s"
        );
        driver.advance(SECOND);
        assert_eq!(out(&mut driver), ["k@0/10000=1"]);
        // It stays closed: what comes after all is late.
        pipe(&mut driver, "k", 9_000);
        driver.advance(60 * SECOND);
        assert!(out(&mut driver).is_empty());
        assert_eq!(driver.dropped(), 1);
    }
}

#[test]
fn idle_sessions_close_after_a_restart_too() {
    let app = App::new("app");
    let sessions = Session::gap(10 * SECOND).close_when_idle(5 * SECOND);
    let sessions = app.stream(&IN).group_by_key().window(sessions);
    to_out(&sessions.emit_on_close().count(&COUNTS));
    let mut driver = TestDriver::new(&app);
    pipe(&mut driver, "k", 4_000);
    driver.restart_without_state();
    driver.advance(10 * SECOND);
    assert!(out(&mut driver).is_empty());
    driver.advance(SECOND);
    assert_eq!(out(&mut driver), ["k@4000/4000=1"]);
}

#[test]
fn closed_windows_are_emitted_once_across_restarts() {
    let app = App::new("app");
    let windows = app
        .stream(&IN)
        .group_by_key()
        .window(Tumbling::of(10 * SECOND).grace(20 * SECOND));
    let store = Materialized::from(&COUNTS).retention(600 * SECOND);
    to_out(&windows.emit_on_close().count(store));
    let mut driver = TestDriver::new(&app);
    pipe(&mut driver, "k", 0);
    pipe(&mut driver, "k", 31_000);
    assert_eq!(out(&mut driver), ["k@0/10000=1"]);
    driver.restart_without_state();
    pipe(&mut driver, "k", 9_000);
    pipe(&mut driver, "k", 64_000);
    assert_eq!(out(&mut driver), ["k@30000/40000=1"]);
    assert_eq!(driver.dropped(), 1);
}

#[test]
fn windows_of_records_give_a_result_when_they_are_full() {
    let app = App::new("app");
    let windows = app.stream(&IN).group_by_key().window(Counted::of(4).every(2));
    let join = |_: &String, value: String, row: &mut String| row.push_str(&value);
    windows.aggregate(&OPEN, join).to(&JOINED);
    let mut driver = TestDriver::new(&app);
    let joined = |driver: &mut TestDriver| -> Vec<String> {
        let records = driver.read(&JOINED).into_iter();
        records
            .map(|record| format!("{}={}", record.key, record.value))
            .collect()
    };
    for (at, value) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        driver.pipe(&IN, "k", value, ms(i64::try_from(at).unwrap()));
        driver.pipe(&IN, "other", value, ms(0));
        if at == 2 {
            driver.restart_without_state();
        }
    }
    assert_eq!(joined(&mut driver), ["k=abcd", "other=abcd"]);
    driver.pipe(&IN, "k", "f", ms(9));
    driver.pipe(&IN, "k", "g", ms(9));
    driver.pipe(&IN, "k", "h", ms(9));
    assert_eq!(joined(&mut driver), ["k=cdef", "k=efgh"]);
}

#[test]
fn windows_that_cannot_be_are_named_when_the_topology_is_built() {
    let problem = |compose: &dyn Fn(&App)| {
        let app = App::new("app");
        compose(&app);
        app.topology()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let grouped = |app: &App| app.stream(&IN).group_by_key();
    let no_size = problem(&|app| {
        drop(
            grouped(app)
                .window(Tumbling::of(std::time::Duration::ZERO))
                .count(&COUNTS),
        )
    });
    assert!(no_size.contains("size of at least 1 ms"), "{no_size}");
    let steps = Hopping::of(SECOND, 2 * SECOND);
    let too_far = problem(&|app| drop(grouped(app).window(steps).count(&COUNTS)));
    assert!(too_far.contains("advance by 2000 ms"), "{too_far}");
    let counted = problem(&|app| {
        drop(
            grouped(app)
                .window(Counted::of(0))
                .aggregate(&OPEN, |_, _, _: &mut String| {}),
        )
    });
    assert!(counted.contains("windows of 0 records"), "{counted}");
    let kept = Materialized::from(&COUNTS).retention(SECOND);
    let kept = std::cell::Cell::new(Some(kept));
    let forgets = problem(&|app| {
        let windows = grouped(app).window(Tumbling::of(2 * SECOND));
        drop(windows.count(kept.take().unwrap()));
    });
    assert!(
        forgets.contains("\"counts\" keeps windows for 1000 ms"),
        "{forgets}"
    );
    let early = problem(&|app| {
        let counts = grouped(app).window(Tumbling::of(SECOND)).count(&COUNTS);
        let buffer = Buffer::unbounded().when_full(WhenFull::EmitEarly);
        drop(counts.suppress_until_window_closes(buffer));
    });
    assert!(early.contains("cannot emit early"), "{early}");
}

fn calm(buffer: Buffer) -> TestDriver {
    let app = App::new("app");
    let calm = app
        .table(&ROWS)
        .suppress_until_time_limit(10 * SECOND, buffer.named("calm"));
    calm.to_stream().to(&CALM);
    TestDriver::new(&app)
}

fn calm_rows(driver: &mut TestDriver) -> Vec<String> {
    let records = driver.read(&CALM).into_iter();
    records
        .map(|record| format!("{}={}", record.key, record.value.unwrap_or_default()))
        .collect()
}

#[test]
fn a_full_buffer_emits_the_oldest_early() {
    let mut driver = calm(Buffer::unbounded().records_max(2));
    for (at, key) in ["a", "b", "a", "c"].into_iter().enumerate() {
        driver.pipe(&ROWS, key, format!("{at}"), ms(i64::try_from(at).unwrap()));
    }
    assert_eq!(calm_rows(&mut driver), ["a=2"]);
}

#[test]
fn a_buffer_is_full_of_bytes_too() {
    // A row counts 28 bytes, its key, its topic "rows" and its value.
    let mut driver = calm(Buffer::unbounded().bytes_max(2 * 34));
    driver.pipe(&ROWS, "a", "1", ms(0));
    driver.pipe(&ROWS, "b", "1", ms(1));
    assert!(calm_rows(&mut driver).is_empty());
    driver.pipe(&ROWS, "b", "12", ms(2));
    assert_eq!(calm_rows(&mut driver), ["a=1"]);
}

#[test]
fn a_full_buffer_stops_the_task_when_it_shall() {
    let buffer = Buffer::unbounded().records_max(1).when_full(WhenFull::ShutDown);
    let mut driver = calm(buffer);
    driver.pipe(&ROWS, "a", "1", ms(0));
    let record = RawRecord {
        key: Some(Bytes::from_static(b"b")),
        value: Some(Bytes::from_static(b"1")),
        ..RawRecord::default()
    };
    let stopped = driver.try_pipe_raw(ROWS.name(), record).unwrap_err();
    assert!(
        matches!(
            stopped,
            TestError::Task(TaskError::BufferFull {
                records: 2,
                records_max: 1,
                ..
            })
        ),
        "{stopped}"
    );
    assert!(
        stopped.to_string().contains("calm holds back 2 of 1 records"),
        "{stopped}"
    );
}

#[test]
fn what_is_held_back_survives_a_restart_in_its_order() {
    let mut driver = calm(Buffer::unbounded());
    driver.pipe(&ROWS, "b", "1", ms(0));
    driver.pipe(&ROWS, "a", "1", ms(1));
    driver.pipe(&ROWS, "b", "2", ms(2));
    driver.restart_without_state();
    driver.pipe(&ROWS, "b", "3", ms(9_000));
    driver.restart();
    driver.pipe(&ROWS, "c", "1", ms(10_001));
    assert_eq!(calm_rows(&mut driver), ["b=3", "a=1"]);
    // What was lost in a crash is done again, not twice.
    driver.commit();
    driver.pipe(&ROWS, "d", "1", ms(20_001));
    driver.crash();
    assert_eq!(calm_rows(&mut driver), ["c=1", "c=1"]);
}

#[test]
fn a_spoilt_changelog_names_its_store() {
    for value in [&b""[..], b"spoilt", &[0xff; 64]] {
        let mut driver = calm(Buffer::unbounded());
        let record = RawRecord {
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::copy_from_slice(value)),
            headers: Headers::new().with("v", vec![3_u8]),
            ..RawRecord::default()
        };
        driver.try_pipe_raw("app-calm-store-changelog", record).unwrap();
        driver.restart_without_state();
        let good = RawRecord {
            key: Some(Bytes::from_static(b"a")),
            value: Some(Bytes::from_static(b"1")),
            ..RawRecord::default()
        };
        let refused = driver.try_pipe_raw(ROWS.name(), good).unwrap_err();
        assert!(refused.to_string().contains("\"calm-store\""), "{refused}");
    }
}

#[test]
fn a_table_behind_a_suppression_subtracts_what_it_added() {
    const SUMS: StoreName<String, i64> = StoreName::new("sums");
    let app = App::new("app");
    let rows: Topic<String, i64> = Topic::new("amounts");
    let calm = app
        .table(&rows)
        .suppress_until_time_limit(SECOND, Buffer::unbounded());
    let _ = calm.group_by(|_, amount| ("all".to_owned(), amount)).aggregate(
        &SUMS,
        |_, amount, sum| *sum += amount,
        |_, amount, sum| *sum -= amount,
    );
    let mut driver = TestDriver::new(&app);
    for (at, amount) in [(0, 10), (1_000, 20), (1_500, 30), (2_600, 40), (9_000, 1)] {
        driver.pipe(&rows, "k", amount, ms(at));
    }
    // 20 went on at once, 10 never did; 40 replaced it, 30 was never seen. 1 waits.
    assert_eq!(driver.row(&SUMS, "all").map(|row| row.value), Some(40));
}

#[test]
fn windows_are_kept_until_they_were_emitted() {
    let app = App::new("app");
    let windows = app.stream(&IN).group_by_key().window(Tumbling::of(60 * SECOND));
    to_out(&windows.emit_on_close().count(&COUNTS));
    let mut driver = TestDriver::new(&app);
    pipe(&mut driver, "k", 5_000);
    pipe(&mut driver, "l", 40_000);
    // Far beyond what the store keeps: Kafka Streams would have forgotten both.
    pipe(&mut driver, "k", 3_600_000);
    assert_eq!(out(&mut driver), ["k@0/60000=1", "l@0/60000=1"]);
}

#[test]
fn windows_are_kept_until_they_were_emitted_also_when_emission_waits_for_the_wall_clock() {
    let app = App::new("app");
    app.emit_interval(10 * SECOND);
    let grouped = app.stream(&IN).group_by_key();
    to_out(
        &grouped
            .clone()
            .window(Sliding::within(SECOND))
            .emit_on_close()
            .count(&COUNTS),
    );
    let sessions = grouped.window(Session::gap(SECOND)).emit_on_close();
    to_out(&sessions.count(Materialized::unnamed()));
    let mut driver = TestDriver::new(&app);
    for second in 0..5 {
        pipe(&mut driver, "k", 10_000 * second + 5_000);
    }
    driver.advance(60 * SECOND);
    pipe(&mut driver, "k", 100_000);
    let mut windows = out(&mut driver);
    windows.sort();
    let mut expected: Vec<String> = (0..5)
        .map(|second| 10_000 * second + 5_000)
        .flat_map(|at| [format!("k@{}/{at}=1", at - 1_000), format!("k@{at}/{at}=1")])
        .collect();
    expected.sort();
    assert_eq!(windows, expected);
}

#[test]
fn a_record_that_is_not_late_finds_the_session_it_joins() {
    let app = App::new("app");
    let sessions = Session::gap(10 * SECOND).grace(5 * SECOND);
    let sessions = app.stream(&IN).group_by_key().window(sessions);
    to_out(&sessions.count(&COUNTS));
    let mut driver = TestDriver::new(&app);
    pipe(&mut driver, "k", 0);
    pipe(&mut driver, "other", 24_000);
    // Kafka Streams has forgotten the session of 0 s by now, and would begin another.
    pipe(&mut driver, "k", 10_000);
    assert_eq!(
        out(&mut driver),
        ["k@0/0=1", "other@24000/24000=1", "k@0/0 gone", "k@0/10000=2"]
    );
}

#[test]
fn a_record_that_is_not_late_finds_the_sliding_windows_beside_it() {
    let app = App::new("app");
    let windows = Sliding::within(10 * SECOND).grace(5 * SECOND);
    let windows = app.stream(&IN).group_by_key().window(windows);
    let _ = windows.count(&COUNTS);
    let mut driver = TestDriver::new(&app);
    pipe(&mut driver, "k", 30_000);
    pipe(&mut driver, "other", 44_999);
    pipe(&mut driver, "other", 45_000);
    pipe(&mut driver, "k", 40_000);
    // Kafka Streams has forgotten the window [20, 30] by now, from which this one is made.
    let left = Windowed::new("k".to_owned(), 30_000, 40_000);
    assert_eq!(driver.window(&COUNTS, &left).map(|row| row.value), Some(2));
}

#[test]
fn a_changelog_with_keys_of_no_window_is_named() {
    let app = App::new("app");
    let grouped = app.stream(&IN).group_by_key();
    let _ = grouped.clone().window(Tumbling::of(SECOND)).count(&COUNTS);
    let visits: StoreName<Windowed<String>, i64> = StoreName::new("visits");
    let _ = grouped.window(Session::gap(SECOND)).count(&visits);
    for topic in ["app-counts-changelog", "app-visits-changelog"] {
        let mut driver = TestDriver::new(&app);
        let record = RawRecord {
            key: Some(Bytes::from_static(b"short")),
            value: Some(Bytes::from_static(b"v")),
            ..RawRecord::default()
        };
        driver.try_pipe_raw(topic, record).unwrap();
        let restarted =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver.restart_without_state()));
        let refused = *restarted.unwrap_err().downcast::<String>().unwrap();
        assert!(
            refused.starts_with(&format!("{topic}-0, before offset 1: ")),
            "{refused}"
        );
    }
}

/// What Kafka Streams calls unlimited windows.
#[test]
fn a_window_without_end_takes_all_records() {
    let app = App::new("app");
    let grouped = app.stream(&IN).group_by_key();
    to_out(
        &grouped
            .window(Tumbling::of(std::time::Duration::MAX))
            .count(&COUNTS),
    );
    let mut t = TestDriver::new(&app);
    for at in [0, 5, 4_000_000_000_000, 7] {
        pipe(&mut t, "k", at);
        t.restart_without_state();
    }
    let counts: Vec<_> = t.read(&OUT).into_iter().map(|record| record.value).collect();
    assert_eq!(counts, [1, 2, 3, 4].map(Some));
}
