//! What a topology tells those who run it: internal topics, their settings, lints, and programs that cannot run.

use tidemill_data::{StoreName, Topic};
use tidemill_streams::{App, Lint, Materialized, Pattern, Reset};

const CLICKS: Topic<String, String> = Topic::new("clicks");
const CITIES: Topic<String, String> = Topic::new("cities");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");

#[test]
fn internal_topics_have_kafkas_names_and_settings() {
    let app = App::new("app");
    app.stream(&CLICKS)
        .group_by(|_, click| click.clone())
        .count(&COUNTS);
    let topology = app.topology().expect("it can run");
    let [reading, counting] = topology.subtopologies() else {
        panic!("two parts")
    };
    assert_eq!(reading.source_topics, ["clicks"]);
    assert_eq!(reading.repartition_sinks, counting.repartition_sources);
    let [repartition] = counting.repartition_sources.as_slice() else {
        panic!("one repartition")
    };
    assert_eq!(repartition.name, "app-counts-repartition");
    assert_eq!(repartition.config["cleanup.policy"], "delete");
    assert_eq!(repartition.config["retention.ms"], "-1");
    let [changelog] = counting.changelogs.as_slice() else {
        panic!("one changelog")
    };
    assert_eq!(
        (changelog.name.as_str(), changelog.store.as_deref()),
        ("app-counts-changelog", Some("counts"))
    );
    assert_eq!(changelog.config["cleanup.policy"], "compact");
}

#[test]
fn a_store_may_go_without_a_changelog() {
    let app = App::new("app");
    app.stream(&CLICKS)
        .group_by_key()
        .count(Materialized::from(&COUNTS).without_changelog());
    let topology = app.topology().expect("it can run");
    assert!(topology.subtopologies()[0].changelogs.is_empty());
    assert_eq!(topology.subtopologies()[0].stores, ["counts"]);
}

#[test]
fn lints_name_what_a_later_change_would_lose() {
    let app = App::new("app");
    let by_click = app.stream(&CLICKS).select_key(|_, click| click.clone());
    by_click.clone().group_by_key().count(&COUNTS);
    by_click.group_by_key().reduce(Materialized::unnamed(), |_, b| b);
    let lints = app.topology().expect("it can run").lints();
    let unnamed = lints
        .iter()
        .filter(|lint| matches!(lint, Lint::UnnamedStore { .. }))
        .count();
    let moved = lints
        .iter()
        .filter(|lint| matches!(lint, Lint::UnnamedRepartition { .. }))
        .count();
    let twice = lints.iter().any(|lint| {
        matches!(lint, Lint::RepartitionedTwice { operator, .. } if operator == "KSTREAM-KEY-SELECT-0000000001")
    });
    assert_eq!((unnamed, moved, twice), (1, 1, true), "{lints:?}");
}

#[test]
fn joined_topics_are_copartitioned() {
    let app = App::new("app");
    let cities = app.table(&CITIES);
    app.stream(&CLICKS)
        .join_table(&cities, |_, click, city| click + &city)
        .to(&Topic::new("out"));
    let topology = app.topology().expect("it can run");
    let mut topics = topology.copartitioned_topics().concat();
    topics.sort();
    assert_eq!(topics, ["cities", "clicks"]);
    assert_eq!(topology.subtopologies().len(), 1);
}

#[test]
fn two_stores_of_one_name_are_refused() {
    let app = App::new("app");
    app.stream(&CLICKS).group_by_key().count(&COUNTS);
    app.stream(&CITIES).group_by_key().count(&COUNTS);
    let error = app.topology().err().expect("it cannot run");
    assert_eq!(
        error.to_string(),
        "the topology cannot run: two stores are named \"counts\""
    );
}

#[test]
fn sources_that_overlap_in_part_are_refused() {
    let app = App::new("app");
    app.stream_of(&[&CLICKS, &CITIES]).to(&Topic::new("out"));
    app.stream(&CLICKS).to(&Topic::new("out"));
    let error = app.topology().err().expect("it cannot run");
    assert!(
        error.to_string().contains("shares only some of its topics"),
        "{error}"
    );
}

#[test]
fn a_record_too_large_for_the_producer_is_a_failure_of_its_sink() {
    use tidemill_data::Timestamp;
    use tidemill_streams::{Outputs, Policy, RawRecord, Step, Task, TaskConfig, TaskId};

    const TEXTS: Topic<Option<String>, String> = Topic::new("texts");
    const COPIES: Topic<Option<String>, String> = Topic::new("copies");
    let app = App::new("app");
    app.on_error(Policy::DeadLetter("too-large".into()));
    app.stream(&TEXTS).map_values(|text| text.repeat(10)).to(&COPIES);
    let config = TaskConfig {
        record_bytes_max: Some(1_000),
        ..TaskConfig::default()
    };
    let id = TaskId {
        subtopology: 0,
        partition: 0,
    };
    let base = std::sync::Arc::new(tidemill_store::MemoryByteStore::new(&[] as &[&str]));
    let topology = app.topology().expect("it can run");
    let mut task = Task::new(topology, id, base, &config, Timestamp::default()).expect("it has no state");
    let record = |length: usize| RawRecord {
        value: Some("x".repeat(length).into()),
        ..RawRecord::default()
    };
    task.enqueue("texts", [record(10), record(500), record(20)])
        .expect("it reads the topic");
    let mut outputs = Outputs::new();
    task.process(10, Timestamp::default(), &mut outputs)
        .expect("a dead letter stops nothing");
    let lengths: Vec<_> = outputs
        .iter()
        .map(|output| output.value.map(<[u8]>::len))
        .collect();
    assert_eq!(lengths, [Some(100), Some(500), Some(200)]);
    let failures = task.take_failures();
    assert!(
        matches!(failures.as_slice(), [failure] if failure.step == Step::Produce),
        "{failures:?}"
    );
}

#[test]
fn the_topics_of_a_pattern_begin_where_it_says_and_those_found_later_too() {
    const OWN: Topic<String, String> = Topic::new("orders-own");
    const ALL: Topic<String, String> = Topic::new("all");
    let app = App::new("app");
    app.reset_of(&OWN, Reset::Refuse);
    let orders = Pattern::<String, String>::new(|topic| topic.starts_with("orders-"));
    app.stream_of_pattern(orders.reset(Reset::Latest)).to(&ALL);
    app.stream_matching::<String, String>(|topic| topic.starts_with("bills-"))
        .to(&ALL);
    app.resolve(&["orders-eu", "orders-own", "bills-eu", "payments"]);
    let resets = |topics: &[&str]| {
        let topology = app.topology().expect("it can run");
        let of = |topic: &&str| topology.reset_of(topic);
        topics.iter().map(of).collect::<Vec<_>>()
    };
    let known = ["orders-eu", "orders-own", "bills-eu"];
    assert_eq!(resets(&known), [Some(Reset::Latest), Some(Reset::Refuse), None]);
    app.resolve(&["orders-us", "bills-eu"]);
    assert_eq!(resets(&["orders-us", "bills-eu"]), [Some(Reset::Latest), None]);
}

#[test]
fn changelogs_have_the_settings_that_are_given() {
    let app = App::new("app");
    app.changelog_setting(&COUNTS, "segment.bytes", "16777216");
    app.changelog_setting(&COUNTS, "cleanup.policy", "compact,delete");
    let table = app.stream(&CLICKS).group_by_key().count(&COUNTS);
    let _ = table.filter_as(&StoreName::<String, i64>::new("few"), |_, count| *count < 3);
    let topology = app.topology().expect("it can run");
    let changelogs = &topology.subtopologies()[0].changelogs;
    let of = |store: &str| {
        let changelog = changelogs
            .iter()
            .find(|topic| topic.store.as_deref() == Some(store));
        &changelog.expect("the store has a changelog").config
    };
    assert_eq!(of("counts")["segment.bytes"], "16777216");
    assert_eq!(of("counts")["cleanup.policy"], "compact,delete");
    assert_eq!(of("counts")["message.timestamp.type"], "CreateTime");
    assert_eq!(of("few")["cleanup.policy"], "compact");
    assert!(!of("few").contains_key("segment.bytes"));

    let app = App::new("app");
    let kept = Materialized::from(&COUNTS).without_changelog();
    app.stream(&CLICKS).group_by_key().count(kept);
    app.changelog_setting(&COUNTS, "segment.bytes", "16777216");
    let error = app.topology().err().expect("there is no changelog").to_string();
    assert!(
        error.contains(r#""segment.bytes" is set for the changelog of store "counts", and there is none"#),
        "{error}"
    );
}
