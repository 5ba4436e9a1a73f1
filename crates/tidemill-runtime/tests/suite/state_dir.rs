//! State directories that were deleted, half deleted, or are another's: restored, or refused with their name.

use std::fs;
use std::path::{Path, PathBuf};

use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, StoreName, Timestamp, Topic};
use tidemill_runtime::{Config, Start, State};
use tidemill_streams::App;

const CLICKS: Topic<String, String> = Topic::new("clicks");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const KEYS: i64 = 10;

fn counting(name: &str) -> App {
    let app = App::new(name);
    let _ = app.stream(&CLICKS).group_by_key().count(&COUNTS);
    app
}

/// Clicks every key in each of two partitions.
fn click(cluster: &MemoryCluster) {
    for partition in 0..2 {
        for key in 0..KEYS {
            let click = Record {
                offset: 0,
                timestamp: Timestamp::from_millis(0),
                key: Some(format!("k{partition}-{key}").into()),
                value: Some("x".into()),
                headers: Headers::default(),
            };
            cluster
                .append(&TopicPartition::new("clicks", partition), click)
                .unwrap();
        }
    }
}

/// Runs the program until every key was counted so often, or it ends; gives the error it ended with.
async fn run_until(cluster: &MemoryCluster, state: &Path, count: i64) -> Result<(), String> {
    let config = Config::new()
        .state_dir(state)
        .set("processing.guarantee", "exactly_once_v2")
        .unwrap();
    let app = counting("app");
    let launch = app.launch(config).transport(cluster.clone());
    let running = launch.start().await.map_err(|error| error.to_string())?;
    while running.state() != State::Error {
        let Ok(rows) = running.store(&COUNTS).all().await else {
            continue;
        };
        assert!(rows.iter().all(|(_, n)| *n <= count), "{rows:?}");
        if rows.len() == 2 * KEYS as usize && rows.iter().all(|(_, n)| *n == count) {
            break;
        }
    }
    running.stop().await.map_err(|error| error.to_string())
}

fn files(of: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(of)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_gone_is_restored() {
    let (cluster, state) = (MemoryCluster::new(), tempfile::tempdir().unwrap());
    cluster.topic("clicks", 2);
    click(&cluster);
    run_until(&cluster, state.path(), 1).await.unwrap();
    fs::remove_dir_all(state.path().join("app")).unwrap();
    click(&cluster);
    run_until(&cluster, state.path(), 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_file_is_missing_every_count_is_right() {
    let (cluster, state) = (MemoryCluster::new(), tempfile::tempdir().unwrap());
    cluster.topic("clicks", 2);
    click(&cluster);
    run_until(&cluster, state.path(), 1).await.unwrap();
    let task = state.path().join("app/0_0");
    let names: Vec<_> = files(&task)
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert!(names.len() > 4, "{names:?}");
    let mut count = 1;
    for position in 0..names.len() {
        // Names change from run to run: the file at this position of those that are there now.
        if let Some(file) = files(&task).get(position).filter(|file| file.is_file()) {
            fs::remove_file(file).unwrap();
        }
        click(&cluster);
        count += 1;
        run_until(&cluster, state.path(), count).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_file_is_found_out() {
    let (cluster, state) = (MemoryCluster::new(), tempfile::tempdir().unwrap());
    cluster.topic("clicks", 2);
    click(&cluster);
    run_until(&cluster, state.path(), 1).await.unwrap();
    let task = state.path().join("app/0_1");
    let mut count = 1;
    for position in 0..files(&task).len() {
        let all = files(&task);
        let file = all
            .get(position)
            .filter(|file| file.is_file() && !file.ends_with("owner"));
        if let Some(file) = file {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }
        click(&cluster);
        count += 1;
        run_until(&cluster, state.path(), count).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_another_partition_or_program_is_refused_by_name() {
    let (cluster, state) = (MemoryCluster::new(), tempfile::tempdir().unwrap());
    cluster.topic("clicks", 2);
    click(&cluster);
    run_until(&cluster, state.path(), 1).await.unwrap();
    let app = state.path().join("app");
    fs::rename(app.join("0_0"), app.join("aside")).unwrap();
    fs::rename(app.join("0_1"), app.join("0_0")).unwrap();
    fs::rename(app.join("aside"), app.join("0_1")).unwrap();
    click(&cluster);
    let refused = run_until(&cluster, state.path(), 2).await.unwrap_err();
    assert!(refused.contains("0_0 holds the state of app 0_1"), "{refused}");
    // Deleted as it says, they are restored.
    fs::remove_dir_all(app.join("0_0")).unwrap();
    fs::remove_dir_all(app.join("0_1")).unwrap();
    run_until(&cluster, state.path(), 2).await.unwrap();
    // The state of a program that has another name.
    let other = state.path().join("other");
    fs::rename(&app, &other).unwrap();
    let running = counting("other")
        .launch(Config::new().state_dir(state.path()))
        .transport(cluster.clone())
        .start()
        .await
        .unwrap();
    assert_eq!(running.ended().await, State::Error);
    let refused = running.stop().await.unwrap_err().to_string();
    assert!(refused.contains("holds the state of app 0_"), "{refused}");
}
