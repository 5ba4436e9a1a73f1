//! Instances with a `group.instance.id`: one that comes back before its session has timed out has its tasks again, and
//! nobody else hears of it.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};

use futures::StreamExt as _;
use tidemill::client::{Consumer, From, TopicPartition};

use super::*;

const OFFSETS: &str = "__consumer_offsets";

/// An instance, and what it says of its state.
struct Member {
    running: Running,
    heard: Receiver<State>,
}

impl Member {
    async fn start(broker: &Broker, library: &str, state: &Path, id: &str) -> Self {
        let config = config(broker, state)
            .set("client.library", library)
            .and_then(|config| config.set("group.instance.id", id))
            .unwrap();
        let (say, heard): (Sender<State>, _) = channel();
        let launch = word_count().launch(config).on_state(move |state, _before| {
            let _ = say.send(state);
        });
        let running = launch.start().await.unwrap();
        Self { running, heard }
    }

    fn tasks(&self) -> BTreeSet<String> {
        let threads = self.running.snapshot().threads;
        let tasks = threads.iter().flat_map(|thread| &thread.tasks);
        tasks.map(|task| task.id.clone()).collect()
    }

    /// What it has said since it was last asked.
    fn said(&self) -> Vec<State> {
        self.heard.try_iter().collect()
    }
}

/// Waits until the two share all tasks, and both have said that they work.
async fn settled(a: &Member, b: &Member) {
    let all: BTreeSet<String> = (0..2)
        .flat_map(|part| (0..3).map(move |n| format!("{part}_{n}")))
        .collect();
    loop {
        let (of_a, of_b) = (a.tasks(), b.tasks());
        let both = !of_a.is_empty() && !of_b.is_empty() && of_a.is_disjoint(&of_b);
        let work = [a, b].map(|member| member.running.state()) == [State::Running; 2];
        if both && work && of_a.union(&of_b).eq(&all) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The last generation of the program's group, as the broker's log has it.
async fn generation(broker: &Broker) -> i32 {
    let admin = Admin::connect(broker.bootstrap()).unwrap();
    let topic = admin.describe_topic(OFFSETS).await.unwrap().unwrap();
    let mut last = None;
    for partition in 0..topic.partitions.len() as i32 {
        let at = TopicPartition::new(OFFSETS, partition);
        let (start, end) = admin.offsets(&at).await.unwrap();
        let from = [(at, From::Earliest)];
        let mut records = Consumer::builder(broker.bootstrap()).assign(&from).await.unwrap();
        let mut next = start;
        while next < end {
            let record = records.next().await.unwrap().unwrap();
            next = record.offset + 1;
            last = generation_of(record.key.as_deref(), record.value.as_deref()).or(last);
        }
    }
    last.expect("the group has had a generation")
}

/// The generation that a record says our group has: key version 2 and the group; value version, protocol type, generation.
fn generation_of(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<i32> {
    let key = key?.strip_prefix(&[0, 2])?;
    if key.get(2..)? != b"word-count" {
        return None;
    }
    let (len, rest) = value?.get(2..)?.split_first_chunk()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*len))..)?;
    Some(i32::from_be_bytes(*rest.first_chunk()?))
}

async fn a_restart_is_heard_by_nobody_else(library: &str) {
    let (broker, dirs) = (
        broker().await,
        [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
    );
    let mut said = BTreeMap::new();
    let a = Member::start(&broker, library, dirs[0].path(), "a").await;
    let b = Member::start(&broker, library, dirs[1].path(), "b").await;
    settled(&a, &b).await;
    say(&broker, &["one two three four", "five six seven"], &mut said).await;
    counted(&[&a.running, &b.running], &said).await;
    let (of_a, of_b) = (a.tasks(), b.tasks());
    let before = generation(&broker).await;
    drop(a.said());

    // One of the two leads the group, so both take their turn.
    b.running.stop().await.unwrap();
    let b = Member::start(&broker, library, dirs[1].path(), "b").await;
    settled(&a, &b).await;
    say(&broker, &["one two", "three"], &mut said).await;
    counted(&[&a.running, &b.running], &said).await;
    assert_eq!(a.said(), [], "{library}");
    assert_eq!((a.tasks(), b.tasks()), (of_a.clone(), of_b.clone()), "{library}");
    assert_eq!(generation(&broker).await, before, "{library}");
    drop(b.said());

    a.running.stop().await.unwrap();
    let a = Member::start(&broker, library, dirs[0].path(), "a").await;
    settled(&a, &b).await;
    say(&broker, &["four five", "six seven"], &mut said).await;
    counted(&[&a.running, &b.running], &said).await;
    assert_eq!(b.said(), [], "{library}");
    assert_eq!((a.tasks(), b.tasks()), (of_a, of_b), "{library}");
    assert_eq!(generation(&broker).await, before, "{library}");

    for member in [a, b] {
        let threads = member.running.snapshot().threads;
        assert!(threads.iter().all(|thread| thread.setbacks == 0), "{library}");
        member.running.stop().await.unwrap();
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_is_restarted_has_its_tasks_again_and_nobody_else_hears_of_it() {
    for library in ["native", "librdkafka"] {
        a_restart_is_heard_by_nobody_else(library).await;
    }
}
