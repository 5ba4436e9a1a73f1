//! `describe()` of joins prints what Kafka Streams prints: see `tests/golden/describe/`.

use std::time::Duration;

use tidemill_data::{MINUTE, SECOND, StoreName, Topic};
use tidemill_streams::{App, ForeignKeyed, Grace, JoinWindow, KTable};

fn topic(name: &str) -> Topic<String, String> {
    Topic::named(name)
}

fn store(name: &str) -> StoreName<String, String> {
    StoreName::named(name)
}

fn out(table: &KTable<String, String>) {
    table.to_stream().to(&Topic::named("out"));
}

fn window() -> JoinWindow {
    JoinWindow::within(5 * SECOND)
}

fn by_value(table: &KTable<String, String>) -> ForeignKeyed<String, String, String> {
    table.by_foreign_key(|_, value| value.clone())
}

const HISTORY: Duration = Duration::from_secs(300);

golden! {
    table_table_join: |app| {
        let (left, right) = (app.table(&topic("left")), app.table(&topic("right")));
        out(&left.join_as(&right, &store("joined"), |_, l, r| l + &r));
    };
    table_table_join_unnamed: |app| {
        let left = app.table(&topic("left"));
        let right = app.table_as(&topic("right"), &store("kept"));
        out(&left.join(&right, |_, l, r| l + &r));
    };
    table_table_left_join: |app| {
        let (left, right) = (app.table(&topic("left")), app.table(&topic("right")));
        out(&left.left_join(&right, |_, l, _| l).filter(|_, _| true));
    };
    table_table_outer_join: |app| {
        let (left, right) = (app.table(&topic("left")), app.table(&topic("right")));
        let third = app.table(&topic("third"));
        out(&left.outer_join(&right, |k, _, _| k.clone()).join(&third, |_, l, _| l));
    };
    stream_stream_join: |app| {
        let (left, right) = (app.stream(&topic("left")), app.stream(&topic("right")));
        left.join(right, window(), |_, l, r| format!("{l}{r}")).to(&topic("out"));
    };
    stream_stream_left_join: |app| {
        let (left, right) = (app.stream(&topic("left")), app.stream(&topic("right")));
        left.left_join(right, window(), |_, l, _| l.clone()).to(&topic("out"));
    };
    stream_stream_outer_join: |app| {
        let (left, right) = (app.stream(&topic("left")), app.stream(&topic("right")));
        left.outer_join(right, window(), |k, _, _| k.clone()).to(&topic("out"));
    };
    stream_stream_outer_join_named: |app| {
        let (left, right) = (app.stream(&topic("left")), app.stream(&topic("right")));
        let window = window().named("met").stores_named("kept");
        left.outer_join(right, window, |k, _, _| k.clone()).to(&topic("out"));
    };
    stream_stream_left_join_named: |app| {
        let (left, right) = (app.stream(&topic("left")), app.stream(&topic("right")));
        let window = window().named("met").stores_named("kept");
        let left = left.select_key(|_, v| v.clone());
        let right = right.select_key(|_, v| v.clone());
        left.left_join(right, window, |_, l, _| l.clone()).to(&topic("out"));
    };
    stream_stream_join_after_select_key: |app| {
        let (left, right) = (app.stream(&topic("left")), app.stream(&topic("right")));
        let left = left.select_key(|_, v| v.clone());
        left.join(right.map(|k, v| (k, v)), window(), |_, l, r| format!("{l}{r}")).to(&topic("out"));
    };
    stream_self_join: |app| {
        let stream = app.stream(&topic("in"));
        stream.clone().join(stream, window(), |_, l, r| format!("{l}{r}")).to(&topic("out"));
    };
    foreign_key_join: |app| {
        let (orders, customers) = (app.table(&topic("orders")), app.table(&topic("customers")));
        out(&by_value(&orders).join(&customers, |_, l, r| l + &r));
    };
    foreign_key_left_join_stored: |app| {
        let orders = app.table_as(&topic("orders"), &store("orders-kept"));
        let customers = app.table_as(&topic("customers"), &store("customers-kept"));
        out(&by_value(&orders).left_join_as(&customers, &store("joined"), |_, l, _| l));
    };
    foreign_key_join_named: |app| {
        let (orders, customers) = (app.table(&topic("orders")), app.table(&topic("customers")));
        let keyed = by_value(&orders).named("by-customer");
        out(&keyed.join_as(&customers, &store("joined"), |_, l, r| l + &r));
    };
    stream_table_join_with_grace: |app| {
        let stream = app.stream(&topic("clicks"));
        let table = app.table_versioned(&topic("prices"), &store("prices-kept"), HISTORY);
        let grace = Grace::of(5 * SECOND).named("timely");
        stream.join_table_with_grace(&table, grace, |_, l, r| l + &r).to(&topic("out"));
    };
    stream_table_left_join_with_grace_unnamed: |app| {
        let stream = app.stream(&topic("clicks"));
        let table = app.table_versioned(&topic("prices"), &store("prices-kept"), HISTORY);
        let stream = stream.select_key(|_, v| v.clone());
        stream.left_join_table_with_grace(&table, 5 * SECOND, |_, l, _| l).to(&topic("out"));
    };
    stream_global_join: |app| {
        let stream = app.stream(&topic("clicks"));
        let table = app.global_table_as(&topic("cities"), &store("cities-kept"));
        stream.join_global(&table, |_, v| v.clone(), |_, l, r| l + &r).to(&topic("out"));
    };
    stream_global_left_join_unnamed: |app| {
        let stream = app.stream(&topic("clicks"));
        let (cities, lands) = (app.global_table(&topic("cities")), app.global_table(&topic("lands")));
        let joined = stream.left_join_global(&cities, |_, v| v.clone(), |_, l: String, _| l);
        joined.join_global(&lands, |_, v| v.clone(), |_, l, r| l + &r).to(&topic("out"));
        app.stream(&topic("other")).to(&topic("out2"));
    };
    table_versioned: |app| {
        let stream = app.stream(&topic("clicks"));
        let table = app.table_versioned(&topic("prices"), &store("prices-kept"), HISTORY);
        stream.join_table(&table, |_, l, r| l + &r).to(&topic("out"));
    };
}

#[test]
fn a_versioned_changelog_keeps_what_the_history_needs() {
    let app = App::new("app");
    let _ = app.table_versioned(&topic("prices"), &store("prices-kept"), 5 * MINUTE);
    let topology = app.topology().expect("the topology can run");
    let changelogs = topology.subtopologies().iter().flat_map(|part| &part.changelogs);
    let config: Vec<_> = changelogs.map(|topic| &topic.config).collect();
    assert_eq!(config.len(), 1);
    assert_eq!(config[0]["cleanup.policy"], "compact");
    assert_eq!(
        config[0]["min.compaction.lag.ms"],
        (86_400_000 + 300_000).to_string()
    );
}

#[test]
fn a_grace_without_versions_is_refused_with_the_mend() {
    let app = App::new("app");
    let table = app.table_as(&topic("prices"), &store("prices-kept"));
    let stream = app.stream(&topic("clicks"));
    stream
        .join_table_with_grace(&table, Grace::of(SECOND).named("timely"), |_, l, _| l)
        .to(&topic("out"));
    let error = app
        .topology()
        .map(drop)
        .expect_err("no versions are kept")
        .to_string();
    assert!(
        error.contains("timely has a grace") && error.contains("`table_versioned`"),
        "{error}"
    );
}
