//! The producer as the runtime sees it.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::accumulator::{Accumulator, Pushed};
use super::sender::{Sender, Shared, Transactional};
use crate::native::cluster::Cluster;
use crate::native::engine::Engine;
use crate::native::settings::ProducerSettings;
use crate::{Outgoing, TopicPartition, TransportError, Writer, WriterTopic};

/// How long one wait for acknowledgements lasts before we see whether the sender still lives.
const STEP: Duration = Duration::from_millis(500);

pub(crate) struct NativeWriter {
    shared: Arc<Shared>,
    sender: JoinHandle<()>,
    // Keeps the threads on which the sender lives.
    _engine: Arc<Engine>,
}

impl NativeWriter {
    pub(crate) fn new(engine: Arc<Engine>, cluster: Arc<Cluster>, settings: ProducerSettings) -> Self {
        let accumulator = Accumulator::new(settings.clone());
        Self::over(engine, cluster, settings, accumulator, None)
    }

    /// As [`new`](Self::new), with the buffer of a transactional producer.
    pub(super) fn over(
        engine: Arc<Engine>,
        cluster: Arc<Cluster>,
        settings: ProducerSettings,
        accumulator: Accumulator,
        transactional: Option<Transactional>,
    ) -> Self {
        let shared = Shared::new(accumulator);
        let run = Sender::run(shared.clone(), cluster, settings, transactional);
        let sender = engine.handle().spawn(run);
        Self {
            shared,
            sender,
            _engine: engine,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Accumulator> {
        self.shared.lock()
    }

    /// Throws away what is queued, and waits until nothing is under way.
    pub(super) fn discard(&mut self) -> Result<(), TransportError> {
        let mut accumulator = self.shared.lock();
        loop {
            accumulator.discard();
            if accumulator.is_empty() {
                return Ok(());
            }
            accumulator = self.wait(accumulator)?;
        }
    }

    fn wait<'a>(
        &self,
        accumulator: MutexGuard<'a, Accumulator>,
    ) -> Result<MutexGuard<'a, Accumulator>, TransportError> {
        if self.sender.is_finished() {
            return Err(TransportError::Cluster {
                operation: "write",
                reason: "the sender has ended".into(),
            });
        }
        let waited = self.shared.changed.wait_timeout(accumulator, STEP);
        Ok(waited.expect("no section that holds it panics").0)
    }
}

fn report_losses(accumulator: &mut Accumulator) -> Result<(), TransportError> {
    let losses = accumulator.take_losses();
    let count: usize = losses.iter().map(|loss| loss.records).sum();
    losses.into_iter().next().map_or(Ok(()), |loss| {
        Err(TransportError::Delivery {
            partition: loss.partition,
            reason: format!("{} ({count} records)", loss.reason),
        })
    })
}

fn undeliverable(accumulator: &Accumulator, record: &Outgoing<'_>, reason: String) -> TransportError {
    let topic = accumulator
        .topic_name(record.topic.0)
        .unwrap_or_else(|| "?".into());
    TransportError::Delivery {
        partition: TopicPartition::new(topic, record.partition),
        reason,
    }
}

impl Writer for NativeWriter {
    fn topic(&mut self, name: &str) -> Result<WriterTopic, TransportError> {
        Ok(WriterTopic(self.shared.lock().topic(name)))
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), TransportError> {
        let mut now = Instant::now();
        let mut accumulator = self.shared.lock();
        let mut wake = false;
        for record in records {
            loop {
                match accumulator.push(record, now) {
                    Pushed::Queued => break,
                    Pushed::Wake => {
                        wake = true;
                        break;
                    }
                    Pushed::TooLarge(max) => {
                        let reason = format!("the record is larger than {max} bytes (`max.request.size`)");
                        return Err(undeliverable(&accumulator, record, reason));
                    }
                    Pushed::NoSuchPartition => {
                        let reason = "there is no such partition".to_owned();
                        return Err(undeliverable(&accumulator, record, reason));
                    }
                    Pushed::Full => {
                        accumulator.blocked = true;
                        self.shared.work.notify_one();
                        accumulator = self.wait(accumulator)?;
                        accumulator.blocked = false;
                        report_losses(&mut accumulator)?;
                        now = Instant::now();
                    }
                }
            }
        }
        drop(accumulator);
        if wake {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<(), TransportError> {
        report_losses(&mut self.shared.lock())
    }

    // Bounded by `delivery.timeout.ms`, after which what is left counts as lost.
    fn flush(&mut self) -> Result<(), TransportError> {
        let mut accumulator = self.shared.lock();
        let mut outcome = report_losses(&mut accumulator);
        while outcome.is_ok() && !accumulator.is_empty() {
            accumulator.flushing = true;
            self.shared.work.notify_one();
            accumulator = self.wait(accumulator)?;
            outcome = report_losses(&mut accumulator);
        }
        accumulator.flushing = false;
        outcome
    }
}

impl Drop for NativeWriter {
    fn drop(&mut self) {
        self.sender.abort();
    }
}
