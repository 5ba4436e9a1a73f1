use tidemill_client::MemoryCluster;
use tidemill_data::{StoreName, Topic};
use tidemill_streams::App;

use super::{Fit, Missing, Plan, prepare};
use crate::error::StartError;

const LEFT: Topic<String, String> = Topic::new("left");
const RIGHT: Topic<String, String> = Topic::new("right");
const OUT: Topic<String, String> = Topic::new("out");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");

fn planned(cluster: &MemoryCluster, app: &App) -> Result<Plan, StartError> {
    prepare(
        &app.topology().unwrap(),
        cluster,
        None,
        Missing::Refuse,
        Fit::Exact,
    )
}

fn word_count() -> App {
    let app = App::new("app");
    app.stream(&LEFT).group_by(|_, word| word.clone()).count(&COUNTS);
    app
}

fn join() -> App {
    let app = App::new("app");
    let right = app.table(&RIGHT);
    app.stream(&LEFT)
        .join_table(&right, |_, a, b| format!("{a}{b}"))
        .to(&OUT);
    app
}

#[test]
fn internal_topics_are_created_with_the_sources_partitions_and_their_settings() {
    let cluster = MemoryCluster::new();
    cluster.topic("left", 5);
    let plan = planned(&cluster, &word_count()).unwrap();
    assert_eq!(plan.tasks, [5, 5]);
    assert_eq!(
        cluster.topics(),
        ["app-counts-changelog", "app-counts-repartition", "left"]
    );
    let policy = |topic| {
        cluster
            .topic_config(topic)
            .unwrap()
            .get("cleanup.policy")
            .cloned()
    };
    assert_eq!(policy("app-counts-changelog").as_deref(), Some("compact"));
    assert_eq!(policy("app-counts-repartition").as_deref(), Some("delete"));
    // A second start finds them.
    assert_eq!(planned(&cluster, &word_count()).unwrap(), plan);
}

#[test]
fn a_missing_source_is_named() {
    let error = planned(&MemoryCluster::new(), &word_count())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "topics the program reads do not exist: left; create them first"
    );
}

#[test]
fn joined_topics_with_other_counts_are_refused_with_counts_and_the_mend() {
    let cluster = MemoryCluster::new();
    cluster.topic("left", 2);
    cluster.topic("right", 3);
    let error = planned(&cluster, &join()).unwrap_err().to_string();
    assert!(error.contains("left (2), right (3)"), "{error}");
    assert!(error.contains("put `repartition` before the join"), "{error}");
}

#[test]
fn a_repartition_before_a_join_takes_the_count_it_has_to_match() {
    let cluster = MemoryCluster::new();
    cluster.topic("left", 2);
    cluster.topic("right", 3);
    let app = App::new("app");
    let right = app.table(&RIGHT);
    let rekeyed = app.stream(&LEFT).select_key(|_, value| value.clone());
    rekeyed.join_table(&right, |_, a, b| format!("{a}{b}")).to(&OUT);
    let plan = planned(&cluster, &app).unwrap();
    let repartition = plan
        .partitions
        .iter()
        .find(|(name, _)| name.ends_with("-repartition"))
        .unwrap();
    assert_eq!(*repartition.1, 3);
}

#[test]
fn an_internal_topic_that_no_longer_fits_is_refused() {
    let cluster = MemoryCluster::new();
    cluster.topic("left", 2);
    cluster.topic("app-counts-repartition", 2);
    cluster.topic("app-counts-changelog", 7);
    let error = planned(&cluster, &word_count()).unwrap_err().to_string();
    assert!(
        error.starts_with("internal topic app-counts-changelog has 7 partitions, but the program needs 2")
    );
}

#[test]
fn the_topics_of_a_foreign_key_join_match_the_table_they_lead_to() {
    let app = App::new("app");
    let _ = app
        .table(&LEFT)
        .by_foreign_key(|_, right: &String| right.clone())
        .named("joined")
        .join(&app.table(&RIGHT), |_, l, r| l + &r);
    let cluster = MemoryCluster::new();
    cluster.topic("left", 2);
    cluster.topic("right", 3);
    let plan = planned(&cluster, &app).unwrap();
    let count = |topic: &str| plan.partitions.get(topic).copied();
    assert_eq!(count("app-joined-subscription-registration-topic"), Some(3));
    assert_eq!(count("app-joined-subscription-response-topic"), Some(2));
    assert_eq!(plan.tasks, [2, 3]);
}

#[test]
fn repartition_topics_with_numbers_of_their_own_must_agree_too() {
    let app = App::new("app");
    let left = app.stream(&LEFT).select_key(|_, v| v.clone());
    let right = app.stream(&RIGHT).select_key(|_, v| v.clone());
    left.repartition_into("by-left", 4)
        .join(
            right.repartition_into("by-right", 5),
            tidemill_streams::JoinWindow::within(tidemill_data::SECOND),
            |_, l, r| format!("{l}{r}"),
        )
        .to(&OUT);
    let cluster = MemoryCluster::new();
    cluster.topic("left", 2);
    cluster.topic("right", 3);
    let error = planned(&cluster, &app).unwrap_err().to_string();
    assert!(
        error.contains("app-by-left-repartition (4), app-by-right-repartition (5)"),
        "{error}"
    );
}
