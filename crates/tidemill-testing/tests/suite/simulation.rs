//! Several instances under faults that a seed decides.

use std::collections::BTreeMap;

use tidemill_data::{StoreName, Topic};
use tidemill_streams::App;
use tidemill_testing::{Guarantee, Scene, Simulation, ms};

const CLICKS: Topic<String, String> = Topic::new("clicks");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
const SEEDS: u64 = 60;

fn by_word() -> App {
    let app = App::new("app");
    app.stream(&CLICKS)
        .group_by(|_, word| word.clone())
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    app
}

struct Outcome {
    totals: BTreeMap<String, Vec<i64>>,
    rows: BTreeMap<String, i64>,
    trace: Vec<String>,
}

/// Three words, 40 times each, while instances come and go.
fn simulate(guarantee: Guarantee, seed: u64) -> Outcome {
    let scene = Scene {
        partitions: 3,
        instances: 3,
        guarantee,
        seed,
    };
    let mut simulation = Simulation::new(&by_word(), &scene);
    for n in 0..40 {
        for (key, word) in [("a", "to"), ("b", "be"), ("c", "or")] {
            simulation.pipe(&CLICKS, format!("{key}{n}"), word, ms(n));
        }
        simulation.run(8);
    }
    simulation.settle();
    let mut totals: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in simulation.read(&TOTALS) {
        totals.entry(record.key).or_default().push(record.value.unwrap());
    }
    let rows = simulation
        .rows(&COUNTS)
        .into_iter()
        .map(|(key, row)| (key, row.value));
    Outcome {
        totals,
        rows: rows.collect(),
        trace: simulation.trace().to_vec(),
    }
}

#[test]
fn exactly_once_counts_every_record_once_whatever_the_seed() {
    let mut deaths = BTreeMap::new();
    for seed in 0..SEEDS {
        let outcome = simulate(Guarantee::ExactlyOnce, seed);
        for word in ["to", "be", "or"] {
            let expected: Vec<i64> = (1..=40).collect();
            assert_eq!(outcome.totals[word], expected, "{word}, seed {seed}");
            assert_eq!(outcome.rows[word], 40, "{word}, seed {seed}");
        }
        for line in outcome.trace.iter().filter(|line| line.contains("dies")) {
            let how = line.split(": ").last().unwrap().to_owned();
            *deaths.entry(how).or_insert(0) += 1;
        }
    }
    assert_eq!(deaths.len(), 3, "{deaths:?}");
}

#[test]
fn at_least_once_misses_nothing_and_may_repeat() {
    let mut repeated = 0;
    for seed in 0..SEEDS {
        let outcome = simulate(Guarantee::AtLeastOnce, seed);
        for word in ["to", "be", "or"] {
            let last = *outcome.totals[word].last().unwrap();
            assert!(last >= 40, "{word} was counted {last} times, seed {seed}");
            repeated += usize::from(last > 40 || outcome.totals[word].len() > 40);
        }
    }
    assert!(repeated > 0, "no crash repeated anything, so none was simulated");
}

#[test]
fn a_seed_gives_the_same_trace_every_time_and_another_seed_another() {
    let trace = |seed| simulate(Guarantee::ExactlyOnce, seed).trace;
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}
