//! Stores of a running program are read by key, range, prefix, window and as of a time.

use std::path::Path;
use std::time::Duration;

use tidemill_client::{MemoryCluster, Record, TopicPartition, Transport};
use tidemill_data::{
    HOUR, Headers, SECOND, Stamped, StoreName, Timestamp, Topic, Windowed, partition_for_key,
};
use tidemill_runtime::{Config, Position, QueryError, Running, Start, State};
use tidemill_streams::{App, Direction, Materialized, RowRange, Session, Tumbling};

const PRICES: Topic<String, String> = Topic::new("prices");
const CITIES: Topic<String, String> = Topic::new("cities");
const LATEST: StoreName<String, String> = StoreName::new("latest");
const HISTORY: StoreName<String, String> = StoreName::new("history");
const KNOWN: StoreName<String, String> = StoreName::new("known");
const WINDOWS: StoreName<Windowed<String>, i64> = StoreName::new("windows");
const SESSIONS: StoreName<Windowed<String>, i64> = StoreName::new("sessions");
const PARTITIONS: i32 = 3;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn write(cluster: &MemoryCluster, topic: &str, key: &str, value: &str, ms: i64) {
    let partition = TopicPartition::new(topic, partition_for_key(key.as_bytes(), PARTITIONS));
    let record = Record {
        offset: 0,
        timestamp: at(ms),
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        headers: Headers::default(),
    };
    cluster.append(&partition, record).unwrap();
}

fn app() -> App {
    let app = App::new("app");
    let prices = app.stream(&PRICES);
    let _ = app.global_table_as(&CITIES, &KNOWN);
    let grouped = prices.clone().group_by_key();
    let _ = grouped
        .clone()
        .window(Tumbling::of(10 * SECOND).grace(HOUR))
        .count(&WINDOWS);
    let _ = grouped
        .window(Session::gap(5 * SECOND).grace(HOUR))
        .count(&SESSIONS);
    let _ = prices.clone().to_table(&LATEST);
    let _ = prices.to_table(Materialized::from(&HISTORY).versioned(HOUR));
    app
}

async fn start(cluster: &MemoryCluster, state: &Path) -> Running {
    let config = Config::new()
        .state_dir(state)
        .set("commit.interval.ms", 3_600_000)
        .unwrap();
    let launch = app().launch(config).transport(cluster.clone());
    launch.start().await.unwrap()
}

async fn world(state: &Path) -> (MemoryCluster, Running) {
    let cluster = MemoryCluster::new();
    cluster.topic("prices", PARTITIONS);
    cluster.topic("cities", PARTITIONS);
    write(&cluster, "cities", "ul", "Ulm", 1);
    for (n, key) in ["aa", "ab", "ba", "bb", "ca"].into_iter().enumerate() {
        let ms = 1_000 * n as i64;
        write(&cluster, "prices", key, &format!("{key}1"), ms);
        write(&cluster, "prices", key, &format!("{key}2"), ms + 20_000);
    }
    let running = start(&cluster, state).await;
    loop {
        let rows = running.store(&HISTORY).all().await.unwrap();
        if rows.iter().filter(|(_, value)| value.ends_with('2')).count() == 5 {
            return (cluster, running);
        }
        tokio::task::yield_now().await;
    }
}

fn keys<V>(rows: &[(String, V)]) -> Vec<&str> {
    rows.iter().map(|(key, _)| key.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_read_by_key_range_prefix_and_as_of_a_time() {
    let state = tempfile::tempdir().unwrap();
    let (_cluster, running) = world(state.path()).await;
    let latest = running.store(&LATEST);
    let key = |key: &str| key.to_owned();
    assert_eq!(
        latest.get_stamped(&key("ab")).await.unwrap(),
        Some(Stamped::new(key("ab2"), at(21_000)))
    );
    assert_eq!(latest.get(&key("zz")).await.unwrap(), None);
    assert_eq!(
        keys(&latest.range(key("ab")..key("bb")).await.unwrap()),
        ["ab", "ba"]
    );
    assert_eq!(
        keys(&latest.range(key("ab")..=key("bb")).await.unwrap()),
        ["ab", "ba", "bb"]
    );
    assert_eq!(keys(&latest.prefix("b").await.unwrap()), ["ba", "bb"]);
    let last_two = RowRange {
        direction: Direction::Backward,
        rows_max: 2,
        ..RowRange::ALL
    };
    assert_eq!(keys(&latest.rows(last_two).await.unwrap()), ["ca", "bb"]);

    let history = running.store(&HISTORY);
    assert_eq!(history.get(&key("ba")).await.unwrap().as_deref(), Some("ba2"));
    let then = history.get_as_of(&key("ba"), at(5_000)).await.unwrap();
    assert_eq!(then, Some(Stamped::new(key("ba1"), at(2_000))));
    assert_eq!(history.get_as_of(&key("ba"), at(1_999)).await.unwrap(), None);

    let known = running.store(&KNOWN);
    assert_eq!(known.get(&key("ul")).await.unwrap().as_deref(), Some("Ulm"));
    assert_eq!(known.all().await.unwrap().len(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_and_sessions_are_read_by_key_and_time() {
    let state = tempfile::tempdir().unwrap();
    let (_cluster, running) = world(state.path()).await;
    let windows = running.store(&WINDOWS);
    let key = "ab".to_owned();
    let first = Windowed::new(key.clone(), 0, 10_000);
    assert_eq!(
        windows.window(&first).await.unwrap(),
        Some(Stamped::new(1, at(1_000)))
    );
    let of_key = windows.windows_of(&key, ..).await.unwrap();
    let starts: Vec<i64> = of_key.iter().map(|(window, _)| window.start_ms).collect();
    assert_eq!(starts, [0, 20_000]);
    assert_eq!(windows.windows_of(&key, at(1)..).await.unwrap().len(), 1);
    assert_eq!(windows.windows(..at(20_000)).await.unwrap().len(), 5);

    let sessions = running.store(&SESSIONS);
    let of_key = sessions.windows_of(&key, at(15_000)..).await.unwrap();
    let spans: Vec<(i64, i64)> = of_key
        .iter()
        .map(|(window, _)| (window.start_ms, window.end_ms))
        .collect();
    assert_eq!(spans, [(21_000, 21_000)]);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_form_sees_nothing_before_the_commit() {
    let state = tempfile::tempdir().unwrap();
    let (_cluster, running) = world(state.path()).await;
    assert_eq!(running.store(&LATEST).all().await.unwrap().len(), 5);
    assert_eq!(running.store(&LATEST).committed().all().await.unwrap().len(), 0);
    assert_eq!(
        running
            .store(&WINDOWS)
            .committed()
            .windows(..)
            .await
            .unwrap()
            .len(),
        0
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_or_of_another_kind_is_refused_by_name() {
    let state = tempfile::tempdir().unwrap();
    let (_cluster, running) = world(state.path()).await;
    let unknown = running
        .store(&StoreName::<String, String>::new("latst"))
        .all()
        .await;
    assert!(
        matches!(unknown, Err(QueryError::UnknownStore { ref known, .. }) if known.contains(&"latest".to_owned()))
    );
    let windowed = running
        .store(&StoreName::<String, String>::new("windows"))
        .all()
        .await;
    assert!(matches!(windowed, Err(QueryError::Kind { .. })));
    let table = running.store(&StoreName::<Windowed<String>, i64>::new("latest"));
    assert!(matches!(table.windows(..).await, Err(QueryError::Kind { .. })));
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_key_is_the_instance_that_has_its_row() {
    let cluster = MemoryCluster::new();
    cluster.topic("prices", PARTITIONS);
    cluster.topic("cities", PARTITIONS);
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut instances = Vec::new();
    for (state, server) in states.iter().zip(["one:1", "two:2"]) {
        let config = Config::new()
            .state_dir(state.path())
            .set("application.server", server)
            .unwrap();
        let launch = app().launch(config).transport(cluster.clone());
        instances.push((server, launch.start().await.unwrap()));
    }
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    for key in &keys {
        write(&cluster, "prices", key, "1", 1);
    }
    for key in &keys {
        // Until the group has settled and the row is there, the two may not agree.
        loop {
            let mut holding = Vec::new();
            for (server, instance) in &instances {
                if instance.store(&LATEST).get(key).await.unwrap().is_some() {
                    holding.push((*server).to_owned());
                }
            }
            let owner = instances[0].1.store(&LATEST).owner(key).await.unwrap();
            if holding.len() == 1 && owner == holding.pop() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(instances[0].1.owners().await.unwrap().len(), 2);
    let (_, gone) = instances.pop().unwrap();
    gone.stop().await.unwrap();
    let (_, left) = instances.pop().unwrap();
    loop {
        let owners = left.owners().await.unwrap();
        let first = owners
            .first()
            .map(|owner| (owner.server.as_str(), owner.tasks.len()));
        if first.is_some_and(|(server, tasks)| server == "one:1" && tasks >= 3) {
            break;
        }
        tokio::task::yield_now().await;
    }
    left.stop().await.unwrap();
}

#[test]
fn an_application_server_is_a_host_and_a_port() {
    assert!(Config::new().set("application.server", "localhost:8080").is_ok());
    let error = Config::new()
        .set("application.server", "localhost")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("application.server") && error.contains("HOST:PORT"),
        "{error}"
    );
}

/// Up to the last record of the key's partition, or of all partitions.
fn end(cluster: &MemoryCluster, topic: &str, of: Option<&str>) -> Position {
    let only = of.map(|key| partition_for_key(key.as_bytes(), PARTITIONS));
    let at: Vec<TopicPartition> = (0..PARTITIONS)
        .filter(|partition| only.is_none_or(|only| only == *partition))
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let ends = cluster.end_offsets(&at).unwrap();
    let with =
        |position: Position, (at, end): (&TopicPartition, i64)| position.with(topic, at.partition, end - 1);
    at.iter()
        .zip(ends)
        .filter(|(_, end)| *end > 0)
        .fold(Position::new(), with)
}

/// Longer than any test takes: a wait that ends by an event.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_tells_the_position_of_the_inputs_that_it_reflects() {
    let state = tempfile::tempdir().unwrap();
    let (cluster, running) = world(state.path()).await;
    let latest = running
        .store(&LATEST)
        .at_least(end(&cluster, "prices", None), LONG);
    let all = latest.clone().with_position().all().await.unwrap();
    assert_eq!(
        (all.found.len(), all.position),
        (5, end(&cluster, "prices", None))
    );
    let one = latest.with_position().get(&"ab".to_owned()).await.unwrap();
    assert_eq!(one.found.as_deref(), Some("ab2"));
    assert_eq!(one.position, end(&cluster, "prices", Some("ab")));
    let windows = running.store(&WINDOWS).with_position();
    let of_key = windows.windows_of(&"ab".to_owned(), ..).await.unwrap();
    assert_eq!(of_key.position, end(&cluster, "prices", None));
    // Nothing is committed yet.
    let committed = running
        .store(&LATEST)
        .committed()
        .with_position()
        .all()
        .await
        .unwrap();
    assert_eq!((committed.found.len(), committed.position), (0, Position::new()));
    let known = running.store(&KNOWN).with_position().all().await.unwrap();
    assert_eq!(known.position, end(&cluster, "cities", None));
    // A handle on a store keeps the state directory.
    running.stop().await.unwrap();

    // What was committed is reflected from the start.
    let running = start(&cluster, state.path()).await;
    let again = running
        .store(&LATEST)
        .committed()
        .with_position()
        .all()
        .await
        .unwrap();
    assert_eq!(
        (again.found.len(), again.position),
        (5, end(&cluster, "prices", None))
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_demands_a_position_waits_for_it_or_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let (cluster, running) = world(state.path()).await;
    let key = "ab".to_owned();
    running
        .store(&LATEST)
        .at_least(end(&cluster, "prices", None), LONG)
        .all()
        .await
        .unwrap();
    let before = end(&cluster, "prices", Some(&key));
    running.pause();
    write(&cluster, "prices", &key, "ab3", 50_000);
    let written = end(&cluster, "prices", Some(&key));
    let wanted = running.store(&LATEST).at_least(written.clone(), Duration::ZERO);
    assert_eq!(
        wanted.get(&key).await.unwrap_err(),
        QueryError::Behind {
            name: "latest".to_owned(),
            wanted: written.clone(),
            reached: before.clone(),
        }
    );
    let text = wanted.all().await.unwrap_err().to_string();
    assert!(
        text.contains(&written.to_string()) && text.contains(&before.to_string()),
        "{text}"
    );
    let waiting = running.store(&LATEST).at_least(written.clone(), LONG);
    let key_asked = key.clone();
    let waiting = tokio::spawn(async move { waiting.get(&key_asked).await });
    // An answer that demands nothing comes in the meantime.
    assert_eq!(
        running.store(&LATEST).get(&key).await.unwrap().as_deref(),
        Some("ab2")
    );
    running.resume();
    assert_eq!(waiting.await.unwrap().unwrap().as_deref(), Some("ab3"));

    write(&cluster, "cities", "ul", "Neu-Ulm", 2);
    let known = running
        .store(&KNOWN)
        .at_least(end(&cluster, "cities", None), LONG);
    assert_eq!(
        known.get(&"ul".to_owned()).await.unwrap().as_deref(),
        Some("Neu-Ulm")
    );

    let foreign = running
        .store(&LATEST)
        .at_least(end(&cluster, "cities", None), LONG);
    assert_eq!(
        foreign.all().await.unwrap_err().to_string(),
        "store \"latest\" cannot be awaited to reflect cities: its tasks read prices"
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_are_kept_leave_the_state_directory_of_a_stopped_program_free() {
    let state = tempfile::tempdir().unwrap();
    let (cluster, running) = world(state.path()).await;
    let (kept, key) = (running.store(&LATEST), "aa".to_owned());
    let global = running.store(&KNOWN);
    running.stop().await.unwrap();
    let again = start(&cluster, state.path()).await;
    let over = |error| {
        matches!(
            error,
            QueryError::NotReady {
                state: State::NotRunning,
                ..
            }
        )
    };
    assert!(over(kept.get(&key).await.unwrap_err()));
    assert!(over(kept.owner(&key).await.unwrap_err()));
    assert!(over(global.all().await.unwrap_err()));
    assert!(again.store(&LATEST).get(&key).await.unwrap().is_some());
    again.stop().await.unwrap();
}
