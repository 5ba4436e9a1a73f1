//! Inputs: where reading begins, and how long an empty one is waited for.

use tidemill_data::HOUR;
use tidemill_streams::Reset;

use super::*;

const OTHER: Topic<String, String> = Topic::new("other");

fn append(world: &World, topic: &str, at: i64) {
    let record = Record {
        offset: 0,
        timestamp: Timestamp::from_millis(at),
        key: Some("k".into()),
        value: Some("x".into()),
        headers: Headers::default(),
    };
    world
        .cluster
        .append(&TopicPartition::new(topic, 0), record)
        .unwrap();
}

#[test]
fn a_topic_may_begin_elsewhere_than_the_others() {
    let (mut world, state) = (World::new(), dir());
    world.cluster.topic("other", PARTITIONS);
    let app = App::new("app");
    app.reset_of(&OTHER, Reset::Latest);
    app.stream(&CLICKS)
        .merge(app.stream(&OTHER))
        .group_by_key()
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    append(&world, "clicks", 1);
    append(&world, "other", 1);
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    assert_eq!(world.totals().into_values().sum::<i64>(), 1);
    append(&world, "other", 2);
    world.run(&mut [&mut a]);
    assert_eq!(world.totals().into_values().sum::<i64>(), 2);
}

#[test]
fn a_topic_may_begin_a_span_of_time_ago() {
    let (mut world, state) = (World::new(), dir());
    world.now = 10_000_000;
    let app = App::new("app");
    app.reset_of(&CLICKS, Reset::Within(HOUR));
    app.stream(&CLICKS)
        .group_by_key()
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    for at in [1_000, 6_399_999, 6_500_000, 9_000_000] {
        append(&world, "clicks", at);
    }
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    assert_eq!(world.totals().into_values().sum::<i64>(), 2);
}

#[test]
fn a_topic_of_which_nothing_is_committed_may_stop_the_program() {
    let (world, state) = (World::new(), dir());
    let app = counting();
    app.reset_of(&CLICKS, Reset::Refuse);
    let mut a = world.join("a", state.path(), &app);
    let error = (0..5).find_map(|_| a.turn(world.now).err());
    let error = error.expect("the program stops").to_string();
    assert!(error.contains("nothing is committed for clicks-0"), "{error}");
}

#[test]
fn an_empty_input_is_waited_for_as_long_as_the_setting_says() {
    for (idle, waits) in [("-1", false), ("0", false), ("500", true)] {
        let (mut world, state) = (World::new(), dir());
        world.cluster.topic("other", PARTITIONS);
        let app = App::new("app");
        app.stream(&CLICKS)
            .merge(app.stream(&OTHER))
            .group_by_key()
            .count(&COUNTS)
            .to_stream()
            .to(&TOTALS);
        world.settings.push(("max.task.idle.ms", idle));
        let mut a = world.join("a", state.path(), &app);
        a.turn(world.now).unwrap();
        append(&world, "clicks", 1);
        let mut turns = |world: &mut World, ms: i64| {
            for _ in 0..ms / 50 {
                world.now += 50;
                a.turn(world.now).unwrap();
            }
            world.totals().len()
        };
        assert_eq!(turns(&mut world, 400), usize::from(!waits), "{idle}");
        assert_eq!(turns(&mut world, 400), 1, "{idle}");
    }
}
