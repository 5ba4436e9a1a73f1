//! Headers preserved: through tables, windows, sessions, joins, and restarts from changelogs.

use tidemill_data::{Data, Headers, MINUTE, SECOND, StoreName, Topic, Windowed};
use tidemill_streams::{
    App, Buffer, JoinWindow, KStream, KTable, Materialized, Record, Session, Sliding, Tumbling,
};
use tidemill_testing::{TestDriver, ms};

const LEFT: Topic<String, String> = Topic::new("left");
const RIGHT: Topic<String, String> = Topic::new("right");
const OUT: Topic<String, String> = Topic::new("out");
const ROWS: Topic<String, Option<String>> = Topic::new("rows");
const WINDOWS: Topic<Windowed<String>, Option<i64>> = Topic::new("windows");

type Piped<'a> = (&'a Topic<String, String>, &'a str, &'a str, i64);

/// Pipes records that have a header of their topic's name, and `trace`, both with the value as theirs. Before each the
/// tasks start again with nothing but their changelogs.
fn pipe(t: &mut TestDriver, records: &[Piped<'_>]) {
    for (topic, key, value, at) in records {
        t.restart_without_state();
        let headers = Headers::new()
            .with("trace", (*value).to_owned())
            .with(topic.name(), (*value).to_owned());
        let (key, value) = ((*key).to_owned(), (*value).to_owned());
        t.try_pipe(
            topic,
            Record {
                headers,
                ..Record::new(key, value, ms(*at))
            },
        )
        .expect("nothing fails");
    }
}

fn text(headers: &Headers) -> String {
    let one = |header: &tidemill_data::Header| {
        let value = header.value.as_deref().unwrap_or_default();
        format!("{}={}", header.name, String::from_utf8_lossy(value))
    };
    headers.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The headers of what comes out, with headers preserved and without.
fn both<K: 'static, V: 'static>(
    compose: impl Fn(&App),
    records: &[Piped<'_>],
    out: &Topic<K, V>,
) -> [Vec<String>; 2] {
    [true, false].map(|preserve| {
        let app = App::new("app");
        if preserve {
            app.preserve_headers();
        }
        compose(&app);
        let mut t = TestDriver::new(&app);
        pipe(&mut t, records);
        t.read(out).iter().map(|record| text(&record.headers)).collect()
    })
}

fn concat(_: &String, left: String, right: String) -> String {
    left + &right
}

const ROW_THEN_RECORD: &[Piped<'_>] = &[(&RIGHT, "k", "r", 1), (&LEFT, "k", "l", 2)];
const TRIGGERS: &str = "trace=l left=l";
const TRIGGERS_AND_ROWS: &str = "trace=l left=l right=r";

#[test]
fn a_join_with_a_table_has_the_headers_of_the_row_too() {
    let [on, off] = both(
        |app| {
            let table = app.table(&RIGHT).map_values(|_, row| row.to_uppercase());
            app.stream(&LEFT).join_table(&table, concat).to(&OUT);
        },
        ROW_THEN_RECORD,
        &OUT,
    );
    assert_eq!(
        (on, off),
        (vec![TRIGGERS_AND_ROWS.into()], vec![TRIGGERS.to_owned()])
    );
}

#[test]
fn a_join_with_a_table_of_versions_has_the_headers_of_the_version() {
    const HISTORY: StoreName<String, String> = StoreName::new("history");
    let [on, off] = both(
        |app| {
            let table = app.table_versioned(&RIGHT, &HISTORY, MINUTE);
            app.stream(&LEFT).join_table(&table, concat).to(&OUT);
        },
        &[
            (&RIGHT, "k", "r1", 1),
            (&RIGHT, "k", "r2", 10),
            (&LEFT, "k", "l", 5),
            (&LEFT, "k", "m", 11),
        ],
        &OUT,
    );
    assert_eq!(on, ["trace=l left=l right=r1", "trace=m left=m right=r2"]);
    assert_eq!(off, ["trace=l left=l", "trace=m left=m"]);
}

#[test]
fn a_join_with_a_global_table_has_the_headers_of_the_row_too() {
    let [on, off] = both(
        |app| {
            let table = app.global_table(&RIGHT);
            app.stream(&LEFT)
                .join_global(&table, |key: &String, _| key.clone(), concat)
                .to(&OUT);
        },
        ROW_THEN_RECORD,
        &OUT,
    );
    assert_eq!(
        (on, off),
        (vec![TRIGGERS_AND_ROWS.into()], vec![TRIGGERS.to_owned()])
    );
}

#[test]
fn a_join_of_tables_has_the_headers_of_both_rows() {
    let [on, off] = both(
        |app| {
            let right = app.table(&RIGHT);
            app.table(&LEFT).join(&right, concat).to_stream().to(&ROWS);
        },
        ROW_THEN_RECORD,
        &ROWS,
    );
    assert_eq!(
        (on, off),
        (vec![TRIGGERS_AND_ROWS.into()], vec![TRIGGERS.to_owned()])
    );
}

#[test]
fn a_join_with_a_join_of_tables_has_the_headers_of_all() {
    const THIRD: Topic<String, String> = Topic::new("third");
    let [on, _] = both(
        |app| {
            let joined = app.table(&RIGHT).join(&app.table(&THIRD), concat);
            app.stream(&LEFT).join_table(&joined, concat).to(&OUT);
        },
        &[(&RIGHT, "k", "r", 1), (&THIRD, "k", "t", 1), (&LEFT, "k", "l", 2)],
        &OUT,
    );
    assert_eq!(on, ["trace=l left=l right=r third=t"]);
}

#[test]
fn a_foreign_key_join_has_the_headers_of_both_rows_whoever_changed() {
    let [on, off] = both(
        |app| {
            let right = app.table(&RIGHT);
            let left = app.table(&LEFT).by_foreign_key(|_, _| Some("f".to_owned()));
            left.join(&right, concat).to_stream().to(&ROWS);
        },
        &[(&LEFT, "k", "l", 1), (&RIGHT, "f", "r", 2), (&LEFT, "k", "m", 3)],
        &ROWS,
    );
    assert_eq!(on, ["trace=r right=r left=l", "trace=m left=m right=r"]);
    assert_eq!(off, ["trace=r right=r", "trace=m left=m"]);
}

#[test]
fn a_join_of_streams_has_the_headers_of_both_records() {
    let [on, off] = both(
        |app| {
            let right = app.stream(&RIGHT);
            let window = JoinWindow::within(SECOND);
            app.stream(&LEFT)
                .join(right, window, |_, l, r| format!("{l}{r}"))
                .to(&OUT);
        },
        &[
            (&RIGHT, "k", "r1", 1),
            (&RIGHT, "k", "r2", 1),
            (&LEFT, "k", "l", 2),
        ],
        &OUT,
    );
    assert_eq!(on, ["trace=l left=l right=r1", "trace=l left=l right=r2"]);
    assert_eq!(off, ["trace=l left=l", "trace=l left=l"]);
}

#[test]
fn a_record_that_met_none_keeps_its_own_headers() {
    let [on, off] = both(
        |app| {
            let right = app.stream(&RIGHT);
            let window = JoinWindow::within(SECOND);
            app.stream(&LEFT)
                .left_join(right, window, |_, l, r| format!("{l}{r:?}"))
                .to(&OUT);
        },
        &[
            (&LEFT, "k", "l1", 1),
            (&LEFT, "k", "l2", 1),
            (&LEFT, "j", "l3", 2),
            (&RIGHT, "other", "late", 60_000),
        ],
        &OUT,
    );
    assert_eq!(on, ["trace=l1 left=l1", "trace=l2 left=l2", "trace=l3 left=l3"]);
    assert_eq!(off, ["trace=late right=late"; 3]);
}

fn aggregated<A: Data>(table: KTable<String, A>, stream: KStream<String, String>) {
    stream.join_table(&table, |_, value, _| value).to(&OUT);
}

#[test]
fn a_row_of_an_aggregation_has_the_headers_of_what_changed_it_last() {
    let records: &[Piped<'_>] = &[
        (&RIGHT, "k", "r1", 1),
        (&RIGHT, "k", "r2", 2),
        (&LEFT, "k", "l", 3),
    ];
    let count = |app: &App| {
        let table = app.stream(&RIGHT).group_by_key().count(Materialized::unnamed());
        aggregated(table, app.stream(&LEFT));
    };
    let regrouped = |app: &App| {
        let table = app
            .table(&RIGHT)
            .group_by(|key, value| (key.clone(), value))
            .count(Materialized::unnamed());
        aggregated(table, app.stream(&LEFT));
    };
    let repartitioned = |app: &App| {
        let grouped = app.stream(&RIGHT).group_by(|key, _| key.clone());
        aggregated(grouped.count(Materialized::unnamed()), app.stream(&LEFT));
    };
    let expected = (
        vec!["trace=l left=l right=r2".to_owned()],
        vec![TRIGGERS.to_owned()],
    );
    for (what, [on, off]) in [
        ("count", both(count, records, &OUT)),
        ("regrouped", both(regrouped, records, &OUT)),
        ("repartitioned", both(repartitioned, records, &OUT)),
    ] {
        assert_eq!((on, off), expected, "{what}");
    }
}

fn told(counts: KTable<Windowed<String>, i64>) {
    counts.to_stream().to(&WINDOWS);
}

#[test]
fn windows_and_sessions_that_close_have_the_headers_of_their_rows() {
    let records: &[Piped<'_>] = &[
        (&LEFT, "k", "l1", 100),
        (&LEFT, "k", "l2", 200),
        (&LEFT, "j", "late", 600_000),
    ];
    let tumbling = |app: &App| {
        let windows = app.stream(&LEFT).group_by_key().window(Tumbling::of(MINUTE));
        told(windows.emit_on_close().count(Materialized::unnamed()));
    };
    let sliding = |app: &App| {
        let windows = app.stream(&LEFT).group_by_key().window(Sliding::within(MINUTE));
        told(windows.emit_on_close().count(Materialized::unnamed()));
    };
    let sessions = |app: &App| {
        let windows = app.stream(&LEFT).group_by_key().window(Session::gap(MINUTE));
        told(windows.emit_on_close().count(Materialized::unnamed()));
    };
    let suppressed = |app: &App| {
        let grouped = app.stream(&LEFT).group_by_key().window(Tumbling::of(MINUTE));
        let counts = grouped.count(Materialized::unnamed());
        let held = counts.suppress_until_window_closes(Buffer::unbounded());
        told(held);
    };
    let own = "trace=l2 left=l2".to_owned();
    let closers = "trace=late left=late".to_owned();
    for (what, [on, off]) in [
        ("tumbling", both(tumbling, records, &WINDOWS)),
        ("sessions", both(sessions, records, &WINDOWS)),
    ] {
        assert_eq!((on, off), (vec![own.clone()], vec![closers.clone()]), "{what}");
    }
    let [on, off] = both(sliding, records, &WINDOWS);
    assert!(
        on.iter().all(|headers| *headers == own) && on.len() == 2,
        "{on:?}"
    );
    assert!(
        off.iter().all(|headers| *headers == closers) && off.len() == 2,
        "{off:?}"
    );
    // What is held back keeps its headers in any case.
    assert_eq!(both(suppressed, records, &WINDOWS), [[own.clone()], [own]]);
}

#[test]
fn changes_of_sessions_have_headers_only_when_they_are_preserved() {
    let [on, off] = both(
        |app| {
            let grouped = app.stream(&LEFT).group_by_key().window(Session::gap(MINUTE));
            grouped.count(Materialized::unnamed()).to_stream().to(&WINDOWS);
        },
        &[(&LEFT, "k", "l1", 100), (&LEFT, "k", "l2", 200)],
        &WINDOWS,
    );
    // The session of the first record goes when that of both comes.
    assert_eq!(on, ["trace=l1 left=l1", "trace=l2 left=l2", "trace=l2 left=l2"]);
    assert_eq!(off, ["", "", ""]);
}

#[test]
fn the_changelog_has_headers_and_else_the_same_records() {
    let logged = |preserve| {
        let app = App::new("app");
        if preserve {
            app.preserve_headers();
        }
        let counts: StoreName<String, i64> = StoreName::new("counts");
        app.stream(&LEFT).group_by_key().count(&counts);
        let mut t = TestDriver::new(&app);
        pipe(&mut t, &[(&LEFT, "k", "l1", 100), (&LEFT, "k", "l2", 200)]);
        t.restart_without_state();
        t.read_raw("app-counts-changelog")
    };
    let (on, off) = (logged(true), logged(false));
    let headers: Vec<_> = on.iter().map(|record| text(&record.headers)).collect();
    assert_eq!(headers, ["trace=l1 left=l1", "trace=l2 left=l2"]);
    let without: Vec<_> = on
        .into_iter()
        .map(|record| tidemill_streams::RawRecord {
            headers: Headers::new(),
            ..record
        })
        .collect();
    assert_eq!(without, off);
}
