//! Which orders are paid? Payments come late, and some never.

use std::time::Duration;

use tidemill::prelude::*;

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

/// What happens, by minute: orders, and payments in cents.
pub const SAMPLE: [(&str, Result<&str, i64>, i64); 7] = [
    ("1", Ok("a sieve"), 0),
    ("2", Ok("a millstone"), 5),
    ("3", Ok("a sack"), 10),
    ("1", Err(1_250), 20),
    ("4", Ok("flour"), 72),
    ("3", Err(199), 65),
    ("5", Ok("bran"), 150),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    #[test]
    fn a_payment_may_arrive_late_and_an_order_without_one_is_told_once() {
        let mut t = TestDriver::new(&compose());
        for (number, what, minute) in SAMPLE {
            match what {
                Ok(order) => t.pipe(&ORDERS, number, order, ms(minute * 60_000)),
                Err(cents) => t.pipe(&PAYMENTS, number, cents, ms(minute * 60_000)),
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
