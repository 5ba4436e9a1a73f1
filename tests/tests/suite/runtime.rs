//! Programs on the runtime, over our own client, against a broker in this process.

mod patterns;
mod static_members;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tidemill::broker::{Broker, BrokerConfig};
use tidemill::client::{Admin, TopicSpec};
use tidemill::prelude::*;
use tidemill::{RestoreProgress, StartError};

const LINES: Topic<String, String> = Topic::new("lines");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");

fn word_count() -> App {
    let app = App::new("word-count");
    app.stream(&LINES)
        .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    app
}

async fn broker() -> Broker {
    let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
    let topics = [TopicSpec::new("lines", 3), TopicSpec::new("totals", 3)];
    Admin::connect(broker.bootstrap())
        .unwrap()
        .create_topics(&topics)
        .await
        .unwrap();
    broker
}

fn config(broker: &Broker, state: &Path) -> Config {
    Config::new()
        .bootstrap_servers(broker.bootstrap())
        .state_dir(state)
}

/// Says every word of `lines`, and counts along.
async fn say(broker: &Broker, lines: &[&str], said: &mut BTreeMap<String, i64>) {
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    for (n, line) in lines.iter().enumerate() {
        let record = Produced::to(&LINES, &n.to_string(), &(*line).to_owned()).unwrap();
        producer.send(record).await.unwrap().await.unwrap();
        for word in line.split_whitespace() {
            *said.entry(word.to_owned()).or_default() += 1;
        }
    }
}

/// Waits until the stores of the instances together say what was said, each word in one of them.
async fn counted(instances: &[&Running], said: &BTreeMap<String, i64>) {
    loop {
        let mut counts = BTreeMap::new();
        let mut rows = 0;
        for instance in instances {
            let all = instance.store(&COUNTS).all().await.unwrap();
            rows += all.len();
            counts.extend(all);
        }
        if counts == *said && rows == counts.len() {
            return;
        }
        for (word, count) in &counts {
            assert!(
                *count <= said.get(word).copied().unwrap_or(0),
                "{word} was counted {count} times"
            );
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn word_count_goes_on_from_its_state_and_comes_back_without_it() {
    let (broker, state) = (broker().await, tempfile::tempdir().unwrap());
    let mut said = BTreeMap::new();
    let running = word_count().start(config(&broker, state.path())).await.unwrap();
    say(
        &broker,
        &["to be or not to be", "that is the question"],
        &mut said,
    )
    .await;
    counted(&[&running], &said).await;
    let be = running
        .store(&COUNTS)
        .range("b".to_owned()..="c".to_owned())
        .await
        .unwrap();
    assert_eq!(be, [("be".to_owned(), 2)]);
    running.stop().await.unwrap();

    // With its state: nothing is restored.
    let restored = Arc::new(Mutex::new(0));
    let listener = |restored: &Arc<Mutex<u64>>| {
        let restored = restored.clone();
        move |progress: &RestoreProgress| {
            if progress.is_complete() {
                *restored.lock().unwrap() += progress.records;
            }
        }
    };
    let launch = word_count()
        .launch(config(&broker, state.path()))
        .on_restore(listener(&restored));
    let running = launch.start().await.unwrap();
    say(&broker, &["to be"], &mut said).await;
    counted(&[&running], &said).await;
    running.stop().await.unwrap();
    assert_eq!(*restored.lock().unwrap(), 0);

    // On another machine: all of it.
    let elsewhere = tempfile::tempdir().unwrap();
    let launch = word_count()
        .launch(config(&broker, elsewhere.path()))
        .on_restore(listener(&restored));
    let running = launch.start().await.unwrap();
    counted(&[&running], &said).await;
    running.stop().await.unwrap();
    assert!(*restored.lock().unwrap() >= said.len() as u64);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_the_work_and_take_over_from_each_other() {
    let (broker, dirs) = (
        broker().await,
        [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
    );
    let mut said = BTreeMap::new();
    let a = word_count().start(config(&broker, dirs[0].path())).await.unwrap();
    say(
        &broker,
        &["one two three four five six", "seven eight nine ten"],
        &mut said,
    )
    .await;
    counted(&[&a], &said).await;
    let two = config(&broker, dirs[1].path())
        .set("num.stream.threads", 2)
        .unwrap();
    let b = word_count().start(two).await.unwrap();
    b.ready().await.unwrap();
    say(&broker, &["one two", "three four five"], &mut said).await;
    counted(&[&a, &b], &said).await;
    a.stop().await.unwrap();
    say(&broker, &["one", "six seven"], &mut said).await;
    counted(&[&b], &said).await;
    b.stop().await.unwrap();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_a_cluster_brings_its_own() {
    let state = tempfile::tempdir().unwrap();
    let running = word_count()
        .start(Config::new().state_dir(state.path()))
        .await
        .unwrap();
    let producer = Producer::connect(running.bootstrap_servers()).unwrap();
    let record = Produced::to(&LINES, &"k".to_owned(), &"hello hello".to_owned()).unwrap();
    producer.send(record).await.unwrap().await.unwrap();
    while running.store(&COUNTS).get(&"hello".to_owned()).await.unwrap() != Some(2) {
        tokio::task::yield_now().await;
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_said_at_the_start_and_in_queries() {
    let state = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
    let missing = word_count().start(config(&broker, state.path())).await;
    assert!(matches!(missing, Err(StartError::MissingSources { topics }) if topics == ["lines"]));
    let admin = Admin::connect(broker.bootstrap()).unwrap();
    admin.create_topics(&[TopicSpec::new("lines", 1)]).await.unwrap();
    let running = word_count().start(config(&broker, state.path())).await.unwrap();
    let twin = word_count()
        .start(config(&broker, state.path()))
        .await
        .err()
        .unwrap();
    assert!(twin.to_string().contains("in use by another instance"), "{twin}");
    let unknown = running
        .store(&StoreName::<String, i64>::new("kounts"))
        .get(&"a".to_owned())
        .await;
    assert_eq!(
        unknown.unwrap_err().to_string(),
        r#"there is no store "kounts"; the program has counts"#
    );
    running.stop().await.unwrap();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_stops_the_program_and_names_the_record() {
    let (broker, state) = (broker().await, tempfile::tempdir().unwrap());
    let app = App::new("failing");
    app.stream(&LINES)
        .try_map_values(|line| Ok(Some(line.parse::<i64>()?)))
        .to(&TOTALS);
    let running = app.start(config(&broker, state.path())).await.unwrap();
    say(&broker, &["7", "no number"], &mut BTreeMap::new()).await;
    assert_eq!(running.ended().await, State::Error);
    let error = running.stop().await.unwrap_err().to_string();
    assert!(
        error.contains("invalid digit") && error.contains("lines-"),
        "{error}"
    );
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_on_when_its_broker_was_restarted_under_it() {
    let (data, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Broker::start(BrokerConfig::embedded().with_data_dir(data.path()))
        .await
        .unwrap();
    let bootstrap = broker.bootstrap().to_owned();
    let topics = [TopicSpec::new("lines", 3), TopicSpec::new("totals", 3)];
    Admin::connect(&bootstrap)
        .unwrap()
        .create_topics(&topics)
        .await
        .unwrap();
    let config = config(&broker, state.path());
    let config = config.set("processing.guarantee", "exactly_once_v2").unwrap();
    let running = word_count().start(config).await.unwrap();
    let mut said = BTreeMap::new();
    say(&broker, &["to be or not to be"], &mut said).await;
    counted(&[&running], &said).await;
    broker.shutdown().await;
    let again = BrokerConfig::embedded()
        .with_data_dir(data.path())
        .set("listeners", format!("PLAINTEXT://{bootstrap}"))
        .unwrap();
    let broker = Broker::start(again).await.unwrap();
    say(&broker, &["that is the question", "to be"], &mut said).await;
    counted(&[&running], &said).await;
    running.stop().await.unwrap();
    broker.shutdown().await;
}
