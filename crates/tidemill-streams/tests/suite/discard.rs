//! A task that goes back to its last commit, as after an aborted transaction, also forgets what its operators keep beside
//! their stores.

use std::sync::Arc;

use bytes::Bytes;
use tidemill_data::{SECOND, StoreName, Timestamp, Topic, Windowed};
use tidemill_store::MemoryByteStore;
use tidemill_streams::{App, Buffer, Outputs, RawRecord, Task, TaskConfig, TaskId, Tumbling};

const IN: Topic<String, String> = Topic::new("in");
const ROWS: Topic<String, String> = Topic::new("rows");
const CALM: Topic<String, Option<String>> = Topic::new("calm");
const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
const OUT: Topic<Windowed<String>, Option<i64>> = Topic::new("out");

fn task(app: &App) -> Task {
    let topology = app.topology().unwrap();
    let names: Vec<String> = topology.subtopologies()[0].stores.clone();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let base = Arc::new(MemoryByteStore::new(&names));
    let id = TaskId {
        subtopology: 0,
        partition: 0,
    };
    Task::new(topology, id, base, &TaskConfig::default(), Timestamp::default()).unwrap()
}

/// Takes a record up, and gives the values that it led to.
fn process(task: &mut Task, topic: &str, value: &str, ms: i64) -> Vec<Vec<u8>> {
    let record = RawRecord {
        timestamp: Timestamp::from_millis(ms),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..RawRecord::default()
    };
    task.enqueue(topic, [record]).unwrap();
    let mut outputs = Outputs::new();
    task.process(usize::MAX, Timestamp::default(), &mut outputs)
        .unwrap();
    outputs
        .iter()
        .map(|output| output.value.unwrap_or_default().to_vec())
        .collect()
}

fn commit(task: &mut Task) {
    let _ = task.prepare_commit(&mut Outputs::new());
    task.committed(&[]).unwrap();
}

#[test]
fn a_suppression_holds_back_what_it_did_at_the_last_commit() {
    let app = App::new("app");
    let calm = app
        .table(&ROWS)
        .suppress_until_time_limit(10 * SECOND, Buffer::unbounded());
    calm.to_stream().to(&CALM);
    let mut task = task(&app);
    assert!(process(&mut task, "rows", "kept", 0).is_empty());
    commit(&mut task);
    assert!(process(&mut task, "rows", "aborted", 1).is_empty());
    assert_eq!(
        process(&mut task, "rows", "aborted too", 20_000),
        [b"aborted too"]
    );
    task.discard();
    assert!(process(&mut task, "rows", "again", 2).is_empty());
    assert_eq!(process(&mut task, "rows", "last", 10_000), [b"last"]);
}

#[test]
fn a_window_that_was_emitted_after_the_last_commit_is_emitted_again() {
    let app = App::new("app");
    let windows = app
        .stream(&IN)
        .group_by_key()
        .window(Tumbling::of(10 * SECOND))
        .emit_on_close();
    windows.count(&COUNTS).to_stream().to(&OUT);
    let mut task = task(&app);
    let two = 2_i64.to_be_bytes();
    process(&mut task, "in", "", 0);
    process(&mut task, "in", "", 1);
    commit(&mut task);
    for _ in 0..2 {
        assert_eq!(process(&mut task, "in", "", 10_000), [two]);
        task.discard();
    }
}
