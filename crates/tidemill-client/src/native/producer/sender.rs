//! Sends what the accumulator lets depart. One task decides; one for each broker keeps requests in order.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use tidemill_protocol::messages::init_producer_id::InitProducerIdRequest;
use tidemill_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use tidemill_protocol::{ErrorCode, KString};
use tokio::sync::{Notify, mpsc};

use super::accumulator::{Accumulator, Departure, Landing, Outcome};
use super::identity::ProducerId;
use super::transaction::Doom;
use crate::native::cluster::{AutoCreate, Cluster, ClusterError, Leader, Node};
use crate::native::connection::{Address, CallError, Connection, Lane};
use crate::native::coordinator::Coordinator;
use crate::native::settings::{Acks, ProducerSettings};

/// The highest version of Produce that calls topics by their names.
const NAMED_VERSION_MAX: i16 = 12;
/// The highest version of Produce that leaves enrolling partitions to the producer.
const ENROLLED_VERSION_MAX: i16 = 11;
/// An earlier transaction of the same producer ends soon.
const ENROL_BACKOFF_MAX: Duration = Duration::from_millis(20);

/// What the writer and its sender share.
pub(super) struct Shared {
    // Guards the buffer; sections are short, batches are compressed outside of it.
    accumulator: Mutex<Accumulator>,
    /// Batches were acknowledged or lost.
    pub(super) changed: Condvar,
    /// There may be something to send.
    pub(super) work: Notify,
}

impl Shared {
    pub(super) fn new(accumulator: Accumulator) -> Arc<Self> {
        Arc::new(Self {
            accumulator: Mutex::new(accumulator),
            changed: Condvar::new(),
            work: Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().expect("no section that holds it panics")
    }
}

/// What tasks report to the sender.
enum Done {
    Produced { node: Node, landings: Vec<Landed> },
    Identified(Result<ProducerId, ClusterError>),
    Enrolled(Vec<usize>, Result<(), Refusal>),
    Refreshed,
}

/// Why partitions do not belong to the transaction.
enum Refusal {
    NotNow(String),
    Doom(Doom),
}

/// What a transactional producer's requests need.
#[derive(Clone)]
pub(super) struct Transactional {
    pub(super) id: KString,
    /// Partitions enrol themselves (KIP-890).
    pub(super) is_implicit: bool,
    pub(super) coordinator: Arc<Coordinator>,
}

/// A landing, and what the answer said about who leads the partition.
struct Landed {
    landing: Landing,
    topic: KString,
    index: i32,
    leader_epoch: i32,
    hint: Option<(Leader, Option<Address>)>,
}

/// The task behind a writer.
pub(super) struct Sender {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    settings: ProducerSettings,
    transactional: Option<Transactional>,
    lines: HashMap<Node, mpsc::UnboundedSender<Departure>>,
    done: mpsc::UnboundedSender<Done>,
    refreshing: bool,
    refresh_not_before: Option<Instant>,
    refreshed: Instant,
    // A broker did not answer: leaders may have changed.
    suspicious: bool,
}

impl Sender {
    pub(super) async fn run(
        shared: Arc<Shared>,
        cluster: Arc<Cluster>,
        settings: ProducerSettings,
        transactional: Option<Transactional>,
    ) {
        let (done, mut reports) = mpsc::unbounded_channel();
        let mut sender = Self {
            shared,
            cluster,
            settings,
            transactional,
            lines: HashMap::new(),
            done,
            refreshing: false,
            refresh_not_before: None,
            refreshed: Instant::now(),
            suspicious: false,
        };
        loop {
            let wake_at = sender.step(Instant::now());
            let shared = sender.shared.clone();
            tokio::select! {
                () = shared.work.notified() => {}
                Some(done) = reports.recv() => {
                    sender.take_notice(done);
                    while let Ok(done) = reports.try_recv() {
                        sender.take_notice(done);
                    }
                }
                () = sleep_until(wake_at) => {}
            }
        }
    }

    fn step(&mut self, now: Instant) -> Option<Instant> {
        let (step, names) = {
            let view = self.cluster.view();
            let mut accumulator = self.shared.lock();
            let step = accumulator.step(&view, now);
            (step, accumulator.topic_names())
        };
        // Steps may lose records; whoever waits should know.
        self.shared.changed.notify_all();
        for departure in step.departures {
            self.depart(departure);
        }
        if let Some(transactional) = self.transactional.as_ref().filter(|_| !step.to_enrol.is_empty()) {
            let producer = self.shared.lock().producer();
            tokio::spawn(enrol(
                transactional.clone(),
                producer,
                step.to_enrol,
                self.done.clone(),
            ));
        }
        if step.wants_identity {
            tokio::spawn(identify(self.cluster.clone(), self.done.clone()));
        }
        let stale = self.refreshed + self.settings.metadata_age_max <= now && !names.is_empty();
        let topics = if stale || self.suspicious {
            names
        } else {
            step.leaderless
        };
        let mut wake_at = step.wake_at;
        if !topics.is_empty() && !self.refreshing {
            match self.refresh_not_before.filter(|until| *until > now) {
                None => self.refresh(topics),
                Some(until) => wake_at = Some(wake_at.map_or(until, |at| at.min(until))),
            }
        }
        wake_at
    }

    fn refresh(&mut self, topics: Vec<String>) {
        self.refreshing = true;
        self.suspicious = false;
        let (cluster, done) = (self.cluster.clone(), self.done.clone());
        tokio::spawn(async move {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            if let Err(error) = cluster.refresh(&topics, AutoCreate::Allowed).await {
                tracing::warn!("metadata: {error}");
            }
            drop(done.send(Done::Refreshed));
        });
    }

    fn depart(&mut self, departure: Departure) {
        let node = departure.node;
        let line = self.lines.entry(node).or_insert_with(|| {
            let (line, queue) = mpsc::unbounded_channel();
            let line_task = Line {
                cluster: self.cluster.clone(),
                settings: self.settings.clone(),
                transactional: self.transactional.clone(),
                done: self.done.clone(),
            };
            tokio::spawn(line_task.serve(queue));
            line
        });
        line.send(departure)
            .expect("the line's task ends after its sender");
    }

    fn take_notice(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Produced { node, landings } => {
                self.note_leaders(&landings);
                let mut accumulator = self.shared.lock();
                accumulator.request_ended(node);
                for landed in landings {
                    accumulator.land(landed.landing, now);
                }
                drop(accumulator);
                self.shared.changed.notify_all();
            }
            Done::Identified(Ok(producer)) => self.shared.lock().identified(producer),
            Done::Identified(Err(error)) if error.may_pass() => self.shared.lock().not_identified(),
            Done::Identified(Err(error)) => {
                self.shared
                    .lock()
                    .identity_refused(format!("no producer id: {error}"));
            }
            Done::Enrolled(places, Ok(())) => self.shared.lock().enrolled(&places),
            Done::Enrolled(_, Err(refusal)) => {
                let mut accumulator = self.shared.lock();
                accumulator.not_enrolled(now + self.settings.retry_backoff.0.min(ENROL_BACKOFF_MAX));
                match refusal {
                    Refusal::NotNow(reason) => tracing::debug!("enrolling partitions: {reason}"),
                    Refusal::Doom(doom) => accumulator.doom(doom),
                }
            }
            Done::Refreshed => {
                self.refreshing = false;
                self.refreshed = now;
                self.refresh_not_before = Some(now + self.settings.retry_backoff.0);
            }
        }
    }

    fn note_leaders(&mut self, landings: &[Landed]) {
        let mut view = self.cluster.view();
        for landed in landings {
            let code = match &landed.landing.outcome {
                Outcome::Refused(code, _) => *code,
                Outcome::NoAnswer(reason) => {
                    tracing::debug!("{}-{}: {reason}", landed.topic, landed.index);
                    self.suspicious = true;
                    continue;
                }
                Outcome::Written => continue,
            };
            let is_led_elsewhere = matches!(
                code,
                ErrorCode::NotLeaderOrFollower
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::KafkaStorageError
            );
            if !is_led_elsewhere {
                continue;
            }
            let noted = landed
                .hint
                .clone()
                .is_some_and(|(leader, at)| view.note_leader(&landed.topic, landed.index, leader, at));
            if !noted {
                view.forget_leader(&landed.topic, landed.index, landed.leader_epoch);
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn identify(cluster: Arc<Cluster>, done: mpsc::UnboundedSender<Done>) {
    const WITHIN: Duration = Duration::from_secs(30);
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
    };
    let outcome = cluster
        .retrying(WITHIN, || async {
            let response = cluster.ask_any(&request).await?;
            match response.error_code {
                ErrorCode::None => Ok(ProducerId {
                    id: response.producer_id,
                    epoch: response.producer_epoch,
                }),
                code => Err(ClusterError::Refused(code)),
            }
        })
        .await;
    drop(done.send(Done::Identified(outcome)));
}

/// Tells the transaction's coordinator of partitions.
async fn enrol(
    transactional: Transactional,
    producer: ProducerId,
    partitions: Vec<(usize, KString, i32)>,
    done: mpsc::UnboundedSender<Done>,
) {
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    for (_, name, partition) in &partitions {
        match topics.iter_mut().find(|topic| topic.name == *name) {
            Some(topic) => topic.partitions.push(*partition),
            None => topics.push(AddPartitionsToTxnTopic {
                name: name.clone(),
                partitions: vec![*partition],
            }),
        }
    }
    let request = AddPartitionsToTxnRequest {
        transactions: Vec::new(),
        v3_and_below_transactional_id: transactional.id,
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: topics,
    };
    // Later versions are for brokers among themselves.
    const VERSION_MAX: i16 = 3;
    let coordinator = &transactional.coordinator;
    let outcome = match coordinator.call_at_most(Lane::Ask, &request, VERSION_MAX).await {
        Ok(response) => {
            let parts = response
                .results_by_topic_v3_and_below
                .iter()
                .flat_map(|t| &t.results_by_partition);
            // Where one is refused, the others are "not attempted".
            let code = parts
                .map(|p| p.partition_error_code)
                .filter(|code| *code != ErrorCode::None);
            code.min_by_key(|code| *code == ErrorCode::OperationNotAttempted)
                .map_or(Ok(()), Err)
        }
        Err(error) if error.may_pass() => Err(ErrorCode::CoordinatorNotAvailable),
        Err(_) => Err(ErrorCode::UnsupportedVersion),
    };
    let outcome = outcome.map_err(|code| match code {
        ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => {
            Refusal::Doom(Doom::Fenced(code.to_string()))
        }
        code if code.is_retriable() => {
            coordinator.note(code);
            Refusal::NotNow(code.to_string())
        }
        code => Refusal::Doom(Doom::Abortable(code.to_string())),
    });
    let places = partitions.into_iter().map(|(place, ..)| place).collect();
    drop(done.send(Done::Enrolled(places, outcome)));
}

/// Requests to one broker, in order.
struct Line {
    cluster: Arc<Cluster>,
    settings: ProducerSettings,
    transactional: Option<Transactional>,
    done: mpsc::UnboundedSender<Done>,
}

/// A batch that was put into a request, to be found again in the answer.
struct Aboard {
    partition: usize,
    number: u64,
    topic: KString,
    index: i32,
    leader_epoch: i32,
    bytes: Bytes,
}

impl Line {
    async fn serve(self, mut queue: mpsc::UnboundedReceiver<Departure>) {
        while let Some(departure) = queue.recv().await {
            let node = departure.node;
            let (request, aboard) = self.load(departure);
            let connection = match self.connection(node).await {
                Ok(connection) => connection,
                Err(reason) => {
                    self.report(node, aboard, &Err(reason));
                    continue;
                }
            };
            if self.settings.acks == Acks::None {
                let told = connection.tell(&request, NAMED_VERSION_MAX).await.map(|()| None);
                self.report(node, aboard, &told.map_err(|e| e.to_string()));
                continue;
            }
            // Newer versions enrol partitions by themselves, which a coordinator of before KIP-890 would not know.
            let version_max = match &self.transactional {
                Some(transactional) if !transactional.is_implicit => ENROLLED_VERSION_MAX,
                _ => NAMED_VERSION_MAX,
            };
            match connection.start(&request, version_max) {
                Ok(answer) => {
                    let line = Self {
                        cluster: self.cluster.clone(),
                        settings: self.settings.clone(),
                        transactional: None,
                        done: self.done.clone(),
                    };
                    tokio::spawn(async move {
                        let answer: Result<ProduceResponse, CallError> =
                            answer.wait::<ProduceRequest>().await;
                        line.report(node, aboard, &answer.map(Some).map_err(|e| e.to_string()));
                    });
                }
                Err(error) => self.report(node, aboard, &Err(error.to_string())),
            }
        }
    }

    async fn connection(&self, node: Node) -> Result<Arc<Connection>, String> {
        let address = self.cluster.view().address(node).cloned();
        let address = address.ok_or_else(|| format!("broker {node} is gone"))?;
        let connection = self.cluster.pool().connection(&address, Lane::Produce).await;
        connection.map_err(|e| e.to_string())
    }

    /// Builds the batches, which compresses them, into a request.
    fn load(&self, departure: Departure) -> (ProduceRequest, Vec<Aboard>) {
        let mut aboard = Vec::with_capacity(departure.flights.len());
        let mut topic_data: Vec<TopicProduceData> = Vec::new();
        for flight in departure.flights {
            let bytes = flight.body.build(flight.stamp, flight.is_restamped);
            let data = PartitionProduceData {
                index: flight.index,
                records: Some(bytes.clone().into()),
            };
            match topic_data.iter_mut().find(|topic| topic.name == flight.topic) {
                Some(topic) => topic.partition_data.push(data),
                None => topic_data.push(TopicProduceData {
                    name: flight.topic.clone(),
                    partition_data: vec![data],
                    ..Default::default()
                }),
            }
            aboard.push(Aboard {
                partition: flight.partition,
                number: flight.number,
                topic: flight.topic,
                index: flight.index,
                leader_epoch: flight.leader_epoch,
                bytes,
            });
        }
        let request = ProduceRequest {
            transactional_id: self
                .transactional
                .as_ref()
                .map(|transactional| transactional.id.clone()),
            acks: self.settings.acks.code(),
            timeout_ms: i32::try_from(self.settings.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data,
        };
        (request, aboard)
    }

    /// `Ok(None)`: no answer was asked for.
    fn report(&self, node: Node, aboard: Vec<Aboard>, answer: &Result<Option<ProduceResponse>, String>) {
        let landed = |batch: Aboard| {
            let (outcome, hint) = match answer {
                Ok(None) => (Outcome::Written, None),
                Err(reason) => (Outcome::NoAnswer(reason.clone()), None),
                Ok(Some(response)) => match part(response, &batch) {
                    Some(part) => (outcome(part), hint(response, part)),
                    None => (Outcome::NoAnswer("the answer leaves it out".into()), None),
                },
            };
            Landed {
                landing: Landing {
                    partition: batch.partition,
                    number: batch.number,
                    bytes: batch.bytes,
                    outcome,
                },
                topic: batch.topic,
                index: batch.index,
                leader_epoch: batch.leader_epoch,
                hint,
            }
        };
        let landings = aboard.into_iter().map(landed).collect();
        // The sender may be gone, with the writer.
        drop(self.done.send(Done::Produced { node, landings }));
    }
}

fn part<'a>(response: &'a ProduceResponse, batch: &Aboard) -> Option<&'a PartitionProduceResponse> {
    let topic = response
        .responses
        .iter()
        .find(|topic| topic.name == batch.topic)?;
    topic
        .partition_responses
        .iter()
        .find(|part| part.index == batch.index)
}

fn outcome(part: &PartitionProduceResponse) -> Outcome {
    match part.error_code {
        ErrorCode::None => Outcome::Written,
        code => Outcome::Refused(code, part.error_message.as_ref().map(ToString::to_string)),
    }
}

fn hint(response: &ProduceResponse, part: &PartitionProduceResponse) -> Option<(Leader, Option<Address>)> {
    let leader = Leader {
        node: part.current_leader.leader_id,
        epoch: part.current_leader.leader_epoch,
    };
    let endpoint = response.node_endpoints.iter().find(|e| e.node_id == leader.node);
    let address = endpoint.and_then(|e| {
        Some(Address {
            host: e.host.to_string(),
            port: u16::try_from(e.port).ok()?,
        })
    });
    (leader.node >= 0).then_some((leader, address))
}
