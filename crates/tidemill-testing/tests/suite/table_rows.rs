//! Processors that look up rows of tables.

use tidemill_data::{BoxError, MINUTE, StoreName, Topic};
use tidemill_streams::{
    App, Clock, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KTable, Materialized, Policy, TableRows,
};
use tidemill_testing::{TestDriver, TestError, ms};

const ROWS: Topic<String, String> = Topic::new("rows");
const OTHERS: Topic<String, String> = Topic::new("others");
const DELETES: Topic<String, Option<String>> = Topic::new("rows");
const IN: Topic<String, i64> = Topic::new("in");
const OUT: Topic<String, String> = Topic::new("out");
const STORE: StoreName<String, String> = StoreName::new("store");

/// Says what the row of the record's key is: with a value that is not 0, what it was at that time.
struct Look(TableRows<String, String>);

impl FixedKeyProcessor<String, i64, String> for Look {
    fn process(
        &mut self,
        record: FixedKeyRecord<String, i64>,
        to: &mut ForwardValues<'_, String, String>,
    ) -> Result<(), BoxError> {
        let row = match record.value {
            0 => self.0.get_stamped(to, record.key())?,
            at => self.0.get_as_of(to, record.key(), ms(at))?,
        };
        let text = row.map_or("-".to_owned(), |row| format!("{} @{}", row.value, row.timestamp));
        to.forward(record.with_value(text));
        Ok(())
    }
}

fn driver(table: impl Fn(&App) -> KTable<String, String>) -> TestDriver {
    let app = App::new("app");
    let rows = table(&app).rows();
    app.stream(&IN).process_values_with(rows, Look).to(&OUT);
    TestDriver::new(&app)
}

fn asked(t: &mut TestDriver, at: i64, time: i64) -> String {
    t.pipe(&IN, "k", time, ms(at));
    t.read(&OUT).into_iter().map(|record| record.value).collect()
}

#[test]
fn rows_are_those_of_the_table_when_the_record_comes_after_restarts_too() {
    let mut t = driver(|app| app.table(&ROWS));
    assert_eq!(asked(&mut t, 1, 0), "-");
    t.pipe(&ROWS, "k", "a", ms(5));
    assert_eq!(asked(&mut t, 6, 0), "a @5");
    t.restart_without_state();
    assert_eq!(asked(&mut t, 7, 0), "a @5");
    t.restart();
    t.pipe(&ROWS, "k", "b", ms(8));
    assert_eq!(asked(&mut t, 9, 0), "b @8");
    t.pipe(&DELETES, "k", None, ms(10));
    assert_eq!(asked(&mut t, 11, 0), "-");
}

#[test]
fn rows_that_are_not_kept_are_made_of_those_they_come_from() {
    let mut t = driver(|app| {
        let left = app.table(&ROWS).map_values(|_, row| row.to_uppercase());
        let right = app.table(&OTHERS);
        left.left_join(&right, |_, left, right| left + &right.unwrap_or_default())
    });
    t.pipe(&ROWS, "k", "a", ms(5));
    assert_eq!(asked(&mut t, 6, 0), "A @5");
    t.pipe(&OTHERS, "k", "x", ms(7));
    t.restart_without_state();
    assert_eq!(asked(&mut t, 8, 0), "Ax @7");
}

#[test]
fn rows_of_versioned_tables_are_asked_for_as_of_a_time() {
    let mut t = driver(|app| app.table_versioned(&ROWS, &STORE, MINUTE));
    t.pipe(&ROWS, "k", "a", ms(5));
    t.pipe(&ROWS, "k", "b", ms(10));
    t.restart_without_state();
    let said = [4, 5, 9, 10].map(|time| asked(&mut t, 11, time));
    assert_eq!(said, ["-", "a @5", "a @5", "b @10"]);
}

#[test]
fn rows_whose_time_is_over_are_not_found() {
    let ttl = std::time::Duration::from_millis(10);
    let kept = || Materialized::from(&STORE).ttl(ttl, Clock::StreamTime);
    let mut t = driver(|app| app.table_as(&ROWS, kept()));
    t.pipe(&ROWS, "k", "a", ms(5));
    assert_eq!(asked(&mut t, 14, 0), "a @5");
    assert_eq!(asked(&mut t, 15, 0), "-");
}

#[test]
fn rows_of_global_tables_are_found_in_every_partition() {
    let app = App::new("app");
    let rows = app.global_table(&ROWS).rows();
    app.stream(&IN).process_values_with(rows, Look).to(&OUT);
    let mut t = TestDriver::with_partitions(&app, 4);
    t.pipe(&ROWS, "k", "a", ms(5));
    assert_eq!(asked(&mut t, 6, 0), "a @5");
    t.restart_without_state();
    assert_eq!(asked(&mut t, 7, 0), "a @5");
}

#[test]
fn rows_that_were_not_given_are_refused_by_the_tables_name() {
    let app = App::new("app");
    let rows = app.table(&ROWS).rows();
    app.on_error(Policy::Fail);
    app.stream(&IN)
        .process_values(move || Look(rows.clone()))
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    let record = tidemill_streams::Record::new("k".to_owned(), 0, ms(1));
    let error = t.try_pipe(&IN, record).expect_err("it is not connected");
    let said = error.to_string();
    assert!(said.contains("KTABLE-SOURCE-0000000002"), "{said}");
}

#[test]
fn the_streams_topic_and_the_tables_must_have_equal_partitions() {
    let app = App::new("app");
    let rows = app.table(&ROWS).rows();
    app.stream(&IN).process_values_with(rows, Look).to(&OUT);
    let opener = Box::new(|_, stores: &[String]| {
        Ok(std::sync::Arc::new(tidemill_store::MemoryByteStore::new(stores)) as std::sync::Arc<_>)
    });
    let error = TestDriver::try_new(&app, 1, &[("rows", 3)], opener).err();
    assert!(
        matches!(error, Some(TestError::NotCopartitioned { .. })),
        "{error:?}"
    );
}
