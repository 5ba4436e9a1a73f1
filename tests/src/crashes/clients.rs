//! Those who write: an idempotent producer, a transactional one, and one that copies a topic exactly once.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use super::{COPIES, NUMBERS, PATIENCE, Run, Step, TRANSACTIONS};

const TICK: Duration = Duration::from_millis(20);
const IN_FLIGHT: i32 = 200;
/// How many numbers wait to be copied at most: some transactions' worth of each partition.
const AHEAD_MAX: i64 = 4_000;
const RECORDS_A_TRANSACTION: usize = 5;

pub(super) fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "20")
        .set("socket.timeout.ms", "10000")
        .set("topic.metadata.refresh.interval.ms", "1000");
    config
}

/// The numbers that were acknowledged, and what was refused.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) acknowledged: Vec<usize>,
    pub(super) refused: Vec<String>,
}

struct Deliveries {
    run: Run,
    sent: Arc<Mutex<Sent>>,
}

impl ClientContext for Deliveries {}
impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => {
                sent.acknowledged.push(number);
                if sent.acknowledged.len().is_multiple_of(20) {
                    self.run.step(Step::Records);
                }
            }
            Err((error, _)) => sent.refused.push(format!("number {number}: {error}")),
        }
    }
}

/// Sends numbers with an idempotent producer.
pub(super) struct Numbers(JoinHandle<Result<Sent>>);

impl Numbers {
    pub(super) fn start(run: &Run) -> Numbers {
        let run = run.clone();
        Numbers(std::thread::spawn(move || send_numbers(&run)))
    }

    pub(super) fn finish(self) -> Result<Sent> {
        joined(self.0)
    }
}

fn joined<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a client panicked"))?
}

fn send_numbers(run: &Run) -> Result<Sent> {
    let sent = Arc::<Mutex<Sent>>::default();
    let context = Deliveries {
        run: run.clone(),
        sent: Arc::clone(&sent),
    };
    let producer: BaseProducer<Deliveries> = config(&run.bootstrap)
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "0")
        .set("linger.ms", "1")
        .create_with_context(context)?;
    let mut number = 0;
    while !run.stopping() {
        let ahead = i64::try_from(number)? - run.copied.load(Ordering::Acquire);
        if producer.in_flight_count() >= IN_FLIGHT || ahead >= AHEAD_MAX {
            producer.poll(TICK);
            continue;
        }
        let (key, value) = ((number % 16).to_string(), number.to_string());
        let record = BaseRecord::with_opaque_to(NUMBERS, number)
            .key(&key)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        producer.poll(Duration::ZERO);
        number += 1;
    }
    producer.flush(PATIENCE).context("flushing the numbers")?;
    drop(producer);
    Ok(std::mem::take(
        &mut *sent.lock().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// What became of a transaction as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Committed,
    Aborted,
    /// The client never learned it.
    Unknown,
}

/// Writes transactions, some of which are aborted.
pub(super) struct Transactions(JoinHandle<Result<BTreeMap<usize, Ended>>>);

impl Transactions {
    pub(super) fn start(run: &Run) -> Transactions {
        let run = run.clone();
        Transactions(std::thread::spawn(move || write_transactions(&run)))
    }

    pub(super) fn finish(self) -> Result<BTreeMap<usize, Ended>> {
        joined(self.0)
    }
}

fn transactional(run: &Run, id: &str) -> Result<BaseProducer> {
    let producer: BaseProducer = config(&run.bootstrap)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "20000")
        .set("linger.ms", "1")
        .create()?;
    retried(|| producer.init_transactions(PATIENCE)).context("init_transactions")?;
    Ok(producer)
}

/// Does again what can be done again.
fn retried(mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            other => return other,
        }
    }
}

fn write_transactions(run: &Run) -> Result<BTreeMap<usize, Ended>> {
    let mut ended = BTreeMap::new();
    let mut producer = transactional(run, "writer")?;
    let mut number = 0;
    while !run.stopping() {
        let outcome = write_one(&producer, number)?;
        if outcome == Ended::Unknown {
            producer = transactional(run, "writer")?;
        }
        ended.insert(number, outcome);
        number += 1;
        run.step(Step::Transaction);
    }
    Ok(ended)
}

fn write_one(producer: &BaseProducer, number: usize) -> Result<Ended> {
    producer.begin_transaction()?;
    for at in 0..RECORDS_A_TRANSACTION {
        let (key, value) = (at.to_string(), format!("{number}-{at}"));
        let record = BaseRecord::to(TRANSACTIONS).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    if number % 3 == 2 {
        producer.flush(PATIENCE)?;
        return Ok(abort(producer));
    }
    Ok(commit(producer))
}

fn abort(producer: &BaseProducer) -> Ended {
    match retried(|| producer.abort_transaction(Timeout::After(PATIENCE))) {
        Ok(()) => Ended::Aborted,
        Err(_) => Ended::Unknown,
    }
}

fn commit(producer: &BaseProducer) -> Ended {
    match retried(|| producer.commit_transaction(Timeout::After(PATIENCE))) {
        Ok(()) => Ended::Committed,
        Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => abort(producer),
        Err(_) => Ended::Unknown,
    }
}

/// Copies the numbers exactly once: records and offsets in one transaction.
pub(super) struct Copier(JoinHandle<Result<()>>);

impl Copier {
    pub(super) fn start(run: &Run) -> Copier {
        let run = run.clone();
        Copier(std::thread::spawn(move || copy(&run)))
    }

    pub(super) fn finish(self) -> Result<()> {
        joined(self.0)
    }
}

fn copy(run: &Run) -> Result<()> {
    let mut copied = BTreeMap::new();
    // After an error both start over from what is committed.
    loop {
        let consumer: BaseConsumer = config(&run.bootstrap)
            .set("group.id", "copier")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("isolation.level", "read_committed")
            .create()?;
        consumer.subscribe(&[NUMBERS])?;
        let producer = transactional(run, "copier")?;
        loop {
            let ended = copy_some(&consumer, &producer, &mut copied);
            run.copied.store(copied.values().sum(), Ordering::Release);
            match ended {
                Ok(0) if run.stopping() && super::groups::is_done(&consumer)? => return Ok(()),
                Ok(0) => {}
                Ok(_) => run.step(Step::Records),
                Err(_) => break,
            }
        }
        // What is still open is aborted when the next one begins.
    }
}

/// Copies what is there, and says how much that was; `copied` is up to where each partition is known to be.
fn copy_some(
    consumer: &BaseConsumer,
    producer: &BaseProducer,
    copied: &mut BTreeMap<i32, i64>,
) -> Result<usize> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut offsets = TopicPartitionList::new();
    while records.len() < 100 {
        let Some(message) = consumer.poll(TICK) else { break };
        let message = message?;
        let (key, value) = (
            message.key().unwrap_or_default(),
            message.payload().unwrap_or_default(),
        );
        records.push((key.to_vec(), value.to_vec()));
        let next = Offset::Offset(message.offset() + 1);
        match offsets.find_partition(NUMBERS, message.partition()) {
            Some(mut known) => known.set_offset(next)?,
            None => offsets.add_partition_offset(NUMBERS, message.partition(), next)?,
        }
    }
    if records.is_empty() {
        return Ok(0);
    }
    producer.begin_transaction()?;
    for (key, value) in &records {
        let record = BaseRecord::to(COPIES).key(key).payload(value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    let group = consumer.group_metadata().context("no group")?;
    retried(|| producer.send_offsets_to_transaction(&offsets, &group, PATIENCE))?;
    match commit(producer) {
        Ended::Committed => {
            for read in offsets.elements() {
                if let Offset::Offset(next) = read.offset() {
                    copied.insert(read.partition(), next);
                }
            }
            Ok(records.len())
        }
        other => bail!("{other:?}"),
    }
}
