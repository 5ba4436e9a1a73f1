//! Joins in virtual time, where the oracle does not reach: several partitions, several topics, restarts between.

use tidemill_data::{MINUTE, SECOND, StoreName, Timestamp, Topic};
use tidemill_streams::{App, JoinWindow};
use tidemill_testing::TestDriver;

const ORDERS: Topic<String, String> = Topic::new("orders");
const CUSTOMERS: Topic<String, String> = Topic::new("customers");
const OUT: Topic<String, Option<String>> = Topic::new("out");
const RESULTS: Topic<String, String> = Topic::new("results");

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn values(driver: &mut TestDriver) -> Vec<(String, Option<String>)> {
    let mut found: Vec<_> = driver
        .read(&OUT)
        .into_iter()
        .map(|record| (record.key, record.value))
        .collect();
    found.sort();
    found
}

fn row(key: &str, value: Option<&str>) -> (String, Option<String>) {
    (key.to_owned(), value.map(str::to_owned))
}

#[test]
fn a_global_table_is_whole_for_the_tasks_of_all_partitions_and_after_a_restart() {
    const KNOWN: StoreName<String, String> = StoreName::new("known-customers");
    let app = App::new("app");
    let customers = app.global_table_as(&CUSTOMERS, &KNOWN);
    app.stream(&ORDERS)
        .join_global(&customers, |_, who| who.clone(), |_, _, name| name)
        .to(&RESULTS);
    let mut driver = TestDriver::with_partitions(&app, 4);
    for customer in ["a", "b", "c", "d", "e"] {
        driver.pipe(&CUSTOMERS, customer, format!("name of {customer}"), at(1));
    }
    for round in 0..2 {
        for (order, customer) in [
            ("1", "a"),
            ("2", "b"),
            ("3", "c"),
            ("4", "d"),
            ("5", "e"),
            ("6", "nobody"),
        ] {
            driver.pipe(&ORDERS, format!("{round}{order}"), customer, at(2));
        }
        assert_eq!(driver.read(&RESULTS).len(), 5);
        assert_eq!(driver.rows(&KNOWN).len(), 5);
        driver.restart_without_state();
    }
}

#[test]
fn rows_of_a_foreign_key_join_find_each_other_across_partitions() {
    let app = App::new("app");
    let orders = app.table(&ORDERS);
    let joined = orders
        .by_foreign_key(|_, customer: &String| customer.clone())
        .named("of-customer")
        .left_join(&app.table(&CUSTOMERS), |_, customer, name| {
            name.unwrap_or(customer)
        });
    joined.to_stream().to(&OUT);
    let mut driver = TestDriver::with_partitions(&app, 5);
    for order in 0..20 {
        driver.pipe(&ORDERS, format!("{order:02}"), ["ann", "bob"][order % 2], at(1));
    }
    assert!(
        values(&mut driver)
            .iter()
            .all(|(_, name)| name.as_ref().is_some_and(|name| name.len() == 3))
    );
    driver.restart_without_state();
    driver.pipe(&CUSTOMERS, "ann", "Ann Lee", at(2));
    let told = values(&mut driver);
    assert_eq!(told.len(), 10);
    assert_eq!(told.first(), Some(&row("00", Some("Ann Lee"))));
    driver.pipe(&ORDERS, "00", "bob", at(3));
    assert_eq!(values(&mut driver), [row("00", Some("bob"))]);
}

#[test]
fn an_order_without_payment_is_told_once_its_hour_and_the_grace_are_over() {
    const PAYMENTS: Topic<String, i64> = Topic::new("payments");
    let app = App::new("app");
    let window = JoinWindow::within(60 * MINUTE)
        .before(5 * SECOND)
        .grace(MINUTE)
        .stores_named("paid");
    app.stream(&ORDERS)
        .left_join(app.stream(&PAYMENTS), window, |_, order, paid| match paid {
            Some(cents) => format!("{order} paid {cents}"),
            None => format!("{order} not paid"),
        })
        .to(&RESULTS);
    let mut driver = TestDriver::new(&app);
    let read = |driver: &mut TestDriver| -> Vec<String> {
        driver
            .read(&RESULTS)
            .into_iter()
            .map(|record| record.value)
            .collect()
    };
    let hour = 3_600_000;
    driver.pipe(&ORDERS, "1", "book", at(10_000));
    driver.pipe(&ORDERS, "2", "pen", at(11_000));
    driver.pipe(&PAYMENTS, "1", 900_i64, at(12_000));
    assert_eq!(read(&mut driver), ["book paid 900"]);
    driver.restart_without_state();
    driver.pipe(&ORDERS, "3", "ink", at(11_000 + hour + 60_000));
    assert_eq!(read(&mut driver), [""; 0]);
    driver.pipe(&ORDERS, "4", "cup", at(11_001 + hour + 60_000));
    assert_eq!(read(&mut driver), ["pen not paid"]);
}

#[test]
fn a_joiner_that_fails_is_dealt_with_by_the_policy_of_the_join() {
    use tidemill_streams::Policy;
    let app = App::new("app");
    let (left, right) = (app.stream(&ORDERS), app.stream(&CUSTOMERS));
    left.try_join(right, JoinWindow::within(SECOND), |_, l, r| {
        if l == "bad" {
            Err("bad".into())
        } else {
            Ok(format!("{l}{r}"))
        }
    })
    .on_error(Policy::Skip)
    .to(&RESULTS);
    let mut driver = TestDriver::new(&app);
    driver.pipe(&CUSTOMERS, "k", "x", at(1));
    driver.pipe(&ORDERS, "k", "bad", at(2));
    driver.pipe(&ORDERS, "k", "good", at(3));
    let read: Vec<_> = driver
        .read(&RESULTS)
        .into_iter()
        .map(|record| record.value)
        .collect();
    assert_eq!(read, ["goodx"]);
    assert_eq!(driver.take_failures().len(), 1);
}
