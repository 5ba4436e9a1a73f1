//! A run that is killed in every stage and started again ends with the recommendations of an undisturbed run.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not take for tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::StreamExt;
use tidemill::broker::{Broker, BrokerConfig};
use tidemill::client::{Admin, Consumer, From, TopicPartition};
use tidemill_articles::model::{ArticleId, ReaderId, Recommendations};
use tidemill_articles::topics::RECOMMENDATIONS;

const ARTICLES: usize = 300;
const READERS: usize = 50;
const CLICKS: usize = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_every_stage_it_ends_like_an_undisturbed_run() {
    let dir = tempfile::tempdir().unwrap();
    write_input(dir.path());
    let (calm, rough) = (dir.path().join("calm"), dir.path().join("rough"));
    run_to_the_end(dir.path(), &calm);
    let stages = ["cleaned", "articles", "clicks", "recommendations"];
    let killed = stages.map(|stage| kill_when(dir.path(), &rough, stage));
    assert!(killed[0], "the first run ended before it could be killed");
    run_to_the_end(dir.path(), &rough);
    let (expected, got) = (recommendations(&calm).await, recommendations(&rough).await);
    assert_eq!(expected.len(), READERS);
    assert!(expected.values().all(|list| list.items.len() == 10));
    assert_eq!(got, expected);
}

fn start(input: &Path, data_dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidemill-articles"))
        .args(["--once", "--progress-ms", "10", "--corpus"])
        .arg(input.join("articles.jsonl"))
        .arg("--clicks")
        .arg(input.join("clicks.jsonl"))
        .arg("--data-dir")
        .arg(data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run_to_the_end(input: &Path, data_dir: &Path) {
    let output = start(input, data_dir).wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("hit-rate@10"),
        "{printed}"
    );
}

/// Kills the process as soon as a progress line shows that the stage has begun. Says whether it died of that: a
/// stage that an earlier run had completed does not begin again, and then the run may come to its end.
fn kill_when(input: &Path, data_dir: &Path, stage: &str) -> bool {
    let mut child = start(input, data_dir);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines.map_while(Result::ok).any(|line| count(&line, stage) > 0);
    child.kill().unwrap();
    begun && child.wait().unwrap().signal() == Some(9)
}

// The number after a word of a progress line.
fn count(line: &str, word: &str) -> u64 {
    let after = line.split_once(&format!("{word} ")).map_or("", |(_, rest)| rest);
    after
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(0)
}

/// The last value of every key in the topic, read through a broker on the directory the process left behind.
async fn recommendations(data_dir: &Path) -> BTreeMap<ReaderId, Recommendations> {
    let broker = Broker::start(BrokerConfig::embedded().with_data_dir(data_dir.join("log")))
        .await
        .unwrap();
    let admin = Admin::connect(broker.bootstrap()).unwrap();
    let topic = admin
        .describe_topic(RECOMMENDATIONS.name())
        .await
        .unwrap()
        .unwrap();
    let mut table = BTreeMap::new();
    for number in 0..i32::try_from(topic.partitions.len()).unwrap() {
        let partition = TopicPartition::new(RECOMMENDATIONS.name(), number);
        let (start, end) = admin.offsets(&partition).await.unwrap();
        if start == end {
            continue;
        }
        let mut records = Consumer::builder(broker.bootstrap())
            .assign(&[(partition, From::Earliest)])
            .await
            .unwrap();
        loop {
            let record = records.next().await.unwrap().unwrap();
            let (reader, list) = record.decode(&RECOMMENDATIONS).unwrap();
            table.insert(reader, list);
            if record.offset + 1 >= end {
                break;
            }
        }
    }
    broker.shutdown().await;
    table
}

fn url(n: usize) -> String {
    format!("https://press.example/{n}")
}

/// Articles on ten topics, every tenth a near copy of the one before, and readers who keep to one topic each.
fn write_input(dir: &Path) {
    let mut articles = fs::File::create(dir.join("articles.jsonl")).unwrap();
    for n in 0..ARTICLES {
        let (theme, text_of) = (n % 10, if n % 10 == 9 { n - 1 } else { n });
        let words: String = (0..120)
            .map(|w| format!("theme{theme}word{} ", (text_of * 37 + w * w) % 400))
            .collect();
        let text = if text_of == n {
            words
        } else {
            words.replace("theme9", "theme8") + "copied with thanks"
        };
        let day = 1 + n % 28;
        writeln!(
            articles,
            r#"{{"source":"press","url":"{}","title":"Report {n}","published":"2026-01-{day:02}T00:00:00Z","tags":["t{theme}"],"content":"{text}"}}"#,
            url(n)
        )
        .unwrap();
    }
    let mut clicks = fs::File::create(dir.join("clicks.jsonl")).unwrap();
    for n in 0..CLICKS {
        let reader = (n * 7) % READERS;
        let article = ((n * n * 13 + n / READERS) % 20) * 10 + reader % 8;
        let (hour, minute) = (n / 60 / 10 % 24, n / 10 % 60);
        writeln!(
            clicks,
            r#"{{"user":"r{reader:02}","article":"{}","ts":"2026-02-01T{hour:02}:{minute:02}:00Z"}}"#,
            ArticleId::of_url(&url(article))
        )
        .unwrap();
    }
}
