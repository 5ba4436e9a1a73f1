//! Two instances share a program's stores, and each answers for both.

use std::time::Duration;

use tidemill_client::{MemoryCluster, Record, TopicPartition, Transport};
use tidemill_data::{HOUR, Headers, SECOND, StoreName, Timestamp, Topic, Windowed, partition_for_key};
use tidemill_runtime::{Config, Position, QueryError, Running, Start};
use tidemill_streams::{App, Direction, Materialized, RowRange, Session, Tumbling};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http::get;

const PRICES: Topic<String, String> = Topic::new("prices");
const CITIES: Topic<String, String> = Topic::new("cities");
const LATEST: StoreName<String, String> = StoreName::new("latest");
const HISTORY: StoreName<String, String> = StoreName::new("history");
const KNOWN: StoreName<String, String> = StoreName::new("known");
const WINDOWS: StoreName<Windowed<String>, i64> = StoreName::new("windows");
const SESSIONS: StoreName<Windowed<String>, i64> = StoreName::new("sessions");
const PARTITIONS: i32 = 4;
/// Longer than any test takes: a wait that ends by an event.
const LONG: Duration = Duration::from_secs(600);

struct Instance {
    server: String,
    running: Running,
    serving: JoinHandle<std::io::Result<()>>,
    _state: tempfile::TempDir,
}

impl Instance {
    async fn start(cluster: &MemoryCluster) -> Self {
        let app = App::new("app");
        let prices = app.stream(&PRICES);
        let _ = app.global_table_as(&CITIES, &KNOWN);
        let grouped = prices.clone().group_by_key();
        let windows = Tumbling::of(10 * SECOND).grace(HOUR);
        let _ = grouped.clone().window(windows).count(&WINDOWS);
        let _ = grouped
            .window(Session::gap(5 * SECOND).grace(HOUR))
            .count(&SESSIONS);
        let _ = prices.clone().to_table(&LATEST);
        let _ = prices.to_table(Materialized::from(&HISTORY).versioned(HOUR));
        let state = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let config = Config::new().state_dir(state.path());
        let config = config.set("application.server", &server).unwrap();
        let launch = app.launch(config).transport(cluster.clone());
        let running = launch.start().await.unwrap();
        let service = running.query_service();
        Self {
            server,
            running,
            serving: tokio::spawn(async move { axum::serve(listener, service).await }),
            _state: state,
        }
    }

    async fn stop(self) {
        self.running.stop().await.unwrap();
        self.serving.abort();
    }
}

fn key(n: i32) -> String {
    format!("k{n:02}")
}

fn write(cluster: &MemoryCluster, topic: &str, key: &str, value: &str, ms: i64) {
    let partition = TopicPartition::new(topic, partition_for_key(key.as_bytes(), PARTITIONS));
    let record = Record {
        offset: 0,
        timestamp: Timestamp::from_millis(ms),
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        headers: Headers::default(),
    };
    cluster.append(&partition, record).unwrap();
}

/// Up to what is there now.
fn end(cluster: &MemoryCluster, topic: &str) -> Position {
    let at: Vec<_> = (0..PARTITIONS).map(|n| TopicPartition::new(topic, n)).collect();
    let ends = cluster.end_offsets(&at).unwrap();
    let with =
        |position: Position, (at, end): (&TopicPartition, i64)| position.with(topic, at.partition, end - 1);
    at.iter()
        .zip(ends)
        .filter(|(_, end)| *end > 0)
        .fold(Position::new(), with)
}

/// Two instances that have two of the four tasks each, and twenty keys.
async fn world() -> (MemoryCluster, Instance, Instance) {
    let cluster = MemoryCluster::new();
    cluster.topic("prices", PARTITIONS);
    cluster.topic("cities", PARTITIONS);
    write(&cluster, "cities", "ul", "Ulm", 1);
    for n in 0..20 {
        write(&cluster, "prices", &key(n), &format!("{n} first"), i64::from(n));
        write(
            &cluster,
            "prices",
            &key(n),
            &format!("{n} then"),
            20_000 + i64::from(n),
        );
    }
    let (one, two) = (Instance::start(&cluster).await, Instance::start(&cluster).await);
    loop {
        let mut owners = one.running.owners().await.unwrap();
        owners.retain(|owner| owner.tasks.len() == 2);
        owners.sort_by(|a, b| a.tasks.cmp(&b.tasks));
        owners.dedup_by(|a, b| a.tasks == b.tasks);
        let mut servers: Vec<_> = owners.into_iter().map(|owner| owner.server).collect();
        servers.sort();
        servers.dedup();
        if servers.len() == 2 {
            return (cluster, one, two);
        }
        tokio::task::yield_now().await;
    }
}

fn hex(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_all_instances_are_read_from_either() {
    let (cluster, one, two) = world().await;
    for instance in [&one, &two] {
        let running = &instance.running;
        let latest = running
            .store(&LATEST)
            // As long as it takes: no time overflows.
            .at_least(end(&cluster, "prices"), Duration::MAX)
            .everywhere();
        for n in 0..20 {
            assert_eq!(latest.get(&key(n)).await.unwrap(), Some(format!("{n} then")));
        }
        assert_eq!(latest.get(&"none".to_owned()).await.unwrap(), None);
        assert_eq!(latest.get(&String::new()).await.unwrap(), None);
        let keys = |rows: Vec<(String, String)>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let all: Vec<String> = (0..20).map(key).collect();
        assert_eq!(keys(latest.all().await.unwrap()), all);
        assert_eq!(keys(latest.range(key(3)..key(7)).await.unwrap()), all[3..7]);
        assert_eq!(keys(latest.prefix("k1").await.unwrap()), all[10..]);
        let last_three = RowRange {
            direction: Direction::Backward,
            rows_max: 3,
            ..RowRange::ALL
        };
        let rows = latest.rows(last_three).await.unwrap();
        assert_eq!(
            rows.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            ["k19", "k18", "k17"]
        );

        let history = running
            .store(&HISTORY)
            .at_least(end(&cluster, "prices"), LONG)
            .everywhere();
        let then = history
            .get_as_of(&key(5), Timestamp::from_millis(10_000))
            .await
            .unwrap();
        let then = then.expect("it was there by then");
        assert_eq!((then.value.as_str(), then.timestamp.millis()), ("5 first", 5));
        let before = history
            .get_as_of(&key(5), Timestamp::from_millis(4))
            .await
            .unwrap();
        assert_eq!(before, None);

        let known = running.store(&KNOWN).everywhere();
        assert_eq!(known.get(&"ul".to_owned()).await.unwrap().as_deref(), Some("Ulm"));
        assert_eq!(known.all().await.unwrap().len(), 1);
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_and_sessions_of_all_instances_are_read_from_either() {
    let (cluster, one, two) = world().await;
    for instance in [&one, &two] {
        let running = &instance.running;
        let windows = running
            .store(&WINDOWS)
            .at_least(end(&cluster, "prices"), LONG)
            .everywhere();
        let sessions = running
            .store(&SESSIONS)
            .at_least(end(&cluster, "prices"), LONG)
            .everywhere();
        for n in 0..20 {
            let first = Windowed::new(key(n), 0, 10_000);
            let row = windows
                .window(&first)
                .await
                .unwrap()
                .expect("the window is there");
            assert_eq!((row.value, row.timestamp.millis()), (1, i64::from(n)));
            let of_key = windows.windows_of(&key(n), ..).await.unwrap();
            let starts: Vec<i64> = of_key.iter().map(|(window, _)| window.start_ms).collect();
            assert_eq!(starts, [0, 20_000]);
            let late = Timestamp::from_millis(15_000)..;
            let of_key = sessions.windows_of(&key(n), late).await.unwrap();
            let at = 20_000 + i64::from(n);
            let spans: Vec<_> = of_key
                .iter()
                .map(|(window, _)| (window.start_ms, window.end_ms))
                .collect();
            assert_eq!(spans, [(at, at)]);
        }
        let all = windows.windows(..).await.unwrap();
        assert_eq!(all.len(), 40);
        assert!(all.is_sorted_by_key(|(window, _)| window.start_ms));
        assert_eq!(
            windows
                .windows(..Timestamp::from_millis(20_000))
                .await
                .unwrap()
                .len(),
            20
        );
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_told_and_demanded_of_all_instances() {
    let (cluster, one, two) = world().await;
    let wanted = end(&cluster, "prices");
    let latest = one.running.store(&LATEST).at_least(wanted.clone(), LONG);
    let all = latest.with_position().everywhere().all().await.unwrap();
    assert_eq!((all.found.len(), all.position), (20, wanted));
    // Past the end of every partition, so whoever is asked is behind.
    let beyond = (0..PARTITIONS).fold(Position::new(), |position, n| {
        position.with("prices", n, 1_000_000)
    });
    let impatient = one
        .running
        .store(&LATEST)
        .at_least(beyond.clone(), Duration::ZERO)
        .everywhere();
    for n in 0..20 {
        let error = impatient.get(&key(n)).await.unwrap_err();
        assert!(
            matches!(&error, QueryError::Behind { wanted, reached, .. }
                if *wanted == beyond && reached.iter().count() == 1),
            "{error}"
        );
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_elsewhere_is_refused_with_421_and_its_owner_named() {
    let (cluster, one, two) = world().await;
    let wanted = end(&cluster, "prices");
    for n in 0..20 {
        let path = format!("/stores/latest/owner/{}", hex(&key(n)));
        let (status, _, body) = get(&one.server, &path).await;
        assert_eq!(status, 200, "{body}");
        let partition = partition_for_key(key(n).as_bytes(), PARTITIONS);
        let of = |server: &str| format!(r#"{{"task":"0_{partition}","server":"{server}"}}"#);
        let (owner, other) = if body == of(&one.server) {
            (&one, &two)
        } else {
            assert_eq!(body, of(&two.server));
            (&two, &one)
        };
        let path = format!(
            "/stores/latest/rows/{}?task=0_{partition}&at_least={wanted}&wait=60000",
            hex(&key(n))
        );
        let (status, head, body) = get(&owner.server, &path).await;
        assert_eq!((status, body), (200, format!("{n} then")));
        let of_partition = wanted.of("prices", partition).expect("its record is there");
        assert!(
            head.contains(&format!("position: prices-{partition}@{of_partition}")),
            "{head}"
        );
        let (status, head, body) = get(&other.server, &path).await;
        assert_eq!(status, 421, "{head}\n{body}");
        assert!(
            body.contains(&format!("task 0_{partition} is not here")),
            "{body}"
        );
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_follows_its_task_to_another_instance() {
    let (cluster, one, two) = world().await;
    let latest = one
        .running
        .store(&LATEST)
        .at_least(end(&cluster, "prices"), LONG)
        .everywhere();
    assert_eq!(latest.all().await.unwrap().len(), 20);
    // What it knows of the owners is now wrong for the tasks of this one.
    two.stop().await;
    for n in 0..20 {
        assert_eq!(latest.get(&key(n)).await.unwrap(), Some(format!("{n} then")));
    }
    assert_eq!(latest.all().await.unwrap().len(), 20);
    drop(latest);
    one.stop().await;
}
