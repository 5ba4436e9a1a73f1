use tidemill_data::{Headers, Timestamp, Topic};
use tidemill_store::{MemoryByteStore, TopicId};

use super::*;
use crate::{App, Globals, Outputs, Task, TaskConfig, TaskId};

const CITIES: Topic<String, i64> = Topic::new("cities");
const CLICKS: Topic<String, String> = Topic::new("clicks");
const OUT: Topic<String, i64> = Topic::new("out");

fn topology(policy: Policy) -> Arc<Topology> {
    let app = App::new("app");
    app.on_error(policy);
    let cities = app.global_table(&CITIES);
    app.stream(&CLICKS)
        .join_global(&cities, |_, city| city.clone(), |_, _, people| people)
        .to(&OUT);
    app.topology().unwrap()
}

fn two(_: &str) -> i32 {
    2
}

fn base(topology: &Topology) -> Arc<MemoryByteStore> {
    let families = GlobalTask::families(topology, &two);
    let names: Vec<&str> = families.iter().map(String::as_str).collect();
    Arc::new(MemoryByteStore::new(&names))
}

fn record(key: &str, value: Option<&[u8]>) -> RawRecord {
    RawRecord {
        offset: 0,
        timestamp: Timestamp::from_millis(1),
        key: Some(key.as_bytes().to_vec().into()),
        value: value.map(|value| value.to_vec().into()),
        headers: Headers::new(),
    }
}

fn position(next_offset: i64) -> ChangelogPosition {
    ChangelogPosition {
        topic_id: TopicId([3; 16]),
        next_offset,
        committed_at: Timestamp::from_millis(9),
    }
}

fn joined(topology: &Arc<Topology>, base: &Arc<MemoryByteStore>, city: &str) -> Vec<Vec<u8>> {
    let id = TaskId {
        subtopology: 1,
        partition: 0,
    };
    let config = TaskConfig {
        globals: Some(Globals(Arc::<MemoryByteStore>::clone(base))),
        ..TaskConfig::default()
    };
    let own = Arc::new(MemoryByteStore::new::<&str>(&[]));
    let mut task = Task::new(Arc::clone(topology), id, own, &config, Timestamp::default()).unwrap();
    task.enqueue("clicks", [record("k", Some(city.as_bytes()))])
        .unwrap();
    let mut outputs = Outputs::new();
    task.process(10, Timestamp::default(), &mut outputs).unwrap();
    outputs
        .iter()
        .filter_map(|output| output.value.map(<[u8]>::to_vec))
        .collect()
}

#[test]
fn tasks_see_what_all_partitions_brought_and_each_position_is_kept() {
    let topology = topology(Policy::Fail);
    let base = base(&topology);
    let mut global = GlobalTask::new(Arc::clone(&topology), base.clone(), &two).unwrap();
    let one = 1_i64.to_be_bytes();
    global
        .apply("cities", 1, &[record("ulm", Some(&one))], position(5))
        .unwrap();
    let positions = |global: &GlobalTask| -> Vec<Option<i64>> {
        let inputs = global.inputs().into_iter();
        inputs
            .map(|input| input.position.map(|at| at.next_offset))
            .collect()
    };
    assert_eq!(joined(&topology, &base, "ulm"), [one.to_vec()]);
    assert_eq!(joined(&topology, &base, "aalen"), Vec::<Vec<u8>>::new());
    let two_bytes = 2_i64.to_be_bytes();
    global
        .apply(
            "cities",
            0,
            &[record("aalen", Some(&two_bytes)), record("ulm", None)],
            position(7),
        )
        .unwrap();
    let again = GlobalTask::new(Arc::clone(&topology), base.clone(), &two).unwrap();
    assert_eq!(positions(&again), [Some(7), Some(5)]);
    assert_eq!(joined(&topology, &base, "aalen"), [two_bytes.to_vec()]);
    assert_eq!(joined(&topology, &base, "ulm"), Vec::<Vec<u8>>::new());
    global.reset("cities").unwrap();
    assert_eq!(positions(&global), [None, None]);
    assert_eq!(joined(&topology, &base, "aalen"), Vec::<Vec<u8>>::new());
}

#[test]
fn a_record_that_cannot_be_read_is_dealt_with_by_the_policy() {
    let records = [
        record("ulm", Some(b"x")),
        record("aalen", Some(&2_i64.to_be_bytes())),
    ];
    let failing = topology(Policy::Fail);
    let mut global = GlobalTask::new(Arc::clone(&failing), base(&failing), &two).unwrap();
    let error = global.apply("cities", 0, &records, position(2)).unwrap_err();
    assert!(error.to_string().contains("KSTREAM-SOURCE-0000000001"), "{error}");

    let skipping = topology(Policy::Skip);
    let base = base(&skipping);
    let mut global = GlobalTask::new(Arc::clone(&skipping), base.clone(), &two).unwrap();
    global.apply("cities", 0, &records, position(2)).unwrap();
    assert_eq!(global.take_failures().len(), 1);
    assert_eq!(joined(&skipping, &base, "aalen").len(), 1);
}

#[test]
fn a_topic_of_no_global_table_is_refused_and_tasks_need_the_globals() {
    let topology = topology(Policy::Fail);
    let base = base(&topology);
    let mut global = GlobalTask::new(Arc::clone(&topology), base, &two).unwrap();
    assert!(global.apply("clicks", 0, &[], position(0)).is_err());
    assert!(global.apply("cities", 2, &[], position(0)).is_err());
    let id = TaskId {
        subtopology: 1,
        partition: 0,
    };
    let own = Arc::new(MemoryByteStore::new::<&str>(&[]));
    let opened = Task::new(topology, id, own, &TaskConfig::default(), Timestamp::default());
    assert!(matches!(opened.map(drop), Err(TaskError::NoGlobals)));
}

const NAMES: tidemill_data::StoreName<String, i64> = tidemill_data::StoreName::new("names");

/// Counts records by their first letters, so that one that is seen twice shows.
fn counting(policy: Policy) -> Arc<Topology> {
    let app = App::new("app");
    app.on_error(policy);
    let counts = app.global_store(&CITIES, &NAMES, |city, rows| {
        let letter = city.key.get(..1).unwrap_or_default().to_owned();
        let count = rows.get(&letter)?.unwrap_or(0) + 1;
        rows.put(&letter, &count)?;
        if city.value == 13 {
            return Err("thirteen".into());
        }
        Ok(())
    });
    app.stream(&CLICKS)
        .join_global(&counts, |_, city| city.clone(), |_, _, count| count)
        .to(&OUT);
    app.topology().unwrap()
}

fn at(offset: i64, key: &str, value: i64) -> RawRecord {
    RawRecord {
        offset,
        ..record(key, Some(&value.to_be_bytes()))
    }
}

#[test]
fn what_a_function_makes_stands_with_its_position_and_no_record_is_seen_twice() {
    let topology = counting(Policy::Fail);
    let base = base(&topology);
    let mut global = GlobalTask::new(Arc::clone(&topology), base.clone(), &two).unwrap();
    global
        .apply("cities", 1, &[at(0, "ulm", 1), at(1, "unna", 1)], position(2))
        .unwrap();
    global
        .apply("cities", 0, &[at(0, "ulm", 1)], position(1))
        .unwrap();
    drop(global);
    let mut again = GlobalTask::new(Arc::clone(&topology), base.clone(), &two).unwrap();
    // Another store of the topic is behind, so that some come again.
    again
        .apply("cities", 1, &[at(1, "unna", 1), at(2, "ulm", 1)], position(3))
        .unwrap();
    assert_eq!(joined(&topology, &base, "u"), [4_i64.to_be_bytes().to_vec()]);
    // From the start, as when the topic was made anew.
    again.reset("cities").unwrap();
    assert_eq!(joined(&topology, &base, "u"), Vec::<Vec<u8>>::new());
    again.apply("cities", 1, &[at(0, "ulm", 1)], position(1)).unwrap();
    assert_eq!(joined(&topology, &base, "u"), [1_i64.to_be_bytes().to_vec()]);
}

#[test]
fn of_records_that_fail_nothing_stands_and_they_can_be_applied_again() {
    let topology = counting(Policy::Fail);
    let base = base(&topology);
    let mut global = GlobalTask::new(Arc::clone(&topology), base.clone(), &two).unwrap();
    let error = global
        .apply("cities", 1, &[at(0, "ulm", 1), at(1, "unna", 13)], position(2))
        .unwrap_err();
    assert!(error.to_string().contains("thirteen"), "{error}");
    assert_eq!(joined(&topology, &base, "u"), Vec::<Vec<u8>>::new());
    global
        .apply("cities", 1, &[at(0, "ulm", 1)], position(1))
        .unwrap();
    assert_eq!(joined(&topology, &base, "u"), [1_i64.to_be_bytes().to_vec()]);
}
