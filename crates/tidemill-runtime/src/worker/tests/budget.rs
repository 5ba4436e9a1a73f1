//! `task.memory.max.bytes` holds: large records wait in the log and not here, whatever operators make of them.

use tidemill_data::HOUR;
use tidemill_streams::Buffer;

use super::*;

const TEXTS: Topic<String, String> = Topic::new("clicks");
const LATEST: StoreName<String, String> = StoreName::new("latest");
const OUT: Topic<String, Option<String>> = Topic::new("totals");
const RECORDS: usize = 60;

/// Keeps each text in a store and writes it out.
fn keeping() -> App {
    let app = App::new("app");
    app.stream(&TEXTS)
        .group_by_key()
        .reduce(&LATEST, |_before, text| text)
        .to_stream()
        .to(&OUT);
    app
}

/// Runs texts of so many bytes through a task with this budget, and gives the most that it held at once.
fn held(budget: &'static str, bytes: usize, guarantee: &'static str) -> usize {
    let (mut world, state) = (World::new(), dir());
    world.guarantee = guarantee;
    world.settings.push(("task.memory.max.bytes", budget));
    let at = TopicPartition::new("clicks", 0);
    for key in 0..RECORDS {
        world.append(&at, &format!("key-{key}"), vec![b'x'; bytes]);
    }
    let mut node = world.join("a", state.path(), &keeping());
    let mut most = 0;
    let written = |world: &World| -> usize {
        let of = |partition| world.cluster.records(&TopicPartition::new("totals", partition));
        (0..PARTITIONS)
            .map(|partition| of(partition).unwrap().len())
            .sum()
    };
    // A turn takes up at least one record, or commits; so seldom by the clock that the budget decides when.
    for _turn in 0..4 * RECORDS {
        world.now += 1;
        node.turn(world.now).unwrap();
        let held = node.worker.tasks.values().map(|live| live.held.bytes_max);
        most = held.fold(most, usize::max);
        if written(&world) == RECORDS {
            return most;
        }
    }
    panic!("{} of {RECORDS} records came through", written(&world));
}

#[test]
fn a_task_never_holds_more_than_its_budget() {
    for guarantee in ["at_least_once", "exactly_once_v2"] {
        let most = held("4194304", 300_000, guarantee);
        assert!(most <= 4 << 20, "{guarantee}: held {most} bytes");
        // The budget is what bounds it: all records together are many times as much.
        assert!(most > 1 << 20, "{guarantee}: held {most} bytes");
    }
}

#[test]
fn records_larger_than_their_share_go_through_one_at_a_time() {
    let most = held("1048576", 900_000, "at_least_once");
    // One in its queue or in the store, and once more on its way out; a second one waits.
    assert!(most <= 4 << 20, "held {most} bytes");
}

/// Holds back each text for so long that none goes on before the end.
fn holding() -> App {
    let app = App::new("app");
    let texts = app.table(&TEXTS);
    texts
        .suppress_until_time_limit(HOUR, Buffer::unbounded())
        .to_stream()
        .to(&OUT);
    app
}

/// 20,000 rows are held back, whose keys alone are more than the budget.
#[test]
fn the_order_of_rows_held_back_counts_too() {
    const ROWS: usize = 20_000;
    let (mut world, state) = (World::new(), dir());
    world.settings.push(("task.memory.max.bytes", "1048576"));
    let at = TopicPartition::new("clicks", 0);
    for key in 0..ROWS {
        world.append(&at, &format!("{key:0100}"), b"x".to_vec());
    }
    let mut node = world.join("a", state.path(), &holding());
    let (mut most, mut order) = (0, 0);
    let read = |world: &World| world.cluster.committed("app", &at) == Some(20_000);
    for _turn in 0..ROWS {
        world.now += 1;
        node.turn(world.now).unwrap();
        for live in node.worker.tasks.values() {
            most = most.max(live.held.bytes_max);
            order = order.max(live.task.order_bytes());
        }
        if read(&world) {
            break;
        }
    }
    assert!(read(&world), "all records were taken up");
    assert!(
        order > 50_000 && order <= 1 << 16,
        "the order takes {order} bytes"
    );
    assert!(most <= 1 << 20, "held {most} bytes");
}
