//! `describe()` prints what Kafka Streams prints: see `tests/golden/describe/` for the topologies and its texts.

use tidemill_data::{Data, SECOND, StoreName, Topic, Windowed};
use tidemill_streams::{
    App, Buffer, CogroupedKStream, Hopping, KGroupedStream, KStream, KTable, Materialized, Session, Sliding,
    Tumbling,
};

type Stream = KStream<String, String>;
type Table = KTable<String, String>;

fn topic(name: &str) -> Topic<String, String> {
    Topic::named(name)
}

fn store(name: &str) -> StoreName<String, String> {
    StoreName::named(name)
}

fn counts(name: &str) -> StoreName<String, i64> {
    StoreName::named(name)
}

fn keys_only<A: Data + Clone>(table: &KTable<Windowed<String>, A>) {
    let stream = table.to_stream().select_key(|window, _| window.key.clone());
    stream.to(&Topic::<String, Option<A>>::named("out"));
}

fn windows<A: Data>(name: &str) -> StoreName<Windowed<String>, A> {
    StoreName::named(name)
}

fn grouped(app: &App, name: &str) -> KGroupedStream<String, String> {
    app.stream(&topic(name)).group_by_key()
}

fn cogrouped(app: &App) -> CogroupedKStream<String, String> {
    let (one, two) = (grouped(app, "one"), grouped(app, "two"));
    one.cogroup(|_, v, row: &mut String| row.push_str(&v))
        .cogroup(two, |_, v, row| *row = v)
}

fn out(name: &str, table: &Table) {
    table.to_stream().to(&Topic::named(name));
}

fn counted(name: &str, table: &KTable<String, i64>) {
    table.to_stream().to(&Topic::named(name));
}

golden! {
    stateless: |app| {
        app.stream(&topic("in"))
            .filter(|_, _| true)
            .filter_not(|_, _| false)
            .map_values(|v| v)
            .peek(|_, _| {})
            .to(&topic("out"));
    };
    map_and_flat_map: |app| {
        app.stream(&topic("in"))
            .map(|k, v| (k, v))
            .flat_map(|k, v| [(k, v)])
            .flat_map_values(|v| [v])
            .select_key(|_, v| v.clone())
            .for_each(|_, _| {});
    };
    two_topics_merged: |app| {
        let stream = app.stream_of(&[&topic("a"), &topic("b")]);
        stream.merge(app.stream(&topic("c"))).to(&topic("out"));
    };
    split: |app| {
        let mut split = app.stream(&topic("in")).split_as("split-");
        let first = split.branch_as("first", |_, _| true);
        let second = split.branch_as("second", |_, _| false);
        let rest = split.default_branch_as("rest");
        first.to(&topic("one"));
        second.to(&topic("two"));
        rest.to(&topic("three"));
    };
    split_unnamed: |app| {
        let mut split = app.stream(&topic("in")).split();
        let first = split.branch(|_, _| true);
        let second = split.branch(|_, _| false);
        split.default_branch().to(&topic("out0"));
        first.to(&topic("out1"));
        second.to(&topic("out2"));
    };
    one_topic_twice: |app| {
        app.stream(&topic("in")).map_values(|v| v).to(&topic("x"));
        app.stream(&topic("in")).filter(|_, _| true).to(&topic("y"));
    };
    count_by_key: |app| counted("out", &app.stream(&topic("in")).group_by_key().count(&counts("counts")));
    count_unnamed: |app| {
        counted("out", &app.stream(&topic("in")).group_by_key().count(Materialized::unnamed()));
    };
    word_count: |app| {
        let words: Stream = app.stream(&topic("sentences")).flat_map_values(|v: String| [v]);
        counted("counts", &words.group_by(|_, word| word.clone()).count(&counts("words")));
    };
    group_after_select_key_unnamed: |app| {
        let stream = app.stream(&topic("in")).select_key(|_, v| v.clone());
        out("out", &stream.group_by_key().reduce(Materialized::unnamed(), |_, b| b));
    };
    aggregate: |app| {
        let grouped = app.stream(&topic("in")).group_by_key();
        out("out", &grouped.aggregate(&store("joined"), |_, v, row: &mut String| row.push_str(&v)));
    };
    repartition: |app| app.stream(&topic("in")).repartition_unnamed().to(&topic("out"));
    repartition_named: |app| {
        app.stream(&topic("in")).select_key(|_, v| v.clone()).repartition("by-value").to(&topic("out"));
    };
    to_table: |app| out("out", &app.stream(&topic("in")).to_table(&store("latest")));
    to_table_after_map: |app| {
        out("out", &app.stream(&topic("in")).map(|k, v| (k, v)).to_table(&store("latest")));
    };
    table: |app| out("out", &app.table_as(&topic("in"), &store("rows")));
    table_unnamed: |app| {
        out("out", &app.table(&topic("in")).filter(|_, _| true).map_values(|_, v| v));
    };
    table_filter_named: |app| {
        let kept = app.table_as(&topic("in"), &store("rows")).filter_as(&store("kept"), |_, _| true);
        out("out", &kept.filter_not(|_, _| false).map_values_as(&store("mapped"), |_, v| v));
    };
    table_grouped: |app| {
        let table = app.table_as(&topic("in"), &store("rows"));
        counted("out", &table.group_by(|k, v| (v, k.clone())).count(&counts("counts")));
    };
    table_grouped_unnamed: |app| {
        let grouped = app.table(&topic("in")).group_by(|k, v| (v, k.clone()));
        let add = |_: &String, v: String, row: &mut String| row.push_str(&v);
        out("out", &grouped.aggregate(Materialized::unnamed(), add, |_, _, _| {}));
    };
    stream_table_join: |app| {
        let stream = app.stream(&topic("clicks"));
        let table = app.table(&topic("profiles"));
        stream.join_table(&table, |_, l, r| l + &r).to(&topic("out"));
    };
    stream_table_left_join_after_select_key: |app| {
        let stream = app.stream(&topic("clicks"));
        let table = app.table_as(&topic("profiles"), &store("profiles-store"));
        let stream = stream.select_key(|_, v| v.clone());
        stream.left_join_table(&table, |_, l, r| l + &r.unwrap_or_default()).to(&topic("out"));
    };
    windowed_count: |app| keys_only(&grouped(app, "in").window(Tumbling::of(10 * SECOND)).count(&windows("windows")));
    windowed_reduce_unnamed: |app| {
        let windows = grouped(app, "in").window(Hopping::of(10 * SECOND, 5 * SECOND));
        keys_only(&windows.reduce(Materialized::unnamed(), |_, b| b));
    };
    sliding_count_after_select_key: |app| {
        let grouped = app.stream(&topic("in")).select_key(|_, v| v.clone()).group_by_key();
        keys_only(&grouped.window(Sliding::within(10 * SECOND)).count(&windows("windows")));
    };
    session_count_unnamed: |app| {
        keys_only(&grouped(app, "in").window(Session::gap(10 * SECOND)).count(Materialized::unnamed()));
    };
    session_reduce_on_close: |app| {
        let sessions = grouped(app, "in").window(Session::gap(10 * SECOND)).emit_on_close();
        keys_only(&sessions.reduce(&windows("sessions"), |_, b| b));
    };
    windowed_suppress: |app| {
        let counts = grouped(app, "in").window(Tumbling::of(10 * SECOND)).count(&windows("windows"));
        keys_only(&counts.suppress_until_window_closes(Buffer::unbounded()).filter(|_, _| true));
    };
    table_suppress_named: |app| {
        let buffer = Buffer::unbounded().records_max(5).named("calm");
        out("out", &app.table(&topic("in")).suppress_until_time_limit(SECOND, buffer));
    };
    cogroup: |app| out("out", &cogrouped(app).aggregate(&store("both")));
    cogroup_after_select_key_unnamed: |app| {
        let one = app.stream(&topic("one")).select_key(|_, v| v.clone()).group_by_key();
        let two = grouped(app, "two");
        let both = one.cogroup(|_, v, row: &mut String| row.push_str(&v)).cogroup(two, |_, v, row| *row = v);
        out("out", &both.aggregate(Materialized::unnamed()));
    };
    cogroup_windowed: |app| {
        keys_only(&cogrouped(app).window(Tumbling::of(10 * SECOND)).aggregate(&windows("both")));
    };
    cogroup_sessions_unnamed: |app| {
        let sessions = cogrouped(app).window(Session::gap(10 * SECOND));
        keys_only(&sessions.aggregate(Materialized::unnamed(), |a, b| a + &b));
    };
    two_subtopologies: |app| {
        app.stream(&topic("in")).map_values(|v| v).to(&topic("out"));
        counted("counts-out", &app.stream(&topic("other")).group_by_key().count(&counts("counts")));
    };
}

#[test]
fn a_sink_that_is_chosen_says_so() {
    let golden = include_str!("../../../../tests/golden/describe/sink_chosen_per_record.txt");
    let app = App::new("app");
    app.stream(&topic("in")).to_chosen(|record| record.value.clone());
    // Kafka Streams names a class of the Java program there.
    let until_class = |text: &str| {
        text.split_once("(extractor class")
            .map(|(before, _)| before.to_owned())
    };
    assert_eq!(
        until_class(&app.describe().expect("the topology can run")),
        until_class(golden)
    );
}

#[test]
fn named_operators_take_no_number() {
    let app = App::new("app");
    app.stream(&topic("in"))
        .named("lines")
        .filter(|_, _| true)
        .named("some")
        .map_values(|v| v)
        .filter_not(|_, _| true)
        .named("others")
        .to(&topic("out"));
    let expected = "Topologies:
   Sub-topology: 0
    Source: lines (topics: [in])
      --> some
    Processor: some (stores: [])
      --> KSTREAM-MAPVALUES-0000000000
      <-- lines
    Processor: KSTREAM-MAPVALUES-0000000000 (stores: [])
      --> others
      <-- some
    Processor: others (stores: [])
      --> KSTREAM-SINK-0000000001
      <-- KSTREAM-MAPVALUES-0000000000
    Sink: KSTREAM-SINK-0000000001 (topic: out)
      <-- others

";
    assert_eq!(app.describe().expect("it can run"), expected);
}

#[test]
fn names_that_cannot_be_are_refused() {
    for (name, part) in [
        ("a b", "no operator can be named \"a b\""),
        ("", "no operator can be named \"\""),
        ("twice", "two operators are named \"twice\""),
    ] {
        let app = App::new("app");
        let stream = app.stream(&topic("in")).named("twice").filter(|_, _| true);
        stream.named(name).to(&topic("out"));
        let error = app.describe().expect_err("the name cannot be").to_string();
        assert!(error.contains(part), "{error}");
    }
}
