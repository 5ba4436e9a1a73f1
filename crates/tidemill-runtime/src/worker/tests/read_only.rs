//! Stores that are filled straight from a topic: restored from it as far as the group has committed it.

use tidemill_data::BoxError;
use tidemill_streams::{Forward, Processor, ReadOnlyKeyValues};

use super::*;

const PRICES: Topic<String, i64> = Topic::new("prices");
const KNOWN: StoreName<String, i64> = StoreName::new("known");

struct Price(ReadOnlyKeyValues<String, i64>);

impl Processor<String, String, String, Option<i64>> for Price {
    fn process(
        &mut self,
        click: tidemill_streams::Record<String, String>,
        to: &mut Forward<'_, String, Option<i64>>,
    ) -> Result<(), BoxError> {
        let price = self.0.get(to, &click.key)?;
        to.forward(click.with_value(price.or(Some(-1))));
        Ok(())
    }
}

fn pricing() -> App {
    let app = App::new("app");
    let prices = app.read_only_state_store(&PRICES, &KNOWN);
    app.stream(&CLICKS).process_with(prices, Price).to(&TOTALS);
    app
}

fn price_all(world: &World, cents: i64) {
    for key in 0..KEYS {
        let key = format!("k{key}");
        let at = TopicPartition::new("prices", partition_for_key(key.as_bytes(), PARTITIONS));
        world.append(&at, &key, cents.to_be_bytes().to_vec());
    }
}

fn assert_all_cost(world: &World, cents: i64) {
    let totals = world.totals();
    assert_eq!(totals.len(), KEYS as usize);
    assert!(
        totals.values().all(|total| *total == cents),
        "{cents}: {totals:?}"
    );
}

fn a_lost_disk_is_filled_again(mut world: World) {
    world.cluster.topic("prices", PARTITIONS);
    let (app, dirs) = (pricing(), [dir(), dir()]);
    let mut a = world.join("a", dirs[0].path(), &app);
    price_all(&world, 5);
    world.run(&mut [&mut a]);
    world.click_all();
    world.run(&mut [&mut a]);
    assert_all_cost(&world, 5);
    a.stop(world.now);
    // Nobody has read these yet, so they are no part of what is restored.
    price_all(&world, 7);
    world.click_all();
    let mut b = world.join("b", dirs[1].path(), &app);
    world.run(&mut [&mut b]);
    assert_eq!(b.restored_records(), KEYS as u64);
    world.click_all();
    world.run(&mut [&mut b]);
    assert_all_cost(&world, 7);
    b.stop(world.now);
    let mut b = world.join("b", dirs[1].path(), &app);
    world.run(&mut [&mut b]);
    if cfg!(feature = "rocksdb") {
        assert_eq!(b.restored_records(), 0, "a clean stop leaves nothing to restore");
    }
    let topics = world.cluster.describe(&["app-known-changelog"]).unwrap();
    assert_eq!(topics.len(), 1);
    assert!(topics.iter().all(Option::is_none), "the topic is the changelog");
}

#[test]
fn a_lost_disk_is_filled_again_from_what_was_committed() {
    a_lost_disk_is_filled_again(World::new());
}

#[test]
fn a_lost_disk_is_filled_again_under_exactly_once() {
    a_lost_disk_is_filled_again(World::exactly_once());
}

#[test]
fn a_topic_with_other_partitions_than_the_input_is_refused() {
    let (world, app) = (World::new(), pricing());
    world.cluster.topic("prices", PARTITIONS + 1);
    let topology = app.topology().unwrap();
    let error = prepare(&topology, &world.cluster, None, Missing::Refuse, Fit::Exact)
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(text.contains("prices") && text.contains("clicks"), "{text}");
}
