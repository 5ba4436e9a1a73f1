//! The fetcher: reads partitions ahead, within a budget of bytes, and hands records out when polled.

mod aborted;
mod chunk;
mod core;
mod session;
mod shell;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::core::{Core, unreadable_bytes};
use super::cluster::Cluster;
use super::engine::{Engine, Signal};
use super::settings::FetchSettings;
use crate::{Event, Reader, Start, TopicPartition, TransportError};

/// What a reader and its task share.
struct Shared {
    // Guards what is read; records are cut outside of it.
    core: Mutex<Core>,
    /// Something came.
    arrived: Arc<Signal>,
    /// There may be something to ask for.
    work: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().expect("no section that holds it panics")
    }
}

/// Reads assigned partitions ahead.
pub(crate) struct Fetcher {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    settings: FetchSettings,
    task: JoinHandle<()>,
    // Keeps the threads on which the task lives.
    _engine: Arc<Engine>,
}

impl Fetcher {
    /// `arrived` is raised whenever polling may give something.
    pub(crate) fn new(
        engine: Arc<Engine>,
        cluster: Arc<Cluster>,
        settings: FetchSettings,
        arrived: Arc<Signal>,
    ) -> Self {
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(settings.clone())),
            arrived,
            work: Notify::new(),
        });
        let task = engine
            .handle()
            .spawn(shell::run(shared.clone(), cluster.clone(), settings.clone()));
        Self {
            shared,
            cluster,
            settings,
            task,
            _engine: engine,
        }
    }

    pub(crate) fn assign(&mut self, from: &[(TopicPartition, Start)], paused: bool) {
        self.shared.lock().assign(from, paused, &self.cluster.backoff());
        self.shared.work.notify_one();
    }

    pub(crate) fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        self.shared.lock().set_paused(partitions, paused);
        if !paused {
            self.shared.arrived.raise();
        }
    }

    /// Adds records, at most about `max`, and what else there is to say. Does not wait.
    pub(crate) fn take(&mut self, max: usize, events: &mut Vec<Event>) -> Result<(), TransportError> {
        let lent = {
            let mut core = self.shared.lock();
            core.take_failure()?;
            core.lend()
        };
        let share = max.div_ceil(lent.len().max(1));
        let mut cut = Vec::with_capacity(lent.len());
        let mut broken = None;
        for (at, mut chunk) in lent {
            let mut records = Vec::new();
            let outcome = chunk.take(share, self.settings.check_crcs, &mut records);
            if let Err(error) = outcome {
                broken.get_or_insert((at, chunk.next_offset(), error));
            }
            cut.push((at, chunk, records));
        }
        let took = !cut.is_empty();
        let mut core = self.shared.lock();
        for (at, chunk, records) in cut {
            core.give_back(at, chunk, records, events);
        }
        core.report_ends(events);
        if let Some((at, offset, error)) = broken {
            let failure = core
                .name(at)
                .map(|at| unreadable_bytes(at, offset, &error.to_string()));
            failure.into_iter().for_each(|failure| core.fail(failure));
        }
        drop(core);
        if took {
            // There may be room for more.
            self.shared.work.notify_one();
        }
        Ok(())
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A reader of partitions assigned by hand.
pub(crate) struct NativeReader {
    fetcher: Fetcher,
    arrived: Arc<Signal>,
}

impl NativeReader {
    pub(crate) fn new(engine: Arc<Engine>, cluster: Arc<Cluster>, settings: FetchSettings) -> Self {
        let arrived = Arc::new(Signal::default());
        Self {
            fetcher: Fetcher::new(engine, cluster, settings, arrived.clone()),
            arrived,
        }
    }
}

impl Reader for NativeReader {
    fn assign(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError> {
        self.fetcher.assign(from, false);
        Ok(())
    }

    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        let had = events.len();
        self.fetcher.take(records_max, events)?;
        if events.len() == had && !wait.is_zero() {
            self.arrived.wait(wait);
            self.fetcher.take(records_max, events)?;
        }
        Ok(())
    }
}
