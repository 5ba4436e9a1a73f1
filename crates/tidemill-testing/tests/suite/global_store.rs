//! Global stores that a function of the program fills.

use tidemill_data::{BoxError, Headers, StoreName, Timestamp, Topic};
use tidemill_streams::{
    App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, GlobalKTable, GlobalStoreRows, Policy,
    Record, TableRows,
};
use tidemill_testing::{TestDriver, TestError, ms};

const SALES: Topic<String, Option<i64>> = Topic::new("sales");
const TEXTS: Topic<String, String> = Topic::new("sales");
const ASKED: Topic<String, i64> = Topic::new("asked");
const OUT: Topic<String, String> = Topic::new("out");
const SUMS: StoreName<i64, i64> = StoreName::new("sums");

/// What was sold in shops by the length of their names; a sale of none closes the shops of that length, one below
/// zero all shops up to it.
fn sold(sale: Record<String, Option<i64>>, rows: &mut GlobalStoreRows<'_, i64, i64>) -> Result<(), BoxError> {
    let length = i64::try_from(sale.key.len())?;
    match sale.value {
        None => rows.delete(&length),
        Some(7) => Err("seven".into()),
        Some(below) if below < 0 => {
            let closed: Result<Vec<_>, _> = rows.range(..length, Direction::Forward)?.collect();
            for (length, _) in closed? {
                rows.delete(&length)?;
            }
            Ok(())
        }
        Some(value) => {
            let sum = rows.get(&length)?.unwrap_or(0);
            rows.put(&length, &(sum + value))
        }
    }
}

/// Says what the row of the record's value is.
struct Look(TableRows<i64, i64>);

impl FixedKeyProcessor<String, i64, String> for Look {
    fn process(
        &mut self,
        asked: FixedKeyRecord<String, i64>,
        to: &mut ForwardValues<'_, String, String>,
    ) -> Result<(), BoxError> {
        let row = self.0.get_stamped(to, &asked.value)?;
        let text = row.map_or("-".to_owned(), |row| format!("{} @{}", row.value, row.timestamp));
        to.forward(asked.with_value(text));
        Ok(())
    }
}

fn app() -> (App, GlobalKTable<i64, i64>) {
    let app = App::new("app");
    let sums = app.global_store(&SALES, &SUMS, sold);
    app.stream(&ASKED).process_values_with(sums.rows(), Look).to(&OUT);
    (app, sums)
}

fn asked(t: &mut TestDriver, length: i64) -> String {
    t.pipe(&ASKED, "k", length, ms(100));
    t.read(&OUT).into_iter().map(|record| record.value).collect()
}

fn sums(t: &mut TestDriver) -> Vec<(i64, i64)> {
    t.rows(&SUMS)
        .into_iter()
        .map(|(key, row)| (key, row.value))
        .collect()
}

#[test]
fn rows_are_what_the_function_makes_on_each_instance_and_of_all_partitions() {
    let (app, _) = app();
    let mut t = TestDriver::with_partitions(&app, 3);
    for (at, shop) in ["ulm", "bonn", "jena", "aue", "hof", "gera"]
        .into_iter()
        .enumerate()
    {
        t.pipe(&SALES, shop, Some(1), ms(i64::try_from(at).unwrap()));
    }
    assert_eq!(sums(&mut t), [(3, 3), (4, 3)]);
    assert_eq!(asked(&mut t, 4), "3 @5");
    // The topic goes through the function again: its records are no rows.
    t.restart_without_state();
    assert_eq!(sums(&mut t), [(3, 3), (4, 3)]);
    assert_eq!(asked(&mut t, 3).split(' ').next(), Some("3"));
    t.restart();
    t.pipe(&SALES, "bonn", Some(10), ms(9));
    assert_eq!(asked(&mut t, 4), "13 @9");
    assert!(t.topics().iter().all(|topic| !topic.contains("changelog")));
}

#[test]
fn the_function_deletes_rows_one_by_one_and_of_a_range() {
    let (app, _) = app();
    let mut t = TestDriver::new(&app);
    for shop in ["a", "ab", "abc", "abcd"] {
        t.pipe(&SALES, shop, Some(1), ms(1));
    }
    t.pipe(&SALES, "ab", None, ms(2));
    assert_eq!(sums(&mut t), [(1, 1), (3, 1), (4, 1)]);
    t.pipe(&SALES, "xyz", Some(-1), ms(3));
    assert_eq!(sums(&mut t), [(3, 1), (4, 1)]);
    assert_eq!(asked(&mut t, 1), "-");
    t.restart_without_state();
    assert_eq!(sums(&mut t), [(3, 1), (4, 1)]);
}

#[test]
fn streams_join_it_as_a_global_table() {
    let (app, table) = app();
    const JOINED: Topic<String, i64> = Topic::new("joined");
    app.stream(&ASKED)
        .join_global(&table, |_, length| *length, |_, _, sum| sum)
        .to(&JOINED);
    let mut t = TestDriver::new(&app);
    t.pipe(&SALES, "ulm", Some(5), ms(1));
    t.pipe(&ASKED, "k", 3, ms(2));
    t.pipe(&ASKED, "k", 4, ms(3));
    let joined: Vec<i64> = t.read(&JOINED).into_iter().map(|record| record.value).collect();
    assert_eq!(joined, [5]);
}

#[test]
fn what_fails_is_for_the_policy_when_restoring_too() {
    let (app, _) = app();
    app.on_error(Policy::Skip);
    let mut t = TestDriver::new(&app);
    t.pipe(&SALES, "ulm", Some(1), ms(1));
    t.pipe(&SALES, "ulm", Some(7), ms(2));
    t.pipe(&TEXTS, "ulm", "no number", ms(3));
    t.pipe(&SALES, "ulm", Some(1), ms(4));
    assert_eq!(sums(&mut t), [(3, 2)]);
    t.restart_without_state();
    assert_eq!(sums(&mut t), [(3, 2)]);
}

#[test]
fn a_failure_names_the_operator_and_the_record() {
    let (app, _) = app();
    let mut t = TestDriver::new(&app);
    let error = t
        .try_pipe(&SALES, Record::new("ulm".to_owned(), Some(7), ms(2)))
        .unwrap_err();
    assert!(matches!(error, TestError::Task(_)), "{error}");
    let error = error.to_string();
    assert!(
        error.contains("KTABLE-SOURCE-") && error.contains("sales-0@0") && error.contains("seven"),
        "{error}"
    );
}

#[test]
fn rows_have_the_time_and_the_headers_that_the_program_gives_the_record() {
    let (app, _) = app();
    app.preserve_headers();
    app.timestamps_of(&SALES, |sale| {
        sale.value.map(|value| Timestamp::from_millis(1_000 + value))
    });
    let mut t = TestDriver::new(&app);
    t.pipe(&SALES, "ulm", Some(5), ms(1));
    assert_eq!(asked(&mut t, 3), "5 @1005");
}

/// Says what the headers of the row of the record's value are.
struct Tags(TableRows<i64, i64>);

impl FixedKeyProcessor<String, i64, String> for Tags {
    fn process(
        &mut self,
        asked: FixedKeyRecord<String, i64>,
        to: &mut ForwardValues<'_, String, String>,
    ) -> Result<(), BoxError> {
        let headers = self.0.headers(to, &asked.value)?;
        let text = headers.iter().map(|header| header.name.to_string()).collect();
        to.forward(asked.with_value(text));
        Ok(())
    }
}

#[test]
fn rows_keep_the_headers_of_the_record_where_they_are_preserved() {
    for (preserved, expected) in [(true, "from"), (false, "")] {
        let app = App::new("app");
        if preserved {
            app.preserve_headers();
        }
        let sums = app.global_store(&SALES, &SUMS, sold);
        app.stream(&ASKED).process_values_with(sums.rows(), Tags).to(&OUT);
        let mut t = TestDriver::new(&app);
        let headers = Headers::new().with("from", "ulm");
        let sale = Record {
            headers,
            ..Record::new("ulm".to_owned(), Some(5), ms(1))
        };
        t.try_pipe(&SALES, sale).unwrap();
        assert_eq!(asked(&mut t, 3), expected);
    }
}

#[test]
fn two_stores_may_be_filled_from_one_topic() {
    const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    let (app, _) = app();
    let _ = app.global_store(&SALES, &COUNTS, |sale, rows| {
        let count = rows.get(&sale.key)?.unwrap_or(0);
        rows.put(&sale.key, &(count + 1))
    });
    let mut t = TestDriver::new(&app);
    t.pipe(&SALES, "ulm", Some(5), ms(1));
    t.pipe(&SALES, "ulm", Some(5), ms(2));
    assert_eq!(sums(&mut t), [(3, 10)]);
    assert_eq!(t.rows(&COUNTS)[0].1.value, 2);
}
