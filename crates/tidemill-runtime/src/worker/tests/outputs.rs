//! Outputs: to which partition and which topic a record goes, when the program chooses.

use super::*;

const OTHER: Topic<String, String> = Topic::new("other");

#[test]
fn records_go_to_the_partition_and_to_the_topic_that_are_chosen() {
    let (mut world, state) = (World::new(), dir());
    world.cluster.topic("other", PARTITIONS);
    let app = App::new("app");
    app.stream(&CLICKS)
        .to_partition(&OTHER, |_, text| i32::from(text.starts_with('b')) + 1);
    app.stream(&CLICKS)
        .to_chosen(|record| format!("texts-of-{}", record.key));
    for text in ["apple", "banana", "avocado"] {
        world.append(&TopicPartition::new("clicks", 0), "k", text.into());
    }
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    let texts = |topic: &str, partition| -> Vec<_> {
        let records = world.cluster.records(&TopicPartition::new(topic, partition));
        records
            .unwrap()
            .into_iter()
            .map(|record| record.value.unwrap())
            .collect()
    };
    assert_eq!(texts("other", 1), ["apple", "avocado"]);
    assert_eq!(texts("other", 2), ["banana"]);
    // The topic was not there: the program made it.
    assert_eq!(texts("texts-of-k", 0), ["apple", "banana", "avocado"]);
}
