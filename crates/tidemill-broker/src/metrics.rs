//! What the broker counts, for Prometheus. Each broker has a registry of its own: several may run in one process.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tidemill_protocol::ApiKey;

use crate::shared::Shared;

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    api: Name,
}

/// An API under Kafka's name.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Name(ApiKey);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        use std::fmt::Write as _;
        write!(encoder, "{:?}", self.0)
    }
}

/// From 0.1 ms by fours to 26 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

/// What is counted as it happens, and what is looked at when somebody asks.
#[derive(Debug)]
pub(crate) struct Metrics {
    // Guards the registry while it is written out.
    registry: Mutex<Registry>,
    requests: Family<Labels, Counter>,
    request_seconds: Family<Labels, Histogram, fn() -> Histogram>,
    request_bytes: Counter,
    pub(crate) compactions: Counter,
    pub(crate) compaction_failures: Counter,
    pub(crate) compacted_bytes: Counter,
    pub(crate) segments_deleted: Counter,
    connections: Gauge,
    connections_refused: Gauge,
    topics: Gauge,
    partitions: Gauge,
    log_bytes: Gauge,
    read_only_partitions: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("tidemill");
        let metrics = Metrics {
            registry: Mutex::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            request_bytes: Counter::default(),
            compactions: Counter::default(),
            compaction_failures: Counter::default(),
            compacted_bytes: Counter::default(),
            segments_deleted: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Gauge::default(),
            topics: Gauge::default(),
            partitions: Gauge::default(),
            log_bytes: Gauge::default(),
            read_only_partitions: Gauge::default(),
        };
        let it = &metrics;
        registry.register("requests", "Requests that were answered", it.requests.clone());
        registry.register(
            "request_seconds",
            "From a request's last byte to its answer, waiting included",
            it.request_seconds.clone(),
        );
        for (name, help, counter) in [
            ("request_bytes", "Bytes of requests", &it.request_bytes),
            ("compactions", "Logs that were compacted", &it.compactions),
            (
                "compaction_failures",
                "Compactions that failed",
                &it.compaction_failures,
            ),
            (
                "compacted_bytes",
                "Bytes that compaction looked at",
                &it.compacted_bytes,
            ),
            (
                "segments_deleted",
                "Segments that retention deleted",
                &it.segments_deleted,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("connections", "Connections that are open", &it.connections),
            (
                "connections_refused",
                "Connections that were refused for a limit",
                &it.connections_refused,
            ),
            ("topics", "Topics", &it.topics),
            ("partitions", "Partitions", &it.partitions),
            ("log_bytes", "Bytes of records on disk", &it.log_bytes),
            (
                "read_only_partitions",
                "Partitions that take no records since the disk failed",
                &it.read_only_partitions,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        Metrics {
            registry: Mutex::new(registry),
            ..metrics
        }
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, api: ApiKey, bytes: usize, took: Duration) {
        let labels = Labels { api: Name(api) };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        self.request_bytes.inc_by(bytes as u64);
    }

    /// Everything, in Prometheus' text form.
    pub(crate) fn text(&self, shared: &Shared) -> String {
        let logs = shared.dirs.logs();
        let (connections, refused) = shared.admission.counts();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.connections.set(number(connections));
        self.connections_refused
            .set(i64::try_from(refused).unwrap_or(i64::MAX));
        self.topics.set(number(shared.topics.all().len()));
        self.partitions.set(number(logs.len()));
        let bytes: u64 = logs.iter().map(|log| log.size_bytes()).sum();
        self.log_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let read_only = logs.iter().filter(|log| log.is_read_only()).count();
        self.read_only_partitions.set(number(read_only));
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut out, &registry).expect("a string takes any text");
        out
    }
}
