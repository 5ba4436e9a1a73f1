//! A step that fails is tried again as often as the policy says, and then left to the next policy.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tidemill_data::{BoxError, DecodeError, EncodeError, Format, Own, Place, Presence, StoreName, Topic};
use tidemill_streams::{App, Policy, Retry};
use tidemill_testing::{TestDriver, ms};

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<String, String> = Topic::new("out");

/// Fails so many times, and then succeeds.
#[derive(Clone)]
struct Flaky(Arc<AtomicUsize>, usize);

impl Flaky {
    fn new(failures: usize) -> Self {
        Self(Arc::default(), failures)
    }

    fn ask(&self) -> Result<(), BoxError> {
        if self.0.fetch_add(1, Ordering::Relaxed) < self.1 {
            return Err("busy".into());
        }
        Ok(())
    }

    fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn policy() -> Policy {
    Policy::retry(Retry::attempts(3), Policy::Skip)
}

fn run(compose: impl FnOnce(&App, Flaky), failures: usize) -> (Vec<String>, usize, usize) {
    let (app, flaky) = (App::new("app"), Flaky::new(failures));
    compose(&app, flaky.clone());
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "v", ms(1));
    let values = t.read(&OUT).into_iter().map(|record| record.value).collect();
    (values, flaky.asked(), t.take_failures().len())
}

fn check(compose: impl Fn(&App, Flaky)) {
    for (failures, values, asked, failed) in [(0, 1, 1, 0), (1, 1, 2, 0), (2, 1, 3, 0), (3, 0, 3, 1)] {
        let found = run(&compose, failures);
        assert_eq!(
            (found.0.len(), found.1, found.2),
            (values, asked, failed),
            "{failures} failures"
        );
    }
}

#[test]
fn user_code_is_tried_again_on_a_stream_that_is_retryable() {
    check(|app, flaky| {
        app.stream(&IN)
            .retryable()
            .try_map_values(move |value| flaky.ask().map(|()| value))
            .on_error(policy())
            .to(&OUT);
    });
}

#[test]
fn the_policy_of_the_app_is_tried_for_every_operator() {
    check(|app, flaky| {
        app.on_error(policy());
        app.stream(&IN)
            .map_values(|value| value)
            .retryable()
            .try_filter(move |_, _| flaky.ask().map(|()| true))
            .to(&OUT);
    });
}

#[test]
fn a_panic_is_tried_again_too() {
    check(|app, flaky| {
        app.stream(&IN)
            .retryable()
            .map_values(move |value| {
                flaky.ask().expect("it is not busy");
                value
            })
            .on_error(policy())
            .to(&OUT);
    });
}

#[test]
fn aggregations_are_tried_again_and_count_once() {
    const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    check(|app, flaky| {
        app.stream(&IN)
            .retryable()
            .group_by_key()
            .try_aggregate(&COUNTS, move |_, _, count| {
                *count += 1;
                flaky.ask()
            })
            .on_error(policy())
            .to_stream()
            .filter(|_, count| *count == Some(1))
            .map_values(|count| format!("{count:?}"))
            .to(&OUT);
    });
}

/// A format that asks a registry first.
struct Registry(Flaky);

impl Format<String> for Registry {
    fn encode(&self, at: Place<'_>, value: &String, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        self.0
            .ask()
            .map_err(|error| EncodeError::of::<String>("a text", error.to_string()))?;
        Own.encode(at, value, out)
    }

    fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<String, DecodeError> {
        self.0
            .ask()
            .map_err(|error| DecodeError::of::<String>("a text", error.to_string()))?;
        Own.decode(at, bytes)
    }
}

#[test]
fn decoding_is_tried_again() {
    check(|app, flaky| {
        app.on_error(policy());
        let topic = Topic::with_formats("in", Own, Registry(flaky));
        app.stream(&topic).map_values(|value| value).to(&OUT);
    });
}

#[test]
fn encoding_is_tried_again() {
    check(|app, flaky| {
        let topic = Topic::with_formats("out", Own, Registry(flaky));
        app.stream(&IN).to_or(&topic, policy());
    });
}

#[test]
fn without_another_record_there_is_no_other_attempt() {
    let (values, asked, failed) = run(
        |app, flaky| {
            app.stream(&IN)
                .try_map_values(move |value| flaky.ask().map(|()| value))
                .on_error(policy())
                .to(&OUT);
        },
        1,
    );
    assert_eq!((values.len(), asked, failed), (0, 1, 1));
}

#[test]
fn what_fails_behind_an_operator_is_not_its_attempt() {
    let behind = Flaky::new(1);
    let (values, asked, failed) = run(
        |app, flaky| {
            let behind = behind.clone();
            app.on_error(Policy::Skip);
            app.stream(&IN)
                .retryable()
                .try_map_values(move |value| flaky.ask().map(|()| value))
                .on_error(policy())
                .try_map_values(move |value| behind.ask().map(|()| value))
                .to(&OUT);
        },
        1,
    );
    assert_eq!((values.len(), asked, failed, behind.asked()), (0, 2, 1, 1));
}
