//! Calls in flight: nothing is committed before they are done, and what a crash leaves of them is called again.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use tidemill_streams::InFlight;

use super::*;

/// A service that answers while it is open.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    waiting: Arc<Mutex<Vec<Waker>>>,
}

impl Gate {
    async fn pass(self, value: String) -> String {
        self.asked.fetch_add(1, Ordering::Relaxed);
        poll_fn(|polling| {
            if self.open.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            self.waiting.lock().unwrap().push(polling.waker().clone());
            Poll::Pending
        })
        .await;
        value
    }

    fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.into_iter().for_each(Waker::wake);
    }

    fn counting(&self) -> App {
        let (app, gate) = (App::new("app"), self.clone());
        app.stream(&CLICKS)
            .map_async(InFlight::per_key(100), move |_, value| gate.clone().pass(value))
            .group_by_key()
            .count(&COUNTS)
            .to_stream()
            .to(&TOTALS);
        app
    }
}

fn worlds() -> [World; 2] {
    [World::new(), World::exactly_once()]
}

#[test]
fn a_commit_waits_for_the_calls_in_flight() {
    for mut world in worlds() {
        let (gate, state) = (Gate::default(), dir());
        let mut a = world.join("a", state.path(), &gate.counting());
        world.click_all();
        world.run(&mut [&mut a]);
        assert_eq!((world.totals().len(), world.committed()), (0, 0));
        assert_eq!(gate.asked.load(Ordering::Relaxed), KEYS as usize);
        // No further record is taken up, so that the calls end.
        world.click_all();
        world.run(&mut [&mut a]);
        assert_eq!(gate.asked.load(Ordering::Relaxed), KEYS as usize);
        gate.set_open(true);
        world.run(&mut [&mut a]);
        world.assert_each_total_once();
        assert_eq!(world.committed(), i64::from(2 * KEYS));
    }
}

#[test]
fn calls_that_a_crash_ends_are_made_again() {
    for mut world in worlds() {
        let (gate, state) = (Gate::default(), dir());
        let mut a = world.join("a", state.path(), &gate.counting());
        world.click_all();
        gate.set_open(true);
        world.run(&mut [&mut a]);
        gate.set_open(false);
        world.click_all();
        world.run(&mut [&mut a]);
        drop(a);
        world.cluster.expire("app", "a");
        gate.set_open(true);
        let mut a = world.join("a", state.path(), &gate.counting());
        world.run(&mut [&mut a]);
        world.assert_each_total_once();
        assert_eq!(gate.asked.load(Ordering::Relaxed), 3 * KEYS as usize);
    }
}

#[test]
fn calls_that_are_done_while_a_member_stops_are_committed() {
    for mut world in worlds() {
        let (gate, state) = (Gate::default(), dir());
        let mut a = world.join("a", state.path(), &gate.counting());
        world.click_all();
        world.run(&mut [&mut a]);
        let stopping = gate.clone();
        let opener = std::thread::spawn(move || stopping.set_open(true));
        a.stop(world.now);
        opener.join().unwrap();
        world.assert_each_total_once();
        assert_eq!(world.committed(), i64::from(KEYS));
    }
}
