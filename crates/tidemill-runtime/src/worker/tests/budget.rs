//! `task.memory.max.bytes` holds: large records wait in the log and not here, whatever operators make of them.

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
