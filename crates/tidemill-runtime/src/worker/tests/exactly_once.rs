//! Exactly-once: whatever fails, every click is counted once and every total written once.

use super::*;

#[test]
fn members_that_join_and_leave_write_every_total_once() {
    let (mut world, app, dirs) = (World::exactly_once(), counting(), [dir(), dir()]);
    let mut a = world.join("a", dirs[0].path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    let mut b = world.join("b", dirs[1].path(), &app);
    world.click_all();
    world.run(&mut [&mut a, &mut b]);
    assert_eq!((a.tasks().len(), b.tasks().len()), (2, 2));
    world.click_all();
    a.stop(world.now);
    world.click_all();
    world.run(&mut [&mut b]);
    world.assert_each_total_once();
    assert_eq!(world.committed(), i64::from(4 * KEYS));
}

#[test]
fn a_crash_within_a_transaction_leaves_no_trace() {
    let (mut world, app, state) = (World::exactly_once(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    // Processed and sent, and not committed: the clock stands still.
    world.click_all();
    a.turn(world.now).unwrap();
    drop(a);
    world.cluster.expire("app", "a");
    // The successor under the same id aborts what was left, and its store stands at the last commit.
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    world.assert_each_total_once();
    if cfg!(feature = "rocksdb") {
        assert_eq!(a.restored_records(), 0);
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_in_the_changelog() {
    let (mut world, app, state) = (World::exactly_once(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    world.cluster.lose_commit_replies(1);
    world.click_all();
    world.run(&mut [&mut a]);
    world.click_all();
    world.run(&mut [&mut a]);
    world.assert_each_total_once();
    // The store did not have the commit that the broker had.
    if cfg!(feature = "rocksdb") {
        assert!(a.restored_records() >= KEYS as u64);
    }
}

#[test]
fn a_transaction_that_must_be_aborted_is_done_again() {
    let (mut world, app, state) = (World::exactly_once(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    world.cluster.fail_commits(2);
    world.cluster.fail_sends("totals", 1);
    world.click_all();
    for _ in 0..4 {
        world.run(&mut [&mut a]);
    }
    world.assert_each_total_once();
}

#[test]
fn a_transaction_that_stayed_open_for_too_long_is_done_again() {
    let (mut world, app, state) = (World::exactly_once(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    world.click_all();
    a.turn(world.now).unwrap();
    let id = std::fs::read_to_string(state.path().join("app/instance-id")).unwrap();
    world.cluster.expire_transaction(&format!("app-{id}-1"));
    world.run(&mut [&mut a]);
    world.assert_each_total_once();
}

#[test]
fn a_zombie_commits_nothing_and_its_heir_waits_for_nothing() {
    let (mut world, app, dirs) = (World::exactly_once(), counting(), [dir(), dir()]);
    let mut a = world.join("a", dirs[0].path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    world.click_all();
    a.turn(world.now).unwrap();
    // It pauses here within a transaction, until the group has given up on it.
    world.cluster.expire("app", "a");
    let mut b = world.join("b", dirs[1].path(), &app);
    world.run(&mut [&mut b]);
    // Its transaction is still open, so readers of committed records see nothing of its heir yet.
    a.turn(world.now).unwrap();
    assert!(a.tasks().is_empty());
    world.click_all();
    world.run(&mut [&mut a, &mut b]);
    world.assert_each_total_once();
}

#[test]
fn a_thread_whose_id_is_taken_again_and_again_gives_up_and_says_why() {
    let (mut world, app, state) = (World::exactly_once(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    let id = std::fs::read_to_string(state.path().join("app/instance-id")).unwrap();
    world.click_all();
    let failed = (0..2_000).find_map(|_| {
        world.now += 1_000;
        world.cluster.expire_transaction(&format!("app-{id}-1"));
        a.turn(world.now).err()
    });
    let failed = failed.unwrap().to_string();
    assert!(
        failed.contains("fenced") && failed.contains("state.dir"),
        "{failed}"
    );
}

#[test]
fn a_clean_restart_restores_nothing() {
    let (mut world, app, state) = (World::exactly_once(), counting(), dir());
    for _ in 0..3 {
        let mut a = world.join("a", state.path(), &app);
        // Several transactions, each of which ends in an offset that is no record.
        for _ in 0..3 {
            world.click_all();
            world.run(&mut [&mut a]);
        }
        if cfg!(feature = "rocksdb") {
            assert_eq!(a.restored_records(), 0);
        }
        a.stop(world.now);
    }
    world.assert_each_total_once();
}

#[test]
fn repartition_topics_are_purged_of_what_was_read() {
    let app = App::new("app");
    app.stream(&CLICKS)
        .group_by(|key, _| key.clone())
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    let (mut world, state) = (World::exactly_once(), dir());
    let mut a = world.join("a", state.path(), &app);
    for _ in 0..100 {
        world.click_all();
        world.run(&mut [&mut a]);
    }
    world.assert_each_total_once();
    let topics = world.cluster.topics();
    let repartition = topics.iter().find(|name| name.ends_with("-repartition")).unwrap();
    let left: usize = (0..PARTITIONS)
        .map(|p| {
            world
                .cluster
                .records(&TopicPartition::new(repartition.as_str(), p))
                .unwrap()
                .len()
        })
        .sum();
    assert!(left < 60 * KEYS as usize, "{left} records are left");
}
