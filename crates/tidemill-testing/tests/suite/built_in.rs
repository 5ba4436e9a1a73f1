//! The aggregations and filters that everybody writes.

use tidemill_data::{Data, MINUTE, SECOND, StoreName, Topic, Windowed};
use tidemill_streams::{
    App, Average, Distinct, KGroupedStream, KTable, Policy, Session, SessionWindowedKStream, Top, Tumbling,
};
use tidemill_testing::{TestDriver, ms};

const IN: Topic<String, i64> = Topic::new("in");

fn check<A: Data + Clone + PartialEq + std::fmt::Debug>(
    aggregate: impl FnOnce(KGroupedStream<String, i64>, &StoreName<String, A>) -> KTable<String, A>,
    numbers: &[i64],
    expected: &A,
) {
    let store = StoreName::<String, A>::new("store");
    let app = App::new("app");
    aggregate(app.stream(&IN).group_by_key(), &store);
    let mut t = TestDriver::new(&app);
    for number in numbers {
        t.pipe(&IN, "k", *number, ms(1));
    }
    // What is read back has gone through its bytes.
    t.restart_without_state();
    assert_eq!(
        t.row(&store, "k".to_owned()).map(|row| row.value).as_ref(),
        Some(expected)
    );
}

#[test]
fn numbers_add_up_and_have_extremes() {
    check(|g, store| g.sum(store, |_, number| number), &[3, -1, 5], &7);
    check(|g, store| g.min(store, |_, number| number), &[3, -1, 5], &-1);
    check(|g, store| g.max(store, |_, number| number), &[3, -1, 5], &5);
    let half = |_: &String, number: i64| {
        if number == 0 {
            f64::NAN
        } else {
            number as f64 / 2.0
        }
    };
    check(move |g, store| g.max(store, half), &[3, 0, 5, 0], &2.5);
}

#[test]
fn a_mean_is_of_all_numbers() {
    let mut average = Average::default();
    assert_eq!(average.mean(), None);
    [3.0, -1.0, 4.0]
        .into_iter()
        .for_each(|number| average.add(number));
    assert_eq!((average.mean(), average.count()), (Some(2.0), 3));
    check(
        |g, store| g.avg(store, |_, number| number as f64),
        &[3, -1, 4],
        &average,
    );
}

#[test]
fn the_greatest_few_come_in_order() {
    let app = App::new("app");
    let store = StoreName::<String, Top<i64>>::new("store");
    app.stream(&IN)
        .group_by_key()
        .top_n(&store, 2, |_, number| number);
    let mut t = TestDriver::new(&app);
    for number in [1, 5, 3, 5] {
        t.pipe(&IN, "k", number, ms(1));
    }
    t.restart_without_state();
    assert_eq!(
        t.row(&store, "k".to_owned()).map(|row| row.value.into_items()),
        Some(vec![5, 5])
    );
}

#[test]
fn values_are_counted_once_each() {
    let app = App::new("app");
    let store = StoreName::<String, Distinct<i64>>::new("store");
    app.stream(&IN)
        .group_by_key()
        .distinct(&store, |_, number| number % 3);
    let mut t = TestDriver::new(&app);
    for number in [1, 2, 4, 5] {
        t.pipe(&IN, "k", number, ms(1));
    }
    t.restart_without_state();
    let distinct = t.row(&store, "k".to_owned()).expect("there are numbers").value;
    assert_eq!(
        (distinct.len(), distinct.iter().copied().collect::<Vec<_>>()),
        (2, vec![1, 2])
    );
}

#[test]
fn bytes_that_are_cut_off_are_errors() {
    for bytes in [
        &[0, 0, 0][..],
        &[0, 0, 0, 9, 1],
        &[255, 255, 255, 255],
        &[0, 0, 0, 1, 1],
    ] {
        assert!(Top::<i64>::decode(Some(bytes)).is_err(), "{bytes:?}");
        assert!(Distinct::<i64>::decode(Some(bytes)).is_err(), "{bytes:?}");
        assert!(Average::decode(Some(bytes)).is_err(), "{bytes:?}");
    }
}

#[test]
fn windows_have_sums_of_their_own() {
    const SUMS: StoreName<Windowed<String>, i64> = StoreName::new("sums");
    const OUT: Topic<String, i64> = Topic::new("out");
    let app = App::new("app");
    app.stream(&IN)
        .group_by_key()
        .window(Tumbling::of(MINUTE))
        .sum(&SUMS, |_, number| number)
        .to_stream()
        .map(|window, sum| (window.key, sum.unwrap_or_default()))
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    for (number, at) in [(1, 0), (2, 59_999), (4, 60_000)] {
        t.pipe(&IN, "k", number, ms(at));
    }
    let sums: Vec<i64> = t.read(&OUT).into_iter().map(|record| record.value).collect();
    assert_eq!(sums, [1, 3, 4]);
}

#[test]
fn what_came_before_is_left_out_for_a_while() {
    const SEEN: StoreName<i64, i64> = StoreName::new("seen");
    const OUT: Topic<String, i64> = Topic::new("out");
    let app = App::new("app");
    app.stream(&IN)
        .dedupe(&SEEN, |_, number| *number, 10 * SECOND)
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    for (number, at) in [
        (1, 0),
        (1, 9_999),
        (2, 9_999),
        (1, 10_000),
        (1, 10_001),
        (2, 19_998),
        (2, 19_999),
    ] {
        t.pipe(&IN, "k", number, ms(at));
    }
    let found: Vec<(i64, i64)> = t
        .read(&OUT)
        .into_iter()
        .map(|record| (record.value, record.timestamp.millis()))
        .collect();
    assert_eq!(found, [(1, 0), (2, 9_999), (1, 10_000), (2, 19_999)]);
}

/// What a session has after numbers at 0, 10, 30 and 40 s, of which the next, at 20 s, makes one of two.
fn check_session<A: Data + Clone + PartialEq + std::fmt::Debug>(
    aggregate: impl FnOnce(
        SessionWindowedKStream<String, i64>,
        &StoreName<Windowed<String>, A>,
    ) -> KTable<Windowed<String>, A>,
) -> A {
    let store = StoreName::<Windowed<String>, A>::new("store");
    let app = App::new("app");
    let sessions = app
        .stream(&IN)
        .group_by_key()
        .window(Session::gap(15 * SECOND).grace(MINUTE));
    aggregate(sessions, &store);
    let mut t = TestDriver::new(&app);
    for (at, number) in [(0, 4), (10_000, 1), (30_000, 7), (40_000, 1), (20_000, 2)] {
        t.pipe(&IN, "k", number, ms(at));
    }
    // What is read back has gone through its bytes.
    t.restart_without_state();
    let mut rows = t.windows(&store);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let (session, row) = rows.remove(0);
    assert_eq!((session.start_ms, session.end_ms), (0, 40_000));
    row.value
}

#[test]
fn sessions_that_become_one_keep_what_both_had() {
    assert_eq!(check_session(|s, store| s.sum(store, |_, n| n)), 15);
    assert_eq!(check_session(|s, store| s.min(store, |_, n| n)), 1);
    assert_eq!(check_session(|s, store| s.max(store, |_, n| n)), 7);
    let mean = check_session(|s, store| s.avg(store, |_, n| n as f64));
    assert_eq!((mean.mean(), mean.count()), (Some(3.0), 5));
    let top = check_session(|s, store| s.top_n(store, 3, |_, n| n));
    assert_eq!(top.items(), [7, 4, 2]);
    let distinct: Vec<i64> = check_session(|s, store| s.distinct(store, |_, n| n))
        .iter()
        .copied()
        .collect();
    assert_eq!(distinct, [1, 2, 4, 7]);
    assert_eq!(
        check_session(|s, store| s.try_reduce(store, |a, b| Ok(a * b))),
        56
    );
}

#[test]
fn a_session_stays_as_it_was_when_combining_or_merging_fails() {
    const STORE: StoreName<Windowed<String>, i64> = StoreName::new("store");
    let app = App::new("app");
    app.on_error(Policy::Skip);
    let sessions = app
        .stream(&IN)
        .group_by_key()
        .window(Session::gap(15 * SECOND).grace(MINUTE));
    sessions.try_reduce(&STORE, |a, b| a.checked_add(b).ok_or_else(|| "too large".into()));
    let mut t = TestDriver::new(&app);
    // The second cannot be added; the fourth would make one session of two that cannot be added up.
    for (at, number) in [(0, i64::MAX), (1_000, 1), (20_000, 2), (10_000, -5)] {
        t.pipe(&IN, "k", number, ms(at));
    }
    let rows: Vec<_> = t
        .windows(&STORE)
        .into_iter()
        .map(|(at, row)| (at.start_ms, at.end_ms, row.value))
        .collect();
    assert_eq!(rows, [(0, 0, i64::MAX), (20_000, 20_000, 2)]);
}
