//! The threads of an instance: added, removed, replaced when they fail, and stopped together.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemill_client::{Member, Subscription, TransportError, Wake};
use tidemill_data::Timestamp;

use crate::error::RunError;
use crate::failure::{Failure, FailureHandler, Response};
use crate::patterns::missing;
use crate::restore::Restoring;
use crate::state::{State, StateBoard, ThreadPhase};
use crate::worker::{Command, Instance, Post, Turn, Worker};

/// Pauses before a failed thread is replaced: they double, so that a record that fails every time does not keep a
/// processor busy.
const REPLACE_PAUSE_MIN: Duration = Duration::from_millis(10);
const REPLACE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A thread that worked for so many turns has recovered from whatever its predecessor failed of.
const RECOVERED_TURNS: u32 = 1_000;

/// The threads of one instance.
pub(crate) struct Pool {
    // Guards which instance workers begin with: another one once sources follow other topics.
    instance: Mutex<Arc<Instance>>,
    board: Arc<StateBoard>,
    subscription: Subscription,
    handler: Option<FailureHandler>,
    // The Tokio runtime that the program started in: there the futures of operators find their timers and sockets.
    tokio: Option<tokio::runtime::Handle>,
    // Guards the table of threads; short sections, and no thread is joined under it.
    threads: Mutex<Threads>,
    // Guards the error that ended the program.
    error: Mutex<Option<RunError>>,
}

#[derive(Default)]
struct Threads {
    // By number, from 1.
    seats: BTreeMap<usize, Seat>,
    // Numbers of threads that are joining the group; they have no seat yet.
    joining: BTreeSet<usize>,
    stopping: bool,
}

struct Seat {
    commands: Sender<Command>,
    wake: Wake,
    thread: Option<JoinHandle<()>>,
}

/// What a worker begins with.
struct Place {
    instance: Arc<Instance>,
    member: Box<dyn Member>,
    commands: Receiver<Command>,
}

/// How a worker ended, if nothing failed.
enum Ended {
    /// It was told to.
    Stopped,
    /// Another is to go on with the topics there are now.
    Aside(Receiver<Command>),
}

impl Pool {
    pub(crate) fn new(
        instance: Arc<Instance>,
        board: Arc<StateBoard>,
        subscription: Subscription,
        handler: Option<FailureHandler>,
    ) -> Arc<Self> {
        Arc::new(Self {
            instance: Mutex::new(instance),
            board,
            subscription,
            handler,
            tokio: tokio::runtime::Handle::try_current().ok(),
            threads: Mutex::default(),
            error: Mutex::default(),
        })
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads
            .lock()
            .expect("no section that holds this lock panics")
    }

    /// The instance as it is now.
    pub(crate) fn instance(&self) -> Arc<Instance> {
        self.instance
            .lock()
            .expect("no section that holds this lock panics")
            .clone()
    }

    /// Looks at the topics again if it is time to, and tells whether this instance is still the one.
    fn is_current(&self, instance: &Arc<Instance>) -> bool {
        if let Some(patterns) = &instance.patterns
            && patterns.is_due(now())
            && let Some(renewed) = patterns.look(&self.instance(), now())
        {
            let mut current = self
                .instance
                .lock()
                .expect("no section that holds this lock panics");
            *current = Arc::new(renewed);
            drop(current);
            self.tell(|| Command::Look);
        }
        Arc::ptr_eq(instance, &self.instance())
    }

    /// Whether an error says only that a topic is gone which a source followed; then all goes on without it.
    fn has_outlived(&self, instance: &Arc<Instance>, error: &RunError) -> bool {
        let Some(patterns) = instance.patterns.as_ref().filter(|_| missing(error).is_some()) else {
            return false;
        };
        patterns.look_soon();
        !self.is_current(instance)
    }

    fn name(&self, number: usize) -> String {
        format!("{}-{number}", self.subscription.client)
    }

    /// The `client.id` that those of the threads begin with.
    pub(crate) fn client(&self) -> &str {
        &self.subscription.client
    }

    /// The names of the threads, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.threads()
            .seats
            .keys()
            .map(|number| self.name(*number))
            .collect()
    }

    /// Sends a command to every thread; `make` makes each its own.
    pub(crate) fn tell(&self, mut make: impl FnMut() -> Command) {
        for seat in self.threads().seats.values() {
            // A thread that has just ended drops the command.
            let _ = seat.commands.send(make());
            (seat.wake)();
        }
    }

    fn join_group(&self, instance: &Instance, number: usize) -> Result<Box<dyn Member>, TransportError> {
        let id = instance.config.group_instance_id.as_ref();
        instance.transport.join(&Subscription {
            client: self.name(number),
            instance: id.map(|id| format!("{id}-{number}")),
            topics: instance.input_topics(),
            ..self.subscription.clone()
        })
    }

    /// Starts one more thread under the lowest free number, and gives its name; `None` once the program is stopping.
    pub(crate) fn add(self: &Arc<Self>) -> Result<Option<String>, RunError> {
        let Some(number) = self.take_number() else {
            return Ok(None);
        };
        // To join takes as long as the cluster takes, so nobody is kept from the table meanwhile.
        let instance = self.instance();
        let member = self.join_group(&instance, number);
        let mut threads = self.threads();
        threads.joining.remove(&number);
        let member = member?;
        if threads.stopping {
            return Ok(None);
        }
        let (commands, receiver) = channel();
        let wake = member.wake();
        let place = Place {
            instance,
            member,
            commands: receiver,
        };
        self.board.thread_is(number, ThreadPhase::Settling);
        let pool = self.clone();
        let thread = std::thread::Builder::new()
            .name(self.name(number))
            .spawn(move || pool.serve(number, place));
        let thread = Some(thread.map_err(|error| RunError::Thread(error.to_string()))?);
        threads.seats.insert(
            number,
            Seat {
                commands,
                wake,
                thread,
            },
        );
        Ok(Some(self.name(number)))
    }

    /// The lowest free number; `None` once the program is stopping.
    fn take_number(&self) -> Option<usize> {
        let mut threads = self.threads();
        let is_free = |n: &usize| !threads.seats.contains_key(n) && !threads.joining.contains(n);
        let number = (1..).find(is_free).filter(|_| !threads.stopping)?;
        threads.joining.insert(number);
        Some(number)
    }

    /// Stops one thread, the youngest if none is named, and waits until its work is committed and others have it.
    pub(crate) fn remove(&self, name: Option<&str>) -> Option<String> {
        let (number, thread) = {
            let mut threads = self.threads();
            let chosen = match name {
                Some(name) => threads.seats.keys().find(|number| self.name(**number) == name),
                None => threads.seats.keys().next_back(),
            };
            let number = *chosen?;
            let seat = threads.seats.get_mut(&number)?;
            let _ = seat.commands.send(Command::Stop);
            (seat.wake)();
            (number, seat.thread.take()?)
        };
        if thread.join().is_err() {
            tracing::error!("{}: panicked", self.name(number));
        }
        self.threads().seats.remove(&number);
        self.board.thread_left(number);
        self.instance().metrics.forget(number);
        Some(self.name(number))
    }

    /// Asks all threads to commit, leave and end.
    pub(crate) fn stop(&self, as_state: State) {
        self.board.shut_down(as_state);
        self.threads().stopping = true;
        self.tell(|| Command::Stop);
    }

    /// Waits until all threads have ended. Errors: why the program had stopped by itself, if it had.
    pub(crate) fn join(&self) -> Result<(), RunError> {
        loop {
            let next = {
                let mut threads = self.threads();
                let mut seats = threads.seats.iter_mut();
                seats.find_map(|(number, seat)| Some((*number, seat.thread.take()?)))
            };
            let Some((number, thread)) = next else { break };
            if thread.join().is_err() {
                return Err(RunError::Panic(self.name(number)));
            }
        }
        let mut error = self.error.lock().expect("no section that holds this lock panics");
        error.take().map_or(Ok(()), Err)
    }

    /// What a thread does: runs a worker, and another in its place for as long as the handler says so.
    fn serve(self: &Arc<Self>, number: usize, place: Place) {
        let name = self.name(number);
        let _entered = self.tokio.as_ref().map(tokio::runtime::Handle::enter);
        let mut next = Some(place);
        let mut pause = REPLACE_PAUSE_MIN;
        while let Some(place) = next.take() {
            let mut turns = 0;
            let run = AssertUnwindSafe(|| self.run(number, place, &mut turns));
            let outcome = std::panic::catch_unwind(run);
            let databases = self.instance().databases.clone();
            match &outcome {
                Ok(Err(judged)) if judged.0.error.is_of_a_database() => databases.close_idle(),
                _ => databases.flush(),
            }
            let (failure, response) = match outcome {
                Ok(Ok(Ended::Stopped)) => {
                    self.board.thread_is(number, ThreadPhase::Ended);
                    return;
                }
                Ok(Ok(Ended::Aside(commands))) => match self.rejoin(number, commands) {
                    Ok(place) => {
                        next = place;
                        continue;
                    }
                    Err(error) => self.judge(number, error.into()),
                },
                Ok(Err(judged)) => *judged,
                Err(_panic) => self.judge(number, RunError::Panic(name.clone())),
            };
            if turns > RECOVERED_TURNS {
                pause = REPLACE_PAUSE_MIN;
            }
            next = self.after(number, failure, response, pause);
            pause = pause.saturating_mul(2).min(REPLACE_PAUSE_MAX);
        }
    }

    fn run(&self, number: usize, place: Place, turns: &mut u32) -> Result<Ended, Box<(Failure, Response)>> {
        let Place {
            instance,
            member,
            commands,
        } = place;
        let wait = instance.config.poll_wait;
        let post = Post {
            name: self.name(number),
            number,
        };
        let name = post.name.clone();
        let judge = |error| Box::new(self.judge(number, error));
        let (transport, listener) = (instance.transport.clone(), instance.restore_listener.clone());
        let restorer = Restoring::aside(transport, format!("{name}-restore"), listener, member.wake());
        let worker = Worker::new(instance.clone(), post, member, commands, restorer, now());
        let mut worker = worker.map_err(judge)?;
        loop {
            *turns = turns.saturating_add(1);
            if !self.is_current(&instance) {
                self.board.thread_is(number, ThreadPhase::Settling);
                let left = worker.stop(now()).and_then(|()| worker.leave());
                return left.map(Ended::Aside).map_err(judge);
            }
            match worker.turn(now(), wait) {
                Ok(Turn::Next(phase)) => self.board.thread_is(number, phase),
                Ok(Turn::Stopped) => return worker.leave().map(|_| Ended::Stopped).map_err(judge),
                Err(error) if self.has_outlived(&instance, &error) => {
                    self.board.thread_is(number, ThreadPhase::Settling);
                    return worker.leave().map(Ended::Aside).map_err(judge);
                }
                Err(error) => {
                    // Before leaving: whoever hears that this member has gone looks for an order to stop.
                    let judged = judge(error);
                    // Others take over at once, instead of waiting for the session to end.
                    if let Err(leaving) = worker.leave() {
                        tracing::warn!("{name}: {leaving}");
                    }
                    return Err(judged);
                }
            }
        }
    }

    /// Asks the handler what to do about a failed thread, and tells the other instances if they are to stop.
    fn judge(&self, number: usize, error: RunError) -> (Failure, Response) {
        let thread = self.name(number);
        tracing::error!("{thread}: {error}");
        self.instance().metrics.thread_failed();
        let ordered = matches!(error, RunError::ApplicationShutdown { .. });
        let failure = Failure { thread, error };
        let response = match &self.handler {
            Some(handler) if !ordered => handler(&failure),
            _ => Response::ShutdownClient,
        };
        if response == Response::ShutdownApplication {
            let reason = failure.error.to_string();
            if let Err(error) = self.instance().control.order_shutdown(&failure.thread, &reason) {
                tracing::error!("the other instances could not be told to shut down: {error}");
            }
        }
        (failure, response)
    }

    /// Does what the handler wants. A new member and its commands mean: go on in the place of the failed thread.
    fn after(&self, number: usize, failure: Failure, response: Response, pause: Duration) -> Option<Place> {
        let error = match response {
            Response::ReplaceThread => match self.replace(number, pause) {
                Ok(replaced) => return replaced,
                Err(error) => error.into(),
            },
            Response::ShutdownClient | Response::ShutdownApplication => failure.error,
        };
        let mut first = self.error.lock().expect("no section that holds this lock panics");
        first.get_or_insert(error);
        drop(first);
        self.stop(State::PendingError);
        self.board.thread_is(number, ThreadPhase::Failed);
        None
    }

    /// Stops the program for a failure that is no worker's.
    pub(crate) fn fail(&self, error: RunError) {
        let mut first = self.error.lock().expect("no section that holds this lock panics");
        first.get_or_insert(error);
        drop(first);
        self.stop(State::PendingError);
        // Workers count from 1.
        self.board.thread_is(0, ThreadPhase::Failed);
    }

    fn replace(&self, number: usize, pause: Duration) -> Result<Option<Place>, TransportError> {
        self.board.thread_is(number, ThreadPhase::Settling);
        let (commands, receiver) = channel();
        if let Some(seat) = self.threads().seats.get_mut(&number) {
            seat.commands = commands;
        }
        // Queries that come during the pause are dropped, which tells whoever asked that nobody answers.
        if let Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) = receiver.recv_timeout(pause) {
            self.board.thread_is(number, ThreadPhase::Ended);
            return Ok(None);
        }
        let place = self.rejoin(number, receiver)?;
        if place.is_some() {
            tracing::info!("{}: replaced", self.name(number));
        }
        Ok(place)
    }

    /// Joins the group anew, for the topics there are now. `None`: the program is stopping.
    fn rejoin(&self, number: usize, commands: Receiver<Command>) -> Result<Option<Place>, TransportError> {
        let instance = self.instance();
        let member = self.join_group(&instance, number)?;
        let mut threads = self.threads();
        if threads.stopping {
            self.board.thread_is(number, ThreadPhase::Ended);
            return Ok(None);
        }
        if let Some(seat) = threads.seats.get_mut(&number) {
            seat.wake = member.wake();
        }
        Ok(Some(Place {
            instance,
            member,
            commands,
        }))
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
