//! A restorer on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemill_client::{Transport, Wake};
use tidemill_data::Timestamp;
use tidemill_streams::TaskId;

use super::{Held, RestoreListener, Restorer, STEP_WAIT, Unrestored, holds};
use crate::error::RunError;
use crate::live_task::LiveTask;
use crate::pool::now;

/// How long the thread waits for orders before it looks again whether its worker is still there.
const IDLE_WAIT: Duration = Duration::from_secs(1);

enum Order {
    Add(Vec<Unrestored>),
    /// Drop all tasks, then answer.
    Clear(Sender<()>),
}

/// The worker's side.
pub(crate) struct Aside {
    transport: Arc<dyn Transport>,
    name: String,
    listener: Option<RestoreListener>,
    wake: Wake,
    // What was ordered and has not come back.
    held: Held,
    running: Option<Running>,
}

struct Running {
    orders: Sender<Order>,
    done: Receiver<Result<LiveTask, RunError>>,
    thread: JoinHandle<()>,
}

impl Aside {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        name: String,
        listener: Option<RestoreListener>,
        wake: Wake,
    ) -> Self {
        Self {
            transport,
            name,
            listener,
            wake,
            held: Held::new(),
            running: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn holds(&self, store: &str, only: Option<TaskId>) -> bool {
        holds(&self.held, store, only)
    }

    pub(super) fn add(&mut self, tasks: Vec<Unrestored>, now: Timestamp) -> Result<Vec<LiveTask>, RunError> {
        // What needs nothing, the usual case after a clean stop, goes on without a word to the thread.
        let (waiting, ready): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.needs_work(now));
        if !waiting.is_empty() {
            for task in &waiting {
                let stores = task
                    .changelogs
                    .iter()
                    .map(|(changelog, _)| changelog.store.clone());
                self.held.insert(task.live.id(), stores.collect());
            }
            self.order(Order::Add(waiting))?;
        }
        Ok(ready.into_iter().map(|task| task.live).collect())
    }

    fn order(&mut self, order: Order) -> Result<(), RunError> {
        let running = match &mut self.running {
            Some(running) => running,
            none => {
                let (orders, receiver) = channel();
                let (results, done) = channel();
                let (transport, name, wake) = (self.transport.clone(), self.name.clone(), self.wake.clone());
                let listener = self.listener.clone();
                let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
                    let restorer = Restorer::new(transport, name, listener);
                    serve(restorer, &receiver, &results, &wake);
                });
                let thread = thread.map_err(|error| RunError::Thread(error.to_string()))?;
                none.insert(Running { orders, done, thread })
            }
        };
        let lost = |_| RunError::Thread("the restoring thread has ended".to_owned());
        running.orders.send(order).map_err(lost)
    }

    pub(super) fn completed(&mut self) -> Result<Vec<LiveTask>, RunError> {
        let Some(running) = &self.running else {
            return Ok(Vec::new());
        };
        let mut complete = Vec::new();
        loop {
            match running.done.try_recv() {
                Ok(Ok(live)) => {
                    self.held.remove(&live.id());
                    complete.push(live);
                }
                Ok(Err(error)) => return Err(error),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(RunError::Panic(self.name.clone())),
            }
        }
        if self.held.is_empty() {
            self.end();
        }
        Ok(complete)
    }

    /// Waits until the thread has let all tasks go, so that their databases may be opened again.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        if let Some(running) = &self.running {
            let (reply, answer) = channel();
            if running.orders.send(Order::Clear(reply)).is_ok() {
                let _ = answer.recv();
            }
        }
        self.end();
    }

    fn end(&mut self) {
        if let Some(Running { orders, thread, .. }) = self.running.take() {
            drop(orders);
            // A panic in it was told by the channel.
            let _ = thread.join();
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The thread's side.
fn serve(
    mut restorer: Restorer,
    orders: &Receiver<Order>,
    results: &Sender<Result<LiveTask, RunError>>,
    wake: &Wake,
) {
    loop {
        let order = if restorer.is_idle() {
            match orders.recv_timeout(IDLE_WAIT) {
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(order) => Some(order),
            }
        } else {
            match orders.try_recv() {
                Err(TryRecvError::Disconnected) => return,
                order => order.ok(),
            }
        };
        let outcome = match order {
            Some(Order::Add(tasks)) => restorer.add(tasks, now()),
            Some(Order::Clear(reply)) => {
                restorer.clear();
                let _ = reply.send(());
                Ok(Vec::new())
            }
            None => restorer.step(STEP_WAIT, now()),
        };
        let failed = outcome.is_err();
        let results_of: Vec<_> = match outcome {
            Ok(complete) => complete.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        let any = !results_of.is_empty();
        for result in results_of {
            if results.send(result).is_err() {
                return;
            }
        }
        if any {
            wake();
        }
        if failed {
            return;
        }
    }
}
