//! Which orders are paid? Payments come late, and some never.

use std::{fmt::Write as _, time::Duration};

use anyhow::Result;
use tidemill::prelude::*;

use crate::{Run, sample::START_MS};

/// What was ordered, by the order's number.
pub const ORDERS: Topic<String, String> = Topic::new("orders");
/// What was paid, in cents, by the order's number.
pub const PAYMENTS: Topic<String, i64> = Topic::new("payments");
/// Each order with its payment, or that there is none.
pub const OUTCOMES: Topic<String, String> = Topic::new("outcomes");

/// The program: a payment counts that is made within an hour of its order, also if it arrives ten minutes late.
pub fn compose() -> App {
    let app = App::new("payments");
    let window = JoinWindow::within(HOUR).before(Duration::ZERO).grace(10 * MINUTE);
    app.stream(&ORDERS)
        .left_join(app.stream(&PAYMENTS), window, |_, order, paid| match paid {
            Some(cents) => format!("{order}: {}.{:02} paid", cents / 100, cents % 100),
            None => format!("{order}: not paid"),
        })
        .to(&OUTCOMES);
    app
}

/// Runs the program over [`SAMPLE`], and tells what became of each order.
pub async fn run() -> Result<String> {
    let mut report = String::new();
    let run = Run::start(&compose(), &[]).await?;
    for (minute, number, event) in SAMPLE {
        let number = number.to_owned();
        let record = match event {
            Event::Ordered(what) => Produced::to(&ORDERS, &number, &what.to_owned())?,
            Event::Paid(cents) => Produced::to(&PAYMENTS, &number, &cents)?,
        };
        writeln!(report, "minute {minute:>3}, order {number}: {event:?}")?;
        run.send([Ok(record.timestamp(START_MS + minute * 60_000))])
            .await?;
    }
    run.processed().await?;
    writeln!(report, "\noutcomes (topic {})", OUTCOMES.name())?;
    for (number, outcome) in run.read(&OUTCOMES).await? {
        writeln!(report, "  order {number}: {outcome}")?;
    }
    writeln!(report, "order 5 has time left, so nothing is said about it")?;
    run.stop().await?;
    Ok(report)
}

/// What happens to an order.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// It is made, of this.
    Ordered(&'static str),
    /// It is paid, in cents.
    Paid(i64),
}

/// Events by minute, in the order in which they arrive: the payment of order 3 is made in time, and comes late.
pub const SAMPLE: [(i64, &str, Event); 7] = [
    (0, "1", Event::Ordered("a sieve")),
    (5, "2", Event::Ordered("a millstone")),
    (10, "3", Event::Ordered("a sack")),
    (20, "1", Event::Paid(1_250)),
    (72, "4", Event::Ordered("flour")),
    (65, "3", Event::Paid(199)),
    (150, "5", Event::Ordered("bran")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    #[test]
    fn a_payment_may_arrive_late_and_an_order_without_one_is_told_once() {
        let mut t = TestDriver::new(&compose());
        for (minute, number, event) in SAMPLE {
            match event {
                Event::Ordered(what) => t.pipe(&ORDERS, number, what, ms(minute * 60_000)),
                Event::Paid(cents) => t.pipe(&PAYMENTS, number, cents, ms(minute * 60_000)),
            }
        }
        let outcomes: Vec<String> = t.read(&OUTCOMES).into_iter().map(|record| record.value).collect();
        assert_eq!(
            outcomes,
            [
                "a sieve: 12.50 paid",
                "a sack: 1.99 paid",
                "a millstone: not paid",
                "flour: not paid"
            ]
        );
    }
}
