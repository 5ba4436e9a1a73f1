//! `map_async` under the driver: futures that the test completes by hand.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::{Poll, Waker},
};

use tidemill_data::{BoxError, Headers, MILLISECOND, SECOND, StoreName, Topic};
use tidemill_streams::{App, InFlight, Policy, Record, Retry};
use tidemill_testing::{TestDriver, TestError, ms};

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<String, String> = Topic::new("out");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");

/// A service whose answers the test gives.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    asked: Vec<String>,
    answers: BTreeMap<String, Result<String, String>>,
    waiting: Vec<Waker>,
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no section that holds this lock panics")
    }

    async fn ask(self, question: String) -> Result<String, BoxError> {
        self.state().asked.push(question.clone());
        poll_fn(|polling| {
            let mut state = self.state();
            if let Some(answer) = state.answers.remove(&question) {
                return Poll::Ready(answer.map_err(BoxError::from));
            }
            state.waiting.push(polling.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn answer(&self, question: &str, answer: Result<&str, &str>) {
        let mut state = self.state();
        let answer = answer.map(str::to_owned).map_err(str::to_owned);
        state.answers.insert(question.to_owned(), answer);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn answer_itself(&self, question: &str) {
        self.answer(question, Ok(&question.to_uppercase()));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }
}

fn start(in_flight: InFlight) -> (TestDriver, Service) {
    let (app, service) = (App::new("app"), Service::default());
    app.on_error(Policy::Skip);
    let asked = service.clone();
    app.stream(&IN)
        .try_map_async(in_flight, move |_, question| asked.clone().ask(question))
        .to(&OUT);
    (TestDriver::new(&app), service)
}

fn values(t: &mut TestDriver) -> Vec<String> {
    t.read(&OUT).into_iter().map(|record| record.value).collect()
}

fn answer(t: &mut TestDriver, service: &Service, question: &str) -> Vec<String> {
    service.answer_itself(question);
    t.settle();
    values(t)
}

#[test]
fn a_call_that_is_ready_at_once_is_as_a_map() {
    let app = App::new("app");
    app.stream(&IN)
        .map_async(InFlight::ordered(1), |key, value| async move { key + &value })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "1", ms(1));
    t.pipe(&IN, "k", "2", ms(2));
    assert_eq!(values(&mut t), ["k1", "k2"]);
    t.commit();
}

#[test]
fn ordered_results_go_on_in_the_order_of_their_records() {
    let (mut t, service) = start(InFlight::ordered(3));
    for value in ["a", "b", "c"] {
        t.pipe(&IN, "k", value, ms(1));
    }
    assert_eq!(service.asked(), ["a", "b", "c"]);
    assert_eq!(answer(&mut t, &service, "c"), [""; 0]);
    assert_eq!(answer(&mut t, &service, "a"), ["A"]);
    assert_eq!(answer(&mut t, &service, "b"), ["B", "C"]);
    assert_eq!(t.calls_in_flight(), 0);
}

#[test]
fn unordered_results_go_on_as_they_come() {
    let (mut t, service) = start(InFlight::unordered(3));
    for value in ["a", "b", "c"] {
        t.pipe(&IN, "k", value, ms(1));
    }
    assert_eq!(answer(&mut t, &service, "c"), ["C"]);
    assert_eq!(answer(&mut t, &service, "a"), ["A"]);
    assert_eq!(answer(&mut t, &service, "b"), ["B"]);
}

#[test]
fn calls_of_one_key_come_one_after_the_other() {
    let (mut t, service) = start(InFlight::per_key(3));
    for (key, value) in [("k", "a"), ("k", "b"), ("l", "c")] {
        t.pipe(&IN, key, value, ms(1));
    }
    assert_eq!(service.asked(), ["a", "c"]);
    assert_eq!(answer(&mut t, &service, "c"), ["C"]);
    assert_eq!(answer(&mut t, &service, "a"), ["A"]);
    assert_eq!(service.asked(), ["b"]);
    assert_eq!(answer(&mut t, &service, "b"), ["B"]);
}

#[test]
fn no_further_record_is_taken_up_while_the_bound_is_reached() {
    for in_flight in [InFlight::ordered(2), InFlight::per_key(2), InFlight::unordered(2)] {
        let (mut t, service) = start(in_flight);
        for value in ["a", "b", "c", "d"] {
            t.pipe(&IN, value, value, ms(1));
        }
        assert_eq!((service.asked().len(), t.calls_in_flight()), (2, 2));
        assert_eq!(answer(&mut t, &service, "a"), ["A"]);
        assert_eq!(service.asked(), ["c"]);
        for value in ["b", "c", "d"] {
            service.answer_itself(value);
            t.settle();
        }
        assert_eq!(values(&mut t), ["B", "C", "D"]);
    }
}

#[test]
fn one_record_that_gives_more_than_the_bound_waits_in_the_operator() {
    let (app, service) = (App::new("app"), Service::default());
    let asked = service.clone();
    app.stream(&IN)
        .flat_map_values(|text| text.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .try_map_async(InFlight::ordered(2), move |_, question| {
            asked.clone().ask(question)
        })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "a b c", ms(1));
    assert_eq!(service.asked(), ["a", "b"]);
    for value in ["a", "b", "c"] {
        service.answer_itself(value);
        t.settle();
    }
    assert_eq!(values(&mut t), ["A", "B", "C"]);
}

#[test]
fn a_call_that_fails_is_tried_again_after_a_pause_and_then_left_to_the_policy() {
    let retry = Retry::attempts(3).pauses(10 * MILLISECOND, SECOND);
    let (mut t, service) = start(InFlight::ordered(4).retry(retry));
    t.pipe(&IN, "k", "a", ms(1));
    t.pipe(&IN, "k", "b", ms(2));
    service.answer_itself("b");
    t.settle();
    for pause in [10, 20] {
        service.answer("a", Err("busy"));
        t.settle();
        service.asked();
        t.advance((pause - 1) * MILLISECOND);
        assert!(service.asked().is_empty());
        t.advance(MILLISECOND);
        assert_eq!(service.asked(), ["a"]);
    }
    assert_eq!(values(&mut t), [""; 0]);
    service.answer("a", Err("busy"));
    t.settle();
    assert_eq!(values(&mut t), ["B"]);
    let failures = t.take_failures();
    let [failure] = failures.as_slice() else {
        panic!("{failures:?}")
    };
    let source = failure.source_record.as_ref().expect("a record led to the call");
    assert_eq!(
        (source.record.offset, failure.error.to_string().as_str()),
        (0, "busy")
    );
}

#[test]
fn a_call_that_takes_too_long_has_failed() {
    let (mut t, service) = start(InFlight::ordered(4).timeout(SECOND).retry(Retry::attempts(2)));
    t.pipe(&IN, "k", "a", ms(1));
    t.advance(SECOND);
    t.advance(SECOND);
    assert_eq!(service.asked(), ["a", "a"]);
    t.advance(SECOND);
    let failures = t.take_failures();
    assert!(
        failures
            .iter()
            .any(|failure| failure.error.to_string().contains("1s")),
        "{failures:?}"
    );
    assert_eq!(t.calls_in_flight(), 0);
}

#[test]
fn a_panic_in_a_call_is_an_error_of_its_record() {
    let app = App::new("app");
    app.on_error(Policy::Skip);
    let call = |_: String, value: String| async move {
        assert_ne!(value, "a", "no a");
        value
    };
    app.stream(&IN).map_async(InFlight::ordered(4), call).to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "a", ms(1));
    t.pipe(&IN, "k", "b", ms(2));
    assert_eq!(values(&mut t), ["b"]);
    assert_eq!(t.take_failures().len(), 1);
}

#[test]
fn a_commit_needs_the_calls_done_and_a_crash_makes_them_again() {
    let (app, service) = (App::new("app"), Service::default());
    let asked = service.clone();
    app.stream(&IN)
        .try_map_async(InFlight::ordered(4), move |_, question| {
            asked.clone().ask(question)
        })
        .group_by_key()
        .count(&COUNTS)
        .to_stream()
        .map_values(|count| format!("{count:?}"))
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    t.pipe(&IN, "k", "a", ms(1));
    let committed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| t.commit()));
    assert!(committed.is_err());
    t.crash();
    assert_eq!(service.asked(), ["a", "a"]);
    assert_eq!(answer(&mut t, &service, "a"), ["Some(1)"]);
    t.restart();
    assert_eq!(service.asked(), [""; 0]);
    assert_eq!(t.row(&COUNTS, "k".to_owned()).map(|row| row.value), Some(1));
}

#[test]
fn the_failure_of_a_late_result_is_that_of_its_own_record() {
    let (app, service) = (App::new("app"), Service::default());
    let asked = service.clone();
    app.stream(&IN)
        .try_map_async(InFlight::unordered(4), move |_, question| {
            asked.clone().ask(question)
        })
        .try_map_values(|answer| Err::<String, BoxError>(answer.into()))
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    let record = |value: &str| Record {
        key: "k".to_owned(),
        value: value.to_owned(),
        timestamp: ms(1),
        headers: Headers::new(),
    };
    t.try_pipe(&IN, record("a")).expect("it waits for its call");
    t.try_pipe(&IN, record("b")).expect("it waits for its call");
    service.answer_itself("a");
    let error = t
        .try_pipe(&IN, record("c"))
        .expect_err("the first fails behind its call");
    let TestError::Task(tidemill_streams::TaskError::Failed(failure)) = error else {
        panic!("{error}")
    };
    assert_eq!(failure.source_record.expect("a record led here").record.offset, 0);
}

/// A future that wakes itself so often, and is done then.
async fn wakes_itself(mut polls: usize) {
    poll_fn(|polling| {
        polls -= 1;
        if polls == 0 {
            return Poll::Ready(());
        }
        polling.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_future_that_wakes_itself_for_ever_ends_the_test_and_names_the_operator() {
    let app = App::new("app");
    app.stream(&IN)
        .map_async(InFlight::ordered(10), |_, text: String| async move {
            wakes_itself(text.parse().unwrap_or(usize::MAX)).await;
            text
        })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    // Some times are a way to let others go first.
    t.pipe(&IN, "k", "500", ms(1));
    assert_eq!(t.read(&OUT).len(), 1);
    let record = Record::new("k".to_owned(), "for ever".to_owned(), ms(2));
    let error = t.try_pipe(&IN, record).expect_err("it is never done");
    assert!(matches!(error, TestError::Spinning { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("KSTREAM-MAPASYNC-0000000001"), "{said}");
    assert!(said.contains("10000 polls"), "{said}");
}

#[test]
fn many_futures_that_wake_themselves_a_few_times_are_all_done() {
    let app = App::new("app");
    app.stream(&IN)
        .map_async(InFlight::per_key(1_000), |_, text: String| async move {
            wakes_itself(9_000).await;
            text
        })
        .to(&OUT);
    let mut t = TestDriver::new(&app);
    for key in ["a", "b", "a"] {
        t.pipe(&IN, key, "text", ms(1));
    }
    assert_eq!(t.read(&OUT).len(), 3);
}
