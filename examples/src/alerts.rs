//! When does a machine become too busy, and when is it well again? One message for each crossing of the line.

use std::fmt::Write as _;

use anyhow::Result;
use tidemill::prelude::*;
use tidemill::streams::{Average, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};

use crate::{Run, sample::START_MS};

/// How busy a machine is, from 0 to 1.
pub const LOADS: Topic<String, f64> = Topic::new("loads");
/// What is told.
pub const ALERTS: Topic<String, String> = Topic::new("alerts");

/// The mean of each machine and minute.
pub const MEANS: StoreName<Windowed<String>, Average> = StoreName::new("mean-loads");
/// The machines above the line.
pub const BUSY: StoreName<String, f64> = StoreName::new("busy");

/// The line.
const BUSY_FROM: f64 = 0.9;

/// The program.
pub fn compose() -> App {
    let app = App::new("alerts");
    let busy = app.key_values(&BUSY);
    app.stream(&LOADS)
        .group_by_key()
        .window(Tumbling::of(MINUTE).grace(10 * SECOND))
        .emit_on_close()
        .avg(&MEANS, |_, load| load)
        .to_stream()
        .map(|window, average| {
            (
                window.key,
                average.and_then(|average| average.mean()).unwrap_or(0.0),
            )
        })
        .process_values_with(busy, Crossing)
        .to(&ALERTS);
    app
}

/// Says something only when a machine crosses the line.
struct Crossing(KeyValues<String, f64>);

impl FixedKeyProcessor<String, f64, String> for Crossing {
    fn process(
        &mut self,
        mean: FixedKeyRecord<String, f64>,
        to: &mut ForwardValues<'_, String, String>,
    ) -> Result<(), BoxError> {
        let (machine, load) = (mean.key().clone(), mean.value);
        let was_busy = self.0.get(to, &machine)?.is_some();
        match (was_busy, load >= BUSY_FROM) {
            (false, true) => {
                self.0.put(to, &machine, &load)?;
                to.forward(mean.with_value(format!("{machine} is busy: {load:.2}")));
            }
            (true, false) => {
                self.0.delete(to, &machine)?;
                to.forward(mean.with_value(format!("{machine} is well again: {load:.2}")));
            }
            (true, true) | (false, false) => {}
        }
        Ok(())
    }
}

/// Runs the program over [`SAMPLE`], and says what it told.
pub async fn run() -> Result<String> {
    let mut report = String::new();
    let run = Run::start(&compose(), &[]).await?;
    for (second, load) in SAMPLE {
        writeln!(report, "second {second:>3}: load {load}")?;
        let measured = Produced::to(&LOADS, &"mill".to_owned(), &load)?;
        run.send([Ok(measured.timestamp(START_MS + second * 1_000))])
            .await?;
    }
    run.processed().await?;
    writeln!(report, "\nalerts (topic {})", ALERTS.name())?;
    for record in run.records(ALERTS.name()).await? {
        let (_, told) = record.decode(&ALERTS)?;
        writeln!(
            report,
            "  second {}: {told}",
            (record.timestamp - START_MS) / 1_000
        )?;
    }
    run.stop().await?;
    Ok(report)
}

/// Loads of one machine, by second.
pub const SAMPLE: [(i64, f64); 9] = [
    (5, 0.3),
    (35, 0.5),
    (65, 0.95),
    (95, 0.91),
    (125, 0.99),
    (155, 0.97),
    (185, 0.2),
    (215, 0.4),
    (320, 0.1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    #[test]
    fn each_crossing_is_told_once_also_over_a_restart() {
        let mut t = TestDriver::new(&compose());
        for (second, load) in SAMPLE {
            t.pipe(&LOADS, "mill", load, ms(second * 1_000));
            t.restart();
        }
        let told: Vec<String> = t.read(&ALERTS).into_iter().map(|record| record.value).collect();
        assert_eq!(told, ["mill is busy: 0.93", "mill is well again: 0.30"]);
    }
}
