//! Snapshots as Prometheus reads them.
//!
//! Names are those of Kafka Streams' metrics as its users' dashboards have them from JMX: `kafka_streams_`, the group
//! (`stream_thread_metrics`, …), then the metric's own name.

use std::fmt::{self, Debug};
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Metrics, Snapshot, TaskSnapshot, ThreadSnapshot};
use crate::state::{State, StateBoard};

/// Reads an instance's snapshot each time it is asked for metrics. It keeps nothing alive.
pub(crate) struct Exposition {
    metrics: Weak<Metrics>,
    board: Weak<StateBoard>,
    client: String,
}

impl Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Exposition {
    pub(crate) fn new(metrics: &Arc<Metrics>, board: &Arc<StateBoard>, client: String) -> Self {
        Self {
            metrics: Arc::downgrade(metrics),
            board: Arc::downgrade(board),
            client,
        }
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let (Some(metrics), Some(board)) = (self.metrics.upgrade(), self.board.upgrade()) else {
            return Ok(());
        };
        let snapshot = metrics.snapshot(board.state());
        let mut out = Out {
            encoder,
            client: &self.client,
        };
        out.client_metrics(&snapshot)?;
        out.thread_metrics(&snapshot.threads)?;
        out.task_metrics(&snapshot.threads)?;
        out.node_metrics(&snapshot.threads)?;
        out.restore_metrics(&snapshot)
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A metric's name, what it is, and its value.
type OfThread<T> = (&'static str, &'static str, fn(&ThreadSnapshot) -> T);

struct Out<'e, 'c> {
    encoder: DescriptorEncoder<'e>,
    client: &'c str,
}

impl Out<'_, '_> {
    /// One family of metrics, with a value for each set of labels.
    fn family<'l, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: &M,
        values: impl IntoIterator<Item = (Labels<'l>, M)>,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, kind.metric_type())?;
        for (labels, value) in values {
            let mut labels = labels;
            labels.insert(0, ("client_id", self.client));
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let values = values
            .into_iter()
            .map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, &ConstCounter::new(0_u64), values)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let values = values
            .into_iter()
            .map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, &ConstGauge::new(0.0_f64), values)
    }

    fn client_metrics(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let group = "kafka_streams_stream_metrics";
        let alive = snapshot.threads.len() as f64;
        self.gauges(
            &format!("{group}_alive_stream_threads"),
            "Threads at work",
            [(Labels::new(), alive)],
        )?;
        self.counters(
            &format!("{group}_failed_stream_threads"),
            "Threads that have failed",
            [(Labels::new(), snapshot.failed_threads)],
        )?;
        let now = snapshot.state.to_string();
        let states = ALL_STATES.map(|state| state.to_string());
        let values = states.iter().map(|state| {
            let is = if *state == now { 1.0 } else { 0.0 };
            (vec![("state", state.as_str())], is)
        });
        self.gauges(
            &format!("{group}_client_state"),
            "1 for the state it is in",
            values,
        )
    }

    fn thread_metrics(&mut self, threads: &[ThreadSnapshot]) -> fmt::Result {
        let group = "kafka_streams_stream_thread_metrics";
        let counters: [OfThread<u64>; 7] = [
            ("process", "Records processed", |t| t.processed),
            ("commit", "Commits made", |t| t.commits),
            ("poll", "Times the client was asked for records", |t| t.polls),
            ("punctuate", "Punctuations called", |t| t.punctuations),
            ("task_created", "Tasks taken up", |t| t.tasks_created),
            ("task_closed", "Tasks given up", |t| t.tasks_closed),
            (
                "start_over",
                "Times work was begun again at the last commit",
                |t| t.setbacks,
            ),
        ];
        for (name, help, value) in counters {
            let values = threads
                .iter()
                .map(|t| (vec![("thread_id", t.name.as_str())], value(t)));
            self.counters(&format!("{group}_{name}"), help, values)?;
        }
        let gauges: [OfThread<f64>; 4] = [
            ("process_rate", "Records processed a second", |t| t.process_rate),
            ("commit_latency_avg", "Milliseconds a commit takes", |t| {
                t.commit_time.as_secs_f64() * 1_000.0 / t.commits.max(1) as f64
            }),
            (
                "commit_latency_max",
                "Milliseconds the longest commit took",
                |t| t.commit_time_max.as_secs_f64() * 1_000.0,
            ),
            ("process_latency_avg", "Milliseconds a record takes", |t| {
                t.process_time.as_secs_f64() * 1_000.0 / t.processed.max(1) as f64
            }),
        ];
        for (name, help, value) in gauges {
            let values = threads
                .iter()
                .map(|t| (vec![("thread_id", t.name.as_str())], value(t)));
            self.gauges(&format!("{group}_{name}"), help, values)?;
        }
        Ok(())
    }

    fn task_metrics(&mut self, threads: &[ThreadSnapshot]) -> fmt::Result {
        let group = "kafka_streams_stream_task_metrics";
        self.counters(
            &format!("{group}_dropped_records"),
            "Records that operators dropped",
            tasks(threads).map(|(labels, task)| (labels, task.dropped)),
        )?;
        self.gauges(
            &format!("{group}_active_buffer_count"),
            "Records that wait in a task",
            tasks(threads).map(|(labels, task)| (labels, task.buffered.0 as f64)),
        )?;
        self.gauges(
            &format!("{group}_input_buffer_bytes_total"),
            "Bytes of the records that wait in a task",
            tasks(threads).map(|(labels, task)| (labels, task.buffered.1 as f64)),
        )?;
        self.gauges(
            &format!("{group}_uncommitted_bytes"),
            "Bytes of state written since the last commit",
            tasks(threads).map(|(labels, task)| (labels, task.uncommitted_bytes as f64)),
        )?;
        let lags = tasks(threads).flat_map(|(labels, task)| {
            task.lag.iter().map(move |(partition, lag)| {
                let mut labels = labels.clone();
                labels.push(("topic_partition", partition.as_str()));
                (labels, *lag as f64)
            })
        });
        self.gauges(
            "kafka_consumer_consumer_fetch_manager_metrics_records_lag",
            "Records that are not processed yet",
            lags,
        )
    }

    fn node_metrics(&mut self, threads: &[ThreadSnapshot]) -> fmt::Result {
        let group = "kafka_streams_stream_processor_node_metrics";
        let nodes = || {
            tasks(threads).flat_map(|(labels, task)| {
                task.nodes.iter().map(move |node| {
                    let mut labels = labels.clone();
                    labels.push(("processor_node_id", node.name.as_str()));
                    (labels, node)
                })
            })
        };
        self.counters(
            &format!("{group}_process"),
            "Records that reached an operator",
            nodes().map(|(labels, node)| (labels, node.processed)),
        )?;
        self.gauges(
            &format!("{group}_process_rate"),
            "Records that reached an operator a second",
            nodes().map(|(labels, node)| (labels, node.rate)),
        )
    }

    fn restore_metrics(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let group = "kafka_streams_stream_state_updater_metrics";
        let labels = |at: usize| {
            let progress = snapshot.restoring.get(at);
            progress.map_or_else(Labels::new, |progress| {
                vec![
                    ("task_id", progress.task.as_str()),
                    ("store", progress.store.as_str()),
                ]
            })
        };
        let each = || snapshot.restoring.iter().enumerate();
        self.gauges(
            &format!("{group}_restore_remaining_records_total"),
            "Changelog offsets that a store still has to be restored by",
            each().map(|(at, progress)| (labels(at), (progress.to - progress.at).max(0) as f64)),
        )?;
        self.gauges(
            &format!("{group}_restore_records"),
            "Changelog records written to a store that is being restored",
            each().map(|(at, progress)| (labels(at), progress.records as f64)),
        )
    }
}

fn tasks(threads: &[ThreadSnapshot]) -> impl Iterator<Item = (Labels<'_>, &TaskSnapshot)> {
    threads.iter().flat_map(|thread| {
        thread.tasks.iter().map(move |task| {
            let labels = vec![("thread_id", thread.name.as_str()), ("task_id", task.id.as_str())];
            (labels, task)
        })
    })
}

const ALL_STATES: [State; 7] = [
    State::Created,
    State::Rebalancing,
    State::Running,
    State::PendingShutdown,
    State::NotRunning,
    State::PendingError,
    State::Error,
];
