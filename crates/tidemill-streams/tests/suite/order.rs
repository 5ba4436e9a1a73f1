//! Suppressions and `emit_on_close` know in memory only as many rows as they may, and let all go in the same order.

use std::sync::Arc;

use bytes::Bytes;
use tidemill_data::{MINUTE, StoreName, Timestamp, Topic, Windowed};
use tidemill_store::{ByteStore, MemoryByteStore};
use tidemill_streams::{
    App, Buffer, Outputs, RawRecord, Session, Task, TaskConfig, TaskId, Topology, Tumbling,
};

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<String, Option<i64>> = Topic::new("out");
const LAST: Topic<String, Option<String>> = Topic::new("last");
const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");

/// Room for about eight rows.
const FEW: usize = 8 * 400;

fn open(topology: &Arc<Topology>, base: &Arc<dyn ByteStore>, order_bytes_max: Option<usize>) -> Task {
    let config = TaskConfig {
        order_bytes_max,
        ..TaskConfig::default()
    };
    let id = TaskId {
        subtopology: 0,
        partition: 0,
    };
    Task::new(
        Arc::clone(topology),
        id,
        Arc::clone(base),
        &config,
        Timestamp::default(),
    )
    .expect("it has what it needs")
}

/// What comes out of a long input with many keys, and the most that the order took. The task is opened anew now and then.
fn run(compose: impl Fn(&App), order_bytes_max: Option<usize>) -> (Vec<String>, usize) {
    let app = App::new("app");
    compose(&app);
    let topology = app.topology().expect("it can run");
    let names = &topology.subtopologies()[0].stores;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let base: Arc<dyn ByteStore> = Arc::new(MemoryByteStore::new(&names));
    let mut task = open(&topology, &base, order_bytes_max);
    let (mut out, mut most) = (Vec::new(), 0);
    let mut outputs = Outputs::new();
    for step in 0..1_200_i64 {
        // A walk forth that now and then goes back a little.
        let record = RawRecord {
            timestamp: Timestamp::from_millis(step * 100 + step * 7_919 % 5_000),
            key: Some(Bytes::from(format!("key-{}", step * 31 % 257))),
            value: Some(Bytes::from(step.to_string())),
            ..RawRecord::default()
        };
        task.enqueue("in", [record]).expect("it reads the topic");
        task.process(usize::MAX, Timestamp::default(), &mut outputs)
            .expect("nothing fails");
        most = most.max(task.order_bytes());
        for output in outputs.iter() {
            out.push(format!(
                "{:?}={:?} @{}",
                output.key, output.value, output.timestamp
            ));
        }
        outputs.clear();
        if step % 300 == 299 {
            let commit = task.prepare_commit(&mut Outputs::new());
            task.committed(&[]).expect("state can be written");
            task = open(&topology, &base, order_bytes_max);
            assert!(task.resume(&commit.metadata));
        }
    }
    (out, most)
}

fn check(compose: impl Fn(&App)) {
    let (all, unbounded) = run(&compose, None);
    assert!(all.len() > 150, "only {} came out", all.len());
    assert!(unbounded > 2 * FEW, "it never took more than {unbounded} bytes");
    let (few, most) = run(&compose, Some(FEW));
    assert!((1..=FEW).contains(&most), "it took {most} bytes");
    assert_eq!(few, all);
    // However little it is, one row is known.
    let (one, _) = run(&compose, Some(1));
    assert_eq!(one, all);
}

#[test]
fn rows_held_back_until_a_time_limit_leave_in_their_order() {
    check(|app| {
        let rows = app.table(&IN);
        let calm = rows.suppress_until_time_limit(MINUTE, Buffer::unbounded());
        calm.to_stream().to(&LAST);
    });
}

#[test]
fn a_full_buffer_lets_the_oldest_go_whether_it_is_known_or_not() {
    check(|app| {
        let rows = app.table(&IN);
        let calm = rows.suppress_until_time_limit(10 * MINUTE, Buffer::unbounded().records_max(100));
        calm.to_stream().to(&LAST);
    });
    check(|app| {
        let rows = app.table(&IN);
        let calm = rows.suppress_until_time_limit(10 * MINUTE, Buffer::unbounded().bytes_max(10_000));
        calm.to_stream().to(&LAST);
    });
}

#[test]
fn windows_held_back_until_they_close_leave_in_their_order() {
    check(|app| {
        let windows = app
            .stream(&IN)
            .group_by_key()
            .window(Tumbling::of(MINUTE / 2).grace(MINUTE / 6));
        windows
            .count(&COUNTS)
            .suppress_until_window_closes(Buffer::unbounded())
            .to_stream()
            .map(|window, count| (window.key, count))
            .to(&OUT);
    });
}

#[test]
fn windows_and_sessions_that_close_are_emitted_in_their_order() {
    check(|app| {
        let windows = app
            .stream(&IN)
            .group_by_key()
            .window(Tumbling::of(MINUTE / 2).grace(MINUTE / 6));
        let counts = windows.emit_on_close().count(&COUNTS).to_stream();
        counts.map(|window, count| (window.key, count)).to(&OUT);
    });
    check(|app| {
        let sessions = app
            .stream(&IN)
            .group_by_key()
            .window(Session::gap(MINUTE / 6).grace(MINUTE / 6));
        let counts = sessions.emit_on_close().count(&COUNTS).to_stream();
        counts.map(|session, count| (session.key, count)).to(&OUT);
    });
}

#[test]
fn the_operators_of_a_task_share_what_there_is() {
    let compose = |app: &App| {
        let rows = app.table(&IN);
        for (topic, minutes) in [("soon", 1), ("later", 2)] {
            let calm = rows.suppress_until_time_limit(minutes * MINUTE, Buffer::unbounded().named(topic));
            calm.to_stream().to(&Topic::named(topic.to_owned()));
        }
    };
    let (_, most) = run(compose, Some(FEW));
    assert!((FEW / 2..=FEW).contains(&most), "it took {most} bytes");
}
