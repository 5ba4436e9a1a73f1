//! Times of records that a closure may refuse.

use tidemill_data::{StoreName, Timestamp, Topic};
use tidemill_streams::{
    App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Pattern, Policy, ReadOnlyKeyValues, Record,
};
use tidemill_testing::{TestDriver, ms};

const IN: Topic<String, i64> = Topic::new("in");
const OUT: Topic<String, i64> = Topic::new("out");

/// The value is the time; those below zero are none.
fn time(record: &Record<String, i64>) -> Result<Timestamp, tidemill_data::BoxError> {
    match record.value {
        13 => panic!("thirteen"),
        value if value < 0 => Err("before all times".into()),
        value => Ok(ms(value)),
    }
}

fn times(t: &mut TestDriver) -> Vec<i64> {
    t.read(&OUT)
        .into_iter()
        .map(|record| record.timestamp.millis())
        .collect()
}

#[test]
fn a_record_that_is_refused_stops_the_program_and_is_named() {
    let app = App::new("app");
    app.try_timestamps_of(&IN, time);
    app.stream(&IN).to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "a", 50, ms(1));
    let error = t
        .try_pipe(&IN, Record::new("a".to_owned(), -5, ms(2)))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("in-0@1") && error.contains("before all times"),
        "{error}"
    );
}

#[test]
fn records_that_are_refused_are_skipped_after_restarts_too() {
    let app = App::new("app");
    app.try_timestamps_of(&IN, time);
    app.stream(&IN).on_error(Policy::Skip).to(&OUT);
    let mut t = TestDriver::new(&app);
    for value in [50, -5, 13, 60] {
        t.pipe(&IN, "a", value, ms(1));
    }
    assert_eq!(t.take_failures().len(), 2);
    t.restart_without_state();
    t.pipe(&IN, "a", -6, ms(1));
    t.pipe(&IN, "a", 70, ms(1));
    assert_eq!(times(&mut t), [50, 60, 70]);
    assert_eq!(t.take_failures().len(), 1);
}

#[test]
fn topics_of_a_pattern_refuse_too() {
    let app = App::new("app");
    let pattern = Pattern::<String, i64>::new(|topic| topic == "in").try_timestamps(time);
    app.stream_of_pattern(pattern).on_error(Policy::Skip).to(&OUT);
    app.resolve(&["in"]);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "a", -5, ms(1));
    t.pipe(&IN, "a", 60, ms(1));
    assert_eq!(times(&mut t), [60]);
}

struct Look(ReadOnlyKeyValues<String, i64>);

impl FixedKeyProcessor<String, i64, i64> for Look {
    fn process(
        &mut self,
        asked: FixedKeyRecord<String, i64>,
        to: &mut ForwardValues<'_, String, i64>,
    ) -> Result<(), tidemill_data::BoxError> {
        let value = self.0.get(to, asked.key())?.unwrap_or(0);
        to.forward(asked.with_value(value));
        Ok(())
    }
}

#[test]
fn what_is_refused_gets_into_no_store_of_the_topic_restored_or_not() {
    const ASKED: Topic<String, i64> = Topic::new("asked");
    const ROWS: StoreName<String, i64> = StoreName::new("rows");
    const SUMS: StoreName<String, i64> = StoreName::new("sums");
    let app = App::new("app");
    app.on_error(Policy::Skip);
    app.try_timestamps_of(&IN, time);
    let rows = app.read_only_state_store(&IN, &ROWS);
    let _ = app.global_store(&IN, &SUMS, |record, rows| {
        let sum = rows.get(&record.key)?.unwrap_or(0);
        rows.put(&record.key, &(sum + record.value))
    });
    app.stream(&ASKED).process_values_with(rows, Look).to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "a", 50, ms(1));
    t.pipe(&IN, "a", -5, ms(1));
    for lost in [false, true] {
        if lost {
            t.restart_without_state();
        }
        t.pipe(&ASKED, "a", 0, ms(100));
        let seen: Vec<i64> = t.read(&OUT).into_iter().map(|record| record.value).collect();
        assert_eq!(seen, [50]);
        assert_eq!(
            t.row(&SUMS, "a").map(|row| (row.value, row.timestamp)),
            Some((50, ms(50)))
        );
    }
}
