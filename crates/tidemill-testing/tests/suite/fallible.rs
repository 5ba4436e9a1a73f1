//! Every operator that runs user code has a form whose closure may fail: the policy decides, and state stays as it was.

use tidemill_data::{BoxError, Headers, StoreName, Topic};
use tidemill_streams::{App, KStream, KTable, Policy, Record};
use tidemill_testing::{TestDriver, ms};

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<String, Option<i64>> = Topic::new("out");
const ROWS: StoreName<String, i64> = StoreName::new("rows");

fn number(text: &str) -> Result<i64, BoxError> {
    Ok(text.parse()?)
}

/// Runs values through a program that skips failures; gives what came out, and how many failed.
fn check(compose: impl FnOnce(&App), values: &[&str], expected: &[Option<i64>], failed: usize) {
    let app = App::new("app");
    app.on_error(Policy::Skip);
    compose(&app);
    let mut t = TestDriver::new(&app);
    for (at, value) in values.iter().enumerate() {
        let record = Record {
            key: "k".to_owned(),
            value: (*value).to_owned(),
            timestamp: ms(at as i64),
            headers: Headers::new(),
        };
        t.try_pipe(&IN, record).expect("skipping stops nothing");
    }
    let found: Vec<Option<i64>> = t.read(&OUT).into_iter().map(|record| record.value).collect();
    assert_eq!(found, expected);
    assert_eq!(t.take_failures().len(), failed);
}

fn stream(compose: impl FnOnce(KStream<String, String>) -> KStream<String, String>) {
    let compose = |app: &App| {
        compose(app.stream(&IN))
            .map_values(|text| text.parse().ok())
            .to(&OUT);
    };
    check(compose, &["1", "x", "2"], &[Some(1), Some(2)], 1);
}

fn table(compose: impl FnOnce(KTable<String, String>) -> KTable<String, i64>, expected: &[Option<i64>]) {
    let compose = |app: &App| compose(app.table(&IN)).to_stream().to(&OUT);
    check(compose, &["1", "x", "2"], expected, 1);
}

#[test]
fn streams_go_on_after_the_record_that_failed() {
    stream(|s| s.try_filter(|_, text| Ok(number(text)? > 0)));
    stream(|s| s.try_map(|key, text| Ok((key, number(&text)?.to_string()))));
    stream(|s| s.try_map_values(|text| Ok(number(&text)?.to_string())));
    stream(|s| s.try_map_values_with_key(|_, text| Ok(number(&text)?.to_string())));
    stream(|s| s.try_flat_map(|key, text| Ok([(key, number(&text)?.to_string())])));
    stream(|s| s.try_flat_map_values(|text| Ok([number(&text)?.to_string()])));
    stream(|s| s.try_select_key(|_, text| Ok(number(text)?.to_string())));
    stream(|s| s.try_peek(|_, text| number(text).map(|_| ())));
    stream(|s| s.try_map_record(|record| number(&record.value).map(|_| record)));
    stream(|s| s.split().try_branch(|_, text| Ok(number(text)? > 0)));
    stream(|s| {
        s.split_as("b-")
            .try_branch_as("one", |_, text| Ok(number(text)? > 0))
    });
}

#[test]
fn a_record_that_fails_in_a_branch_goes_to_no_other() {
    let compose = |app: &App| {
        let mut split = app.stream(&IN).split();
        let _ = split.try_branch(|_, text| Ok(number(text)? > 5));
        split
            .default_branch()
            .map_values(|text| text.parse().ok())
            .to(&OUT);
    };
    check(compose, &["7", "x", "2"], &[Some(2)], 1);
}

#[test]
fn the_end_of_a_stream_may_fail() {
    let compose = |app: &App| app.stream(&IN).try_for_each(|_, text| number(&text).map(|_| ()));
    check(compose, &["1", "x", "2"], &[], 1);
}

#[test]
fn aggregations_keep_the_row_that_a_failure_was_about_to_change() {
    let sums: &[Option<i64>] = &[Some(1), Some(3)];
    let rows = |compose: fn(KStream<String, String>) -> KTable<String, i64>| {
        check(
            |app| compose(app.stream(&IN)).to_stream().to(&OUT),
            &["1", "x", "2"],
            sums,
            1,
        );
    };
    rows(|s| {
        s.group_by_key().try_aggregate(&ROWS, |_, text, sum| {
            *sum += 1_000;
            *sum += number(&text)? - 1_000;
            Ok(())
        })
    });
    rows(|s| {
        s.group_by_key().try_aggregate_option(
            &ROWS,
            || Some(0),
            |_, text, sum| Ok(Some(sum.unwrap_or(0) + number(&text)?)),
        )
    });
    rows(|s| {
        s.try_group_by(|_, text| number(text).map(|_| "all".to_owned()))
            .aggregate(&ROWS, |_, text, sum| {
                *sum += text.parse::<i64>().expect("it was a number before")
            })
    });
    let compose = |app: &App| {
        app.stream(&IN)
            .map_values(|text| text.parse::<i64>().unwrap_or(-1))
            .group_by_key()
            .try_reduce(
                &ROWS,
                |a, b| if b < 0 { Err("negative".into()) } else { Ok(a + b) },
            )
            .to_stream()
            .to(&OUT);
    };
    check(compose, &["1", "x", "2"], sums, 1);
}

#[test]
fn tables_keep_the_row_of_a_change_that_failed() {
    let each: &[Option<i64>] = &[Some(1), Some(2)];
    table(|t| t.try_map_values(|_, text| number(&text)), each);
    table(|t| t.try_map_values_as(&ROWS, |_, text| number(&text)), each);
    let parsed = |_: &String, text: String| text.parse().unwrap_or(-1);
    table(
        move |t| t.try_filter(|_, text| Ok(number(text)? > 0)).map_values(parsed),
        each,
    );
    const TEXTS: StoreName<String, String> = StoreName::new("texts");
    table(
        move |t| {
            t.try_filter_as(&TEXTS, |_, text| Ok(number(text)? > 0))
                .map_values(parsed)
        },
        each,
    );
}

#[test]
fn groups_of_tables_keep_the_row_of_a_change_that_failed() {
    let all = |_: &String, text: String| ("all".to_owned(), text.parse().unwrap_or(-1));
    let checked = |sum: i64, new: i64| {
        if new < 0 {
            Err("negative".into())
        } else {
            Ok(sum + new)
        }
    };
    // The row that could not be added is not there to be subtracted, but its subtraction is.
    table(
        move |t| {
            t.group_by(all)
                .try_reduce(&ROWS, checked, |sum, old| Ok(sum - old))
        },
        &[Some(1), Some(4)],
    );
    table(
        move |t| {
            let add = move |_: &String, new: i64, sum: &mut i64| {
                *sum = checked(*sum, new)?;
                Ok(())
            };
            let subtract = |_: &String, old: i64, sum: &mut i64| {
                *sum -= old;
                Ok(())
            };
            t.group_by(all).try_aggregate(&ROWS, add, subtract)
        },
        &[Some(1), Some(4)],
    );
    // A new value that names no group leaves its old one; an old value that named none has nothing to leave.
    let compose = |app: &App| {
        app.table(&IN)
            .try_group_by(|_, text| Ok(("all".to_owned(), number(&text)?)))
            .reduce(&ROWS, |sum, new| sum + new, |sum, old| sum - old)
            .to_stream()
            .to(&OUT);
    };
    check(compose, &["1", "x", "2"], &[Some(1), Some(0), Some(2)], 2);
}

#[test]
fn joins_with_a_table_go_on_after_the_record_that_failed() {
    for left in [false, true] {
        let compose = |app: &App| {
            let table = app.table(&Topic::<String, String>::new("cities"));
            let texts = app.stream(&IN);
            let joined = if left {
                texts.try_left_join_table(&table, |_, text, _| Ok(Some(number(&text)?)))
            } else {
                texts.try_join_table(&table, |_, text, _| Ok(Some(number(&text)?)))
            };
            joined.to(&OUT);
        };
        if left {
            check(compose, &["1", "x", "2"], &[Some(1), Some(2)], 1);
        } else {
            check(compose, &["1", "x", "2"], &[], 0);
        }
    }
}
