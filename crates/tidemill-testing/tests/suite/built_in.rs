//! The aggregations and filters that everybody writes.

use tidemill_data::{Data, MINUTE, SECOND, StoreName, Topic, Windowed};
use tidemill_streams::{App, Average, Distinct, KGroupedStream, KTable, Top, Tumbling};
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
