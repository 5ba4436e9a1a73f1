//! The broker's own settings, typed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{Listener, ListenerError, Values};

/// What the broker reads of its settings, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// The broker's id.
    pub node_id: i32,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// What it tells clients of the listeners of the same names, where that differs.
    pub advertised_listeners: Vec<Listener>,
    /// `tidemill.http.listener`; empty is none.
    pub http_listener: String,
    /// Where partitions lie.
    pub log_dirs: Vec<PathBuf>,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.initial.task.delay.ms`.
    pub initial_task_delay: Duration,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `queued.max.request.bytes`; none is no limit.
    pub requests_bytes_max: Option<usize>,
    /// `connections.max.idle.ms`; none is for ever.
    pub connection_idle_max: Option<Duration>,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// `max.request.partition.size.limit`.
    pub described_partitions_max: usize,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration: Duration,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub group_session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub group_session_timeout_max: Duration,
    /// `group.max.size`.
    pub group_size_max: usize,
    /// `group.consumer.session.timeout.ms`.
    pub group_consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub group_consumer_heartbeat_interval: Duration,
    /// `group.consumer.max.size`.
    pub group_consumer_size_max: usize,
    /// `group.consumer.assignors`.
    pub group_consumer_assignors: Vec<String>,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i32,
    /// `transaction.max.timeout.ms`.
    pub transaction_timeout_max: Duration,
    /// `transactional.id.expiration.ms`.
    pub transactional_id_expiration: Duration,
    /// `transaction.state.log.num.partitions`.
    pub transaction_topic_partitions: i32,
    /// `transaction.state.log.segment.bytes`.
    pub transaction_topic_segment_bytes: i32,
}

impl BrokerSettings {
    /// Reads `values`; fails on a listener that cannot be read or served.
    pub fn load(values: &Values) -> Result<BrokerSettings, ListenerError> {
        let map = values.list("listener.security.protocol.map");
        let controllers = values.list("controller.listener.names");
        let own = listeners(values, "listeners", &map, &controllers)?;
        let advertised = listeners(values, "advertised.listeners", &map, &controllers)?;
        check_names(values, &own, &advertised)?;
        Ok(BrokerSettings {
            node_id: node_id(values),
            listeners: own,
            advertised_listeners: advertised,
            http_listener: values.text("tidemill.http.listener").to_string(),
            log_dirs: log_dirs(values),
            num_partitions: values.int("num.partitions"),
            default_replication_factor: values.int("default.replication.factor"),
            auto_create_topics: values.boolean("auto.create.topics.enable"),
            delete_topics: values.boolean("delete.topic.enable"),
            retention_check_interval: millis(values, "log.retention.check.interval.ms"),
            initial_task_delay: millis(values, "log.initial.task.delay.ms"),
            request_bytes_max: size(values, "socket.request.max.bytes"),
            requests_bytes_max: usize::try_from(values.number("queued.max.request.bytes")).ok(),
            connection_idle_max: u64::try_from(values.number("connections.max.idle.ms"))
                .ok()
                .map(Duration::from_millis),
            fetch_bytes_max: size(values, "fetch.max.bytes"),
            fetch_sessions_max: size(values, "max.incremental.fetch.session.cache.slots"),
            described_partitions_max: size(values, "max.request.partition.size.limit"),
            producer_id_expiration: millis(values, "producer.id.expiration.ms"),
            group_initial_rebalance_delay: millis(values, "group.initial.rebalance.delay.ms"),
            group_session_timeout_min: millis(values, "group.min.session.timeout.ms"),
            group_session_timeout_max: millis(values, "group.max.session.timeout.ms"),
            group_size_max: size(values, "group.max.size"),
            group_consumer_session_timeout: millis(values, "group.consumer.session.timeout.ms"),
            group_consumer_heartbeat_interval: millis(values, "group.consumer.heartbeat.interval.ms"),
            group_consumer_size_max: size(values, "group.consumer.max.size"),
            group_consumer_assignors: values.list("group.consumer.assignors"),
            offset_metadata_bytes_max: size(values, "offset.metadata.max.bytes"),
            offsets_retention: millis(values, "offsets.retention.minutes") * 60_000,
            offsets_retention_check_interval: millis(values, "offsets.retention.check.interval.ms"),
            offsets_topic_partitions: values.int("offsets.topic.num.partitions"),
            offsets_topic_segment_bytes: values.int("offsets.topic.segment.bytes"),
            transaction_timeout_max: millis(values, "transaction.max.timeout.ms"),
            transactional_id_expiration: millis(values, "transactional.id.expiration.ms"),
            transaction_topic_partitions: values.int("transaction.state.log.num.partitions"),
            transaction_topic_segment_bytes: values.int("transaction.state.log.segment.bytes"),
        })
    }
}

fn millis(values: &Values, name: &'static str) -> Duration {
    Duration::from_millis(
        u64::try_from(values.number(name)).expect("the table gives this setting a least value of 0"),
    )
}

fn size(values: &Values, name: &'static str) -> usize {
    usize::try_from(values.number(name)).expect("the table gives this setting a least value of 0")
}

/// `node.id`, else the older `broker.id`, else 0: with one broker an id need not be thought of.
fn node_id(values: &Values) -> i32 {
    let given = ["node.id", "broker.id"].map(|name| values.int(name));
    given.into_iter().find(|id| *id >= 0).unwrap_or(0)
}

fn log_dirs(values: &Values) -> Vec<PathBuf> {
    let dirs = values.list("log.dirs");
    if dirs.is_empty() {
        vec![PathBuf::from(values.text("log.dir"))]
    } else {
        dirs.into_iter().map(PathBuf::from).collect()
    }
}

/// Refuses two listeners of one name, and the name of a listener that is not there.
fn check_names(values: &Values, own: &[Listener], advertised: &[Listener]) -> Result<(), ListenerError> {
    for (setting, listeners) in [("listeners", own), ("advertised.listeners", advertised)] {
        let mut names = BTreeSet::new();
        if let Some(twice) = listeners.iter().find(|listener| !names.insert(&listener.name)) {
            return Err(ListenerError::Twice {
                setting,
                name: twice.name.clone(),
            });
        }
    }
    let inter_broker = values.text("inter.broker.listener.name").to_ascii_uppercase();
    let inter_broker =
        Some(("inter.broker.listener.name", inter_broker)).filter(|(_, name)| !name.is_empty());
    let advertised = advertised
        .iter()
        .map(|listener| ("advertised.listeners", listener.name.clone()));
    for (setting, name) in advertised.chain(inter_broker) {
        if !own.iter().any(|listener| listener.name == name) {
            return Err(ListenerError::Unknown { setting, name });
        }
    }
    Ok(())
}

fn listeners(
    values: &Values,
    name: &'static str,
    map: &[String],
    controllers: &[String],
) -> Result<Vec<Listener>, ListenerError> {
    let mut found = Vec::new();
    for text in values.list(name) {
        let listener = Listener::parse(&text)?;
        if controllers
            .iter()
            .any(|controller| controller.eq_ignore_ascii_case(&listener.name))
        {
            continue;
        }
        listener.require_plaintext(map)?;
        found.push(listener);
    }
    Ok(found)
}
