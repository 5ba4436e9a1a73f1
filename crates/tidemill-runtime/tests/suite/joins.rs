//! Joins whose tables are elsewhere: global tables kept up by every instance, foreign keys through internal topics.

use std::path::Path;

use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, StoreName, Timestamp, Topic, partition_for_key};
use tidemill_runtime::{Config, Running, Start, State};
use tidemill_streams::App;

const CLICKS: Topic<String, String> = Topic::new("clicks");
const CITIES: Topic<String, String> = Topic::new("cities");
const LATEST: StoreName<String, String> = StoreName::new("latest");
const PARTITIONS: i32 = 3;

fn config(state: &Path) -> Config {
    Config::new()
        .state_dir(state)
        .set("commit.interval.ms", 10)
        .unwrap()
}

fn write(cluster: &MemoryCluster, topic: &str, key: &str, value: &[u8]) {
    let at = TopicPartition::new(topic, partition_for_key(key.as_bytes(), PARTITIONS));
    let record = Record {
        offset: 0,
        timestamp: Timestamp::from_millis(1),
        key: Some(key.to_owned().into()),
        value: Some(value.to_vec().into()),
        headers: Headers::default(),
    };
    cluster.append(&at, record).unwrap();
}

fn cluster() -> MemoryCluster {
    let cluster = MemoryCluster::new();
    cluster.topic("clicks", PARTITIONS);
    cluster.topic("cities", PARTITIONS);
    cluster
}

async fn start(app: &App, cluster: &MemoryCluster, state: &Path) -> Running {
    app.launch(config(state))
        .transport(cluster.clone())
        .start()
        .await
        .unwrap()
}

/// Waits until these rows are there, and no others.
async fn expect(running: &Running, wanted: &[(&str, &str)]) {
    loop {
        let rows = running.store(&LATEST).all().await.unwrap();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        if rows == wanted {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn with_global_table() -> App {
    let app = App::new("app");
    let cities = app.global_table(&CITIES);
    app.stream(&CLICKS)
        .left_join_global(
            &cities,
            |_, city| city.clone(),
            |_, code, city| city.unwrap_or(code),
        )
        .to_table(&LATEST);
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_table_is_read_before_tasks_work_and_kept_up_across_restarts() {
    let (cluster, state) = (cluster(), tempfile::tempdir().unwrap());
    let app = with_global_table();
    write(&cluster, "cities", "ul", b"Ulm");
    write(&cluster, "cities", "aa", b"Aalen");
    write(&cluster, "clicks", "1", b"ul");
    write(&cluster, "clicks", "2", b"aa");
    let running = start(&app, &cluster, state.path()).await;
    expect(&running, &[("1", "Ulm"), ("2", "Aalen")]).await;
    // A row that comes later is seen by records that come after it: by and by, since nothing orders the two.
    write(&cluster, "cities", "ho", b"Horb");
    loop {
        write(&cluster, "clicks", "3", b"ho");
        let row = running.store(&LATEST).get(&"3".to_owned()).await.unwrap();
        if row.as_deref() == Some("Horb") {
            break;
        }
        tokio::task::yield_now().await;
    }
    running.stop().await.unwrap();

    write(&cluster, "cities", "ul", b"Ulm again");
    write(&cluster, "clicks", "1", b"ul");
    let running = start(&app, &cluster, state.path()).await;
    expect(&running, &[("1", "Ulm again"), ("2", "Aalen"), ("3", "Horb")]).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_global_table_that_cannot_be_read_stops_the_program() {
    let (cluster, state) = (cluster(), tempfile::tempdir().unwrap());
    let running = start(&with_global_table(), &cluster, state.path()).await;
    running.ready().await.unwrap();
    write(&cluster, "cities", "ul", b"\xff\xfe");
    assert_eq!(running.ended().await, State::Error);
    let error = running.stop().await.unwrap_err().to_string();
    assert!(error.contains("global"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_join_works_between_two_instances() {
    let (cluster, states) = (
        cluster(),
        [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
    );
    let app = App::new("app");
    let _ = app
        .table(&CLICKS)
        .by_foreign_key(|_, code: &String| code.clone())
        .named("clicks-in-cities")
        .join_as(&app.table(&CITIES), &LATEST, |_, _, city| city);
    let one = start(&app, &cluster, states[0].path()).await;
    let two = start(&app, &cluster, states[1].path()).await;
    let wanted: Vec<(String, String)> = (0..30)
        .map(|n| (format!("{n:02}"), format!("City {}", n % 4)))
        .collect();
    for city in 0..4 {
        write(
            &cluster,
            "cities",
            &format!("c{city}"),
            format!("City {city}").as_bytes(),
        );
    }
    for click in 0..30 {
        write(
            &cluster,
            "clicks",
            &format!("{click:02}"),
            format!("c{}", click % 4).as_bytes(),
        );
    }
    loop {
        let mut rows = one.store(&LATEST).all().await.unwrap();
        rows.extend(two.store(&LATEST).all().await.unwrap());
        rows.sort();
        if rows == wanted {
            break;
        }
        assert!(rows.len() <= wanted.len(), "{rows:?}");
        tokio::task::yield_now().await;
    }
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}
