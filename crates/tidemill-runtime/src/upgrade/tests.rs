use tidemill_data::{StoreName, Topic};
use tidemill_streams::{App, Materialized};

use super::*;

const CLICKS: Topic<String, String> = Topic::new("clicks");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");

fn shape(build: impl Fn(&App)) -> Shape {
    let app = App::new("app");
    build(&app);
    Shape::of(&app.topology().unwrap())
}

fn counting(app: &App) {
    let _ = app.stream(&CLICKS).group_by_key().count(&COUNTS);
}

fn between(before: &Shape, now: &Shape) -> (Vec<Weight>, String) {
    let changes = Changes::between(before, now);
    let weights = changes.0.iter().map(|change| change.weight).collect();
    (weights, changes.to_string())
}

#[test]
fn the_same_program_has_no_changes_and_survives_its_record() {
    let before = Shape::from_json(&shape(counting).to_json()).unwrap();
    assert_eq!(before, shape(counting));
    assert_eq!(Changes::between(&before, &shape(counting)), Changes::default());
    assert!(Changes::default().allowed(false));
}

#[test]
fn a_new_store_is_safe_and_a_store_that_is_gone_is_left_behind() {
    let before = shape(counting);
    let two = shape(|app| {
        let clicks = app.stream(&CLICKS);
        let _ = clicks.clone().group_by_key().count(&COUNTS);
        let _ = clicks
            .group_by_key()
            .count(&StoreName::<String, i64>::new("again"));
    });
    let (weights, text) = between(&before, &two);
    assert_eq!(weights, [Weight::Safe]);
    assert!(text.contains("store again is new"), "{text}");
    let (weights, text) = between(&two, &before);
    assert_eq!(weights, [Weight::LeavesBehind]);
    assert!(text.contains("app-again-changelog"), "{text}");
    let changes = Changes::between(&two, &before);
    assert!(!changes.allowed(false) && changes.allowed(true));
}

#[test]
fn a_store_of_another_kind_must_be_reset_whatever_is_accepted() {
    let before = shape(counting);
    let mut now = before.clone();
    now.stores[0].kind = "window".into();
    let (weights, text) = between(&before, &now);
    assert_eq!(weights, [Weight::Reset]);
    assert!(
        text.contains("store counts was timestamped, and is window now")
            && text.contains("app-counts-changelog"),
        "{text}"
    );
    assert!(!Changes::between(&before, &now).allowed(true));
}

#[test]
fn an_unnamed_store_whose_number_moved_is_recognised() {
    let unnamed = || Materialized::<String, i64>::unnamed();
    let before = shape(|app| {
        let _ = app.stream(&CLICKS).group_by_key().count(unnamed());
    });
    let now = shape(|app| {
        let _ = app
            .stream(&CLICKS)
            .filter(|_, _| true)
            .group_by_key()
            .count(unnamed());
    });
    let (weights, text) = between(&before, &now);
    assert_eq!(weights, [Weight::LeavesBehind, Weight::Safe]);
    assert!(text.contains("an operator before it was added"), "{text}");
}

#[test]
fn a_store_in_another_subtopology_is_restored_and_other_sources_are_safe() {
    let before = shape(counting);
    let mut now = before.clone();
    now.stores[0].subtopology = 1;
    now.sources = BTreeSet::from(["clicks-v2".to_owned()]);
    let (weights, text) = between(&before, &now);
    assert_eq!(weights, [Weight::Restores, Weight::Safe, Weight::Safe]);
    assert!(text.contains("from task 0_* to 1_*"), "{text}");
}

#[test]
fn a_repartition_topic_that_is_read_no_more_is_left_behind() {
    let before = shape(|app| {
        let _ = app.stream(&CLICKS).group_by(|_, v| v.clone()).count(&COUNTS);
    });
    let (weights, text) = between(&before, &shape(counting));
    assert_eq!(weights.first(), Some(&Weight::LeavesBehind));
    assert!(text.contains("-repartition is read no more"), "{text}");
}

#[test]
fn a_record_of_a_later_version_or_damaged_is_an_error() {
    assert!(Shape::from_json("{").is_err());
    let mut later = shape(counting);
    later.version = 2;
    assert!(
        Shape::from_json(&later.to_json())
            .unwrap_err()
            .contains("version 2")
    );
}
