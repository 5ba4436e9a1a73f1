//! Tables whose values a transformer with stores makes anew.

use tidemill_data::{BoxError, MINUTE, StoreName, Topic};
use tidemill_streams::{
    App, KTable, KeyValues, Materialized, Policy, ProcessorContext, TableRows, ValueTransformer,
};
use tidemill_testing::{TestDriver, TestError, ms};

const ROWS: Topic<String, i64> = Topic::new("rows");
const DELETES: Topic<String, Option<i64>> = Topic::new("rows");
const OTHERS: Topic<String, i64> = Topic::new("others");
const OUT: Topic<String, Option<i64>> = Topic::new("out");
const SEEN: StoreName<String, i64> = StoreName::new("seen");
const MADE: StoreName<String, i64> = StoreName::new("made");
const SUMS: StoreName<String, i64> = StoreName::new("sums");

/// A value plus 100 for each change that its key has seen, deletions too; a value of 7 fails, one of 9 makes no row.
struct Numbered(KeyValues<String, i64>);

impl ValueTransformer<String, i64, i64> for Numbered {
    fn transform(
        &mut self,
        key: &String,
        value: Option<i64>,
        at: &mut ProcessorContext<'_>,
    ) -> Result<Option<i64>, BoxError> {
        let seen = self.0.get(at, key)?.unwrap_or(0) + 1;
        self.0.put(at, key, &seen)?;
        match value {
            Some(7) => Err("seven".into()),
            Some(9) | None => Ok(None),
            Some(value) => Ok(Some(100 * seen + value)),
        }
    }
}

fn numbered(app: &App) -> KTable<String, i64> {
    let seen = app.key_values(&SEEN);
    app.table(&ROWS).transform_values(seen, Numbered)
}

fn numbered_as(app: &App, kept: impl Into<Materialized<String, i64>>) -> KTable<String, i64> {
    let seen = app.key_values(&SEEN);
    app.table(&ROWS).transform_values_as(kept, seen, Numbered)
}

fn out(t: &mut TestDriver) -> Vec<Option<i64>> {
    t.read(&OUT).into_iter().map(|record| record.value).collect()
}

#[test]
fn each_change_is_made_anew_and_deletions_are_seen_after_restarts_too() {
    let app = App::new("app");
    numbered(&app).to_stream().to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&ROWS, "a", 1, ms(1));
    t.pipe(&DELETES, "a", None, ms(2));
    t.restart_without_state();
    t.pipe(&ROWS, "a", 2, ms(3));
    t.restart();
    t.pipe(&ROWS, "a", 9, ms(4));
    t.pipe(&ROWS, "b", 3, ms(5));
    assert_eq!(out(&mut t), [Some(101), None, Some(302), None, Some(103)]);
    let stores: Vec<String> = t
        .topics()
        .into_iter()
        .filter(|topic| topic.contains("changelog"))
        .collect();
    assert_eq!(
        stores,
        ["app-seen-changelog"],
        "nobody needs the rows, so they are not kept"
    );
}

#[test]
fn kept_rows_can_be_read_and_come_back() {
    let app = App::new("app");
    numbered_as(&app, &MADE).to_stream().to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&ROWS, "a", 1, ms(1));
    t.pipe(&ROWS, "b", 1, ms(2));
    t.pipe(&DELETES, "b", None, ms(3));
    t.restart_without_state();
    let rows = t.rows(&MADE);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].1.value, rows[0].1.timestamp), (101, ms(1)));
}

/// What a sum over all rows is after each change: wrong as soon as an old value is not the one that was handed on.
fn sums(made: impl Fn(&App) -> KTable<String, i64>) {
    let app = App::new("app");
    let _ = made(&app).group_by(|_, value| ("all".to_owned(), value)).reduce(
        &SUMS,
        |sum, value| sum + value,
        |sum, value| sum - value,
    );
    let mut t = TestDriver::new(&app);
    let sum = |t: &mut TestDriver| t.row(&SUMS, "all").map(|row| row.value);
    t.pipe(&ROWS, "a", 1, ms(1));
    t.pipe(&ROWS, "a", 2, ms(2));
    assert_eq!(sum(&mut t), Some(202));
    t.restart_without_state();
    t.pipe(&ROWS, "b", 5, ms(3));
    t.pipe(&ROWS, "a", 3, ms(4));
    assert_eq!(sum(&mut t), Some(303 + 105));
    t.pipe(&DELETES, "a", None, ms(5));
    assert_eq!(sum(&mut t), Some(105));
}

#[test]
fn old_values_are_those_handed_on_whether_rows_are_named_or_not() {
    sums(numbered);
    sums(|app| numbered_as(app, &MADE));
    sums(|app| numbered_as(app, Materialized::unnamed()));
}

#[test]
fn a_join_looks_up_rows_as_they_were_made() {
    let app = App::new("app");
    let others = app.table(&OTHERS);
    let joined = numbered(&app).join(&others, |_, made, other| made + other);
    joined.to_stream().to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&ROWS, "a", 1, ms(1));
    t.pipe(&OTHERS, "a", 1_000, ms(2));
    t.restart_without_state();
    t.pipe(&OTHERS, "a", 2_000, ms(3));
    t.pipe(&ROWS, "a", 1, ms(4));
    assert_eq!(out(&mut t), [Some(1_101), Some(2_101), Some(2_201)]);
}

#[test]
fn a_change_that_fails_goes_no_further() {
    let app = App::new("app");
    let _ = numbered_as(&app, &MADE).on_error(Policy::Skip);
    let mut t = TestDriver::new(&app);
    t.pipe(&ROWS, "a", 1, ms(1));
    t.pipe(&ROWS, "a", 7, ms(2));
    assert_eq!(t.row(&MADE, "a").map(|row| row.value), Some(101));
    let failures = t.take_failures();
    assert_eq!(failures.len(), 1);
    assert!(
        failures[0].operator.starts_with("KTABLE-TRANSFORMVALUES-"),
        "{}",
        failures[0]
    );
}

#[test]
fn changes_of_the_past_do_not_touch_rows_of_which_only_the_latest_is_kept() {
    let app = App::new("app");
    let seen = app.key_values(&SEEN);
    let versions = app.table_versioned(&ROWS, &StoreName::new("versions"), MINUTE);
    let _ = versions.transform_values_as(&MADE, seen, Numbered);
    let mut t = TestDriver::new(&app);
    t.pipe(&ROWS, "a", 2, ms(20));
    t.pipe(&ROWS, "a", 1, ms(10));
    assert_eq!(t.row(&MADE, "a").map(|row| row.value), Some(102));
}

/// What the row of another table is, beside the value.
struct Beside(TableRows<String, i64>);

impl ValueTransformer<String, i64, i64> for Beside {
    fn transform(
        &mut self,
        key: &String,
        value: Option<i64>,
        at: &mut ProcessorContext<'_>,
    ) -> Result<Option<i64>, BoxError> {
        let other = self.0.get(at, key)?.unwrap_or(0);
        Ok(value.map(|value| value + other))
    }
}

#[test]
fn rows_of_other_tables_can_be_looked_up() {
    let app = App::new("app");
    let others = app.table(&OTHERS).rows();
    app.table(&ROWS)
        .transform_values(others, Beside)
        .to_stream()
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&OTHERS, "a", 50, ms(1));
    t.pipe(&ROWS, "a", 1, ms(2));
    assert_eq!(out(&mut t), [Some(51)]);
}

#[test]
fn a_store_that_the_transformer_was_not_given_is_refused() {
    let app = App::new("app");
    let seen = app.key_values(&SEEN);
    let _ = app
        .table(&ROWS)
        .transform_values_as(&MADE, (), move |()| Numbered(seen.clone()));
    let mut t = TestDriver::new(&app);
    let error = t
        .try_pipe(&ROWS, tidemill_streams::Record::new("a".to_owned(), 1, ms(1)))
        .unwrap_err();
    assert!(matches!(error, TestError::Task(_)), "{error}");
}
