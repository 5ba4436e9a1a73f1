//! Records a second through `TestDriver`: the operators and the state alone.

use std::time::Instant;

use anyhow::Result;
use tidemill::prelude::*;
use tidemill_testing::{TestDriver, at};

use crate::table::{Asked, Table};

const RECORDS: u64 = 1_000_000;
const KEYS: u64 = 1_000;
const WORDS: Topic<String, i64> = Topic::new("words");
const COUNTED: Topic<String, Option<i64>> = Topic::new("counted");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");

pub(super) fn measure(table: &mut Table) -> Result<()> {
    let app = App::new("driver");
    app.stream(&WORDS)
        .filter(|_, number| *number % 10 != 0)
        .map(|word, number| (word, number + 1))
        .group_by_key()
        .count(&COUNTS)
        .to_stream()
        .to(&COUNTED);
    let mut driver = TestDriver::new(&app);
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key-{key}")).collect();
    let begin = Instant::now();
    for (number, key) in (0..RECORDS).zip(keys.iter().cycle()) {
        driver.pipe(&WORDS, key.clone(), i64::try_from(number)?, at("10:00"));
    }
    let seconds = begin.elapsed().as_secs_f64();
    table.measured(
        "TestDriver, filter-map-count, records/s",
        RECORDS as f64 / seconds / 1e6,
        f64::NAN,
        "M/s",
        Asked::AtLeast(1.0),
    );
    Ok(())
}
