//! Headers of rows that processors put: kept with the row, in its changelog, and found again after a restart.

use std::time::Duration;

use tidemill_data::{BoxError, HOUR, Headers, MINUTE, StoreName, Topic, Windowed};
use tidemill_streams::{
    App, Clock, Direction, Forward, KeyValues, Processor, ReadOnlyKeyValues, Record, ScheduleId, Sessions,
    StoreRows, Stores, Timers, Versions, Windows,
};
use tidemill_testing::{TestDriver, ms};

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<String, String> = Topic::new("out");
const STORE: StoreName<String, String> = StoreName::new("store");

type To<'a, 'b> = &'a mut Forward<'b, String, String>;
type Say = Result<String, BoxError>;

/// A processor that says what a function makes of its store; on a schedule of the wall clock it calls it, too.
struct Says<S, F>(S, F);

impl<S, F> Processor<String, String, String, String> for Says<S, F>
where
    S: Send + 'static,
    F: Fn(&S, &str, To<'_, '_>) -> Say + Send + 'static,
{
    fn start(&mut self, timers: &mut Timers<'_>) {
        timers.every(HOUR, Clock::WallClock);
    }

    fn process(&mut self, record: Record<String, String>, to: To<'_, '_>) -> Result<(), BoxError> {
        let said = (self.1)(&self.0, &record.value, to)?;
        to.forward(record.with_value(said));
        Ok(())
    }

    fn punctuate(
        &mut self,
        _: ScheduleId,
        _: tidemill_data::Timestamp,
        to: To<'_, '_>,
    ) -> Result<(), BoxError> {
        (self.1)(&self.0, "put", to).map(drop)
    }
}

fn driver<S: Stores>(
    preserve: bool,
    store: impl Fn(&App) -> S,
    does: impl Fn(&S, &str, To<'_, '_>) -> Say + Clone + Send + Sync + 'static,
) -> TestDriver {
    let app = App::new("app");
    if preserve {
        app.preserve_headers();
    }
    let store = store(&app);
    app.stream(&IN)
        .process_with(store, move |store| Says(store, does.clone()))
        .to(&OUT);
    TestDriver::new(&app)
}

/// Pipes a command with `trace` as a header; what the processor said.
fn pipe(t: &mut TestDriver, command: &str, trace: &str, at: i64) -> String {
    let record = Record {
        headers: Headers::new().with("trace", trace.to_owned()),
        ..Record::new("k".to_owned(), command.to_owned(), ms(at))
    };
    t.try_pipe(&IN, record).expect("nothing fails");
    t.read(&OUT).into_iter().map(|record| record.value).collect()
}

fn text(headers: &Headers) -> String {
    let one = |header: &tidemill_data::Header| {
        let value = header.value.as_deref().unwrap_or_default();
        format!("{}={}", header.name, String::from_utf8_lossy(value))
    };
    headers.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The headers of all rows.
fn scanned<R>(mut rows: StoreRows<'_, R>) -> Say {
    let mut all = Vec::new();
    while let Some(row) = rows.next() {
        let _ = row?;
        all.push(text(rows.headers()));
    }
    Ok(all.join(","))
}

fn own() -> Headers {
    Headers::new().with("by", "hand")
}

/// What is asked of each kind of store: put with the record's headers or with others, read, all rows.
fn says_what_it_keeps<S: Stores>(
    store: impl Fn(&App) -> S,
    does: impl Fn(&S, &str, To<'_, '_>) -> Say + Clone + Send + Sync + 'static,
) {
    let mut t = driver(true, &store, does.clone());
    assert_eq!(pipe(&mut t, "get", "t0", 1), "", "no row yet");
    pipe(&mut t, "put", "t1", 2);
    assert_eq!(pipe(&mut t, "get", "t2", 3), "trace=t1");
    t.restart_without_state();
    assert_eq!(pipe(&mut t, "get", "t3", 4), "trace=t1", "from the changelog");
    t.restart();
    assert_eq!(pipe(&mut t, "get", "t4", 5), "trace=t1", "from the database");
    assert_eq!(pipe(&mut t, "scan", "t5", 6), "trace=t1");
    pipe(&mut t, "put own", "t6", 7);
    assert_eq!(pipe(&mut t, "get", "t7", 8), "by=hand");
    t.restart_without_state();
    assert_eq!(pipe(&mut t, "scan", "t8", 9), "by=hand");
    t.advance(HOUR);
    assert_eq!(pipe(&mut t, "get", "t9", 10), "", "a punctuation has no headers");

    let mut t = driver(false, store, does);
    pipe(&mut t, "put", "t1", 2);
    assert_eq!(pipe(&mut t, "get", "t2", 3), "");
    pipe(&mut t, "put own", "t3", 4);
    assert_eq!(pipe(&mut t, "get", "t4", 5), "");
    assert_eq!(pipe(&mut t, "scan", "t5", 6), "");
    t.commit();
    let logged = t.read_raw("app-store-changelog");
    assert!(!logged.is_empty() && logged.iter().all(|record| record.headers.is_empty()));
}

fn unknown(command: &str) -> Say {
    Err(format!("{command:?} is no command").into())
}

fn with_key_values(rows: &KeyValues<String, String>, command: &str, to: To<'_, '_>) -> Say {
    let (key, value) = ("k".to_owned(), "v".to_owned());
    match command {
        "put" => rows.put(to, &key, &value).map(|()| String::new()),
        "put own" => rows
            .put_with_headers(to, &key, &value, &own())
            .map(|()| String::new()),
        "get" => Ok(text(&rows.headers(to, &key)?)),
        "scan" => scanned(rows.all(to, Direction::Forward)?),
        _ => unknown(command),
    }
}

#[test]
fn rows_by_key_keep_headers() {
    says_what_it_keeps(|app| app.key_values(&STORE), with_key_values);
}

#[test]
fn rows_that_expire_keep_headers_as_long_as_they_live() {
    let lasting = |app: &App| app.key_values_with_ttl(&STORE, 24 * HOUR, Clock::StreamTime);
    says_what_it_keeps(lasting, with_key_values);
    let brief = |app: &App| app.key_values_with_ttl(&STORE, Duration::from_millis(10), Clock::StreamTime);
    let mut t = driver(true, brief, with_key_values);
    pipe(&mut t, "put", "t1", 1);
    assert_eq!(pipe(&mut t, "get", "t2", 10), "trace=t1");
    assert_eq!(pipe(&mut t, "get", "t3", 11), "");
}

#[test]
fn windows_keep_headers() {
    says_what_it_keeps(
        |app| app.windows(&STORE, MINUTE, HOUR),
        |rows: &Windows<String, String>, command, to| {
            let (key, value, start) = ("k".to_owned(), "v".to_owned(), ms(0));
            match command {
                "put" => rows.put(to, &key, start, &value).map(|()| String::new()),
                "put own" => rows
                    .put_with_headers(to, &key, start, &value, &own())
                    .map(|()| String::new()),
                "get" => Ok(text(&rows.headers(to, &key, start)?)),
                "scan" => scanned(rows.fetch(to, &key, ms(0)..=ms(9), Direction::Forward)?),
                _ => unknown(command),
            }
        },
    );
}

#[test]
fn each_of_the_values_of_a_window_keeps_its_headers() {
    let mut t = driver(
        true,
        |app| app.windows_with_duplicates(&STORE, MINUTE, HOUR),
        |rows: &Windows<String, String>, command, to| match command {
            "put" => rows
                .put(to, &"k".to_owned(), ms(0), &"v".to_owned())
                .map(|()| String::new()),
            _ => scanned(rows.all(to, Direction::Backward)?),
        },
    );
    pipe(&mut t, "put", "t1", 1);
    pipe(&mut t, "put", "t2", 2);
    t.restart_without_state();
    assert_eq!(pipe(&mut t, "scan", "t3", 3), "trace=t2,trace=t1");
}

#[test]
fn sessions_keep_headers() {
    says_what_it_keeps(
        |app| app.sessions(&STORE, HOUR),
        |rows: &Sessions<String, String>, command, to| {
            let session = Windowed {
                key: "k".to_owned(),
                start_ms: 0,
                end_ms: 5,
            };
            let value = "v".to_owned();
            match command {
                "put" => rows.put(to, &session, &value).map(|()| String::new()),
                "put own" => rows
                    .put_with_headers(to, &session, &value, &own())
                    .map(|()| String::new()),
                "get" => Ok(text(&rows.headers(to, &session)?)),
                "scan" => scanned(rows.fetch(to, &"k".to_owned(), Direction::Forward)?),
                _ => unknown(command),
            }
        },
    );
}

#[test]
fn versions_keep_headers_of_their_own() {
    let versions = |rows: &Versions<String, String>, command: &str, to: To<'_, '_>| {
        let (key, value) = ("k".to_owned(), "v".to_owned());
        let (what, at) = command.split_once('@').ok_or("no time")?;
        let at = ms(at.parse()?);
        match what {
            "put" => rows.put(to, &key, Some(&value), at).map(|()| String::new()),
            "put own" => rows
                .put_with_headers(to, &key, Some(&value), at, &own())
                .map(|()| String::new()),
            "get" => Ok(rows
                .get_as_of(to, &key, at)?
                .map_or("nothing".to_owned(), |version| text(&version.headers))),
            _ => Ok(rows
                .get(to, &key)?
                .map_or("nothing".to_owned(), |version| text(&version.headers))),
        }
    };
    for preserve in [true, false] {
        let mut t = driver(preserve, |app| app.versions(&STORE, HOUR), versions);
        pipe(&mut t, "put@10", "t1", 10);
        pipe(&mut t, "put own@20", "t2", 20);
        pipe(&mut t, "put@30", "t3", 30);
        // A version of the past has the headers of the record that told it.
        pipe(&mut t, "put@15", "t4", 31);
        t.restart_without_state();
        let asked = ["get@9", "get@10", "get@15", "get@20", "get@30", "latest@0"];
        let said = asked.map(|asked| pipe(&mut t, asked, "?", 40));
        let expected = if preserve {
            [
                "nothing", "trace=t1", "trace=t4", "by=hand", "trace=t3", "trace=t3",
            ]
        } else {
            ["nothing", "", "", "", "", ""]
        };
        assert_eq!(said, expected);
    }
}

#[test]
fn a_shared_store_has_the_headers_of_whoever_put_last() {
    const OTHER: Topic<String, String> = Topic::new("other");
    let app = App::new("app");
    app.preserve_headers();
    let store = app.key_values(&STORE);
    for topic in [&IN, &OTHER] {
        app.stream(topic)
            .process_with(store.clone(), |store| Says(store, with_key_values))
            .to(&OUT);
    }
    let mut t = TestDriver::new(&app);
    pipe(&mut t, "put", "t1", 1);
    let record = Record {
        headers: Headers::new().with("trace", "t2"),
        ..Record::new("k".to_owned(), "put".to_owned(), ms(2))
    };
    t.try_pipe(&OTHER, record).expect("nothing fails");
    let _ = t.read(&OUT);
    assert_eq!(pipe(&mut t, "get", "t3", 3), "trace=t2");
}

#[test]
fn a_read_only_store_has_the_headers_of_the_topics_records_before_and_after_a_restart() {
    const LIMITS: Topic<String, String> = Topic::new("limits");
    let app = App::new("app");
    app.preserve_headers();
    let store = app.read_only_state_store(&LIMITS, &STORE);
    app.stream(&IN)
        .process_with(store, |store| {
            let says = |store: &ReadOnlyKeyValues<String, String>, _: &str, to: To<'_, '_>| {
                Ok(text(&store.headers(to, &"k".to_owned())?))
            };
            Says(store, says)
        })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    let limit = Record {
        headers: Headers::new().with("set-by", "ada"),
        ..Record::new("k".to_owned(), "9".to_owned(), ms(1))
    };
    t.try_pipe(&LIMITS, limit).expect("nothing fails");
    assert_eq!(pipe(&mut t, "get", "t1", 2), "set-by=ada");
    t.restart_without_state();
    assert_eq!(pipe(&mut t, "get", "t2", 3), "set-by=ada");
}
