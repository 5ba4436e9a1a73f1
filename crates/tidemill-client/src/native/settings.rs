//! Settings by Kafka's names, as types.

use std::str::FromStr;
use std::time::Duration;

use tidemill_protocol::compression::Compression;

use super::connection::{Address, ConnectionSettings};
use crate::{Isolation, Settings, TransportError};

/// The settings this client knows. librdkafka's names stand beside Kafka's where they differ.
const KNOWN: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "batch.num.messages",
    "batch.size",
    "bootstrap.servers",
    "buffer.memory",
    "check.crcs",
    "client.id",
    "client.library",
    "compression.codec",
    "compression.type",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.request.size",
    "message.max.bytes",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
];

/// Settings of librdkafka and of Kafka's client that mean nothing here: what they tune does not exist, or needs no tuning.
const WITHOUT_MEANING: &[&str] = &[
    "broker.address.family",
    "client.dns.lookup",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "fetch.message.max.bytes",
    "fetch.queue.backoff.ms",
    "max.poll.records",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "retries",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "statistics.interval.ms",
];

/// Settings of one role: those for everyone, under those with the role's prefix.
pub(crate) struct Layer {
    settings: Settings,
}

impl Layer {
    /// The settings of a role: `consumer.`, `producer.`, or none. Errors: one is not known here.
    pub(crate) fn new(settings: &Settings, prefix: &str) -> Result<Self, TransportError> {
        const PREFIXES: [&str; 3] = ["consumer.", "producer.", "admin."];
        let mut layer = Settings::new();
        for (name, value) in settings {
            if !PREFIXES.iter().any(|p| name.starts_with(p)) {
                layer.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in settings {
            if let Some(name) = name.strip_prefix(prefix).filter(|_| !prefix.is_empty()) {
                layer.insert(name.to_owned(), value.clone());
            }
        }
        for name in layer.keys() {
            if WITHOUT_MEANING.contains(&name.as_str()) {
                tracing::debug!("setting `{name}` means nothing to the native client");
            } else if !KNOWN.contains(&name.as_str()) {
                return Err(TransportError::Settings(format!(
                    "`{name}` is not known to the native client; `client.library=librdkafka` takes librdkafka's settings"
                )));
            }
        }
        Ok(Self { settings: layer })
    }

    fn text(&self, names: &[&str]) -> Option<(&str, &str)> {
        let (name, value) = names.iter().find_map(|name| self.settings.get_key_value(*name))?;
        Some((name, value))
    }

    fn number<T: FromStr>(&self, names: &[&str], default: T) -> Result<T, TransportError> {
        match self.text(names) {
            None => Ok(default),
            Some((name, value)) => value.parse().map_err(|_| refused(name, value, "a number")),
        }
    }

    fn millis(&self, names: &[&str], default: u64) -> Result<Duration, TransportError> {
        Ok(Duration::from_millis(self.number(names, default)?))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, TransportError> {
        match self.text(&[name]) {
            None => Ok(default),
            Some((_, "true")) => Ok(true),
            Some((_, "false")) => Ok(false),
            Some((name, value)) => Err(refused(name, value, "`true` or `false`")),
        }
    }

    fn one_of<T: Copy>(&self, name: &str, choices: &[(&str, T)], default: T) -> Result<T, TransportError> {
        let Some((name, value)) = self.text(&[name]) else {
            return Ok(default);
        };
        let chosen = choices
            .iter()
            .find(|(text, _)| *text == value)
            .map(|(_, choice)| *choice);
        chosen.ok_or_else(|| {
            let texts: Vec<_> = choices.iter().map(|(text, _)| format!("`{text}`")).collect();
            refused(name, value, &texts.join(", "))
        })
    }
}

fn refused(name: &str, value: &str, expected: &str) -> TransportError {
    TransportError::Settings(format!("`{name}` is {value:?}, expected {expected}"))
}

/// What every role needs.
pub(crate) struct Common {
    pub(crate) bootstrap: Vec<Address>,
    pub(crate) connection: ConnectionSettings,
    pub(crate) setup_timeout: Duration,
    pub(crate) response_bytes_max: usize,
    pub(crate) retry_backoff: (Duration, Duration),
    pub(crate) metadata_age_max: Duration,
}

impl Common {
    pub(crate) fn new(layer: &Layer) -> Result<Self, TransportError> {
        let servers = layer
            .text(&["bootstrap.servers"])
            .ok_or_else(|| TransportError::Settings("`bootstrap.servers` is missing".into()))?
            .1;
        let connection = ConnectionSettings {
            client_id: layer
                .text(&["client.id"])
                .map_or("tidemill", |(_, id)| id)
                .to_owned(),
            request_timeout: layer.millis(&["request.timeout.ms"], 30_000)?,
            in_flight_max: IN_FLIGHT_MAX,
            reconnect_backoff: layer.millis(&["reconnect.backoff.ms"], 50)?,
            reconnect_backoff_max: layer.millis(&["reconnect.backoff.max.ms"], 1_000)?,
        };
        Ok(Self {
            bootstrap: addresses(servers)?,
            connection,
            setup_timeout: layer.millis(&["socket.connection.setup.timeout.ms"], 10_000)?,
            response_bytes_max: layer.number(&["receive.message.max.bytes"], 256 << 20)?,
            retry_backoff: (
                layer.millis(&["retry.backoff.ms"], 100)?,
                layer.millis(&["retry.backoff.max.ms"], 1_000)?,
            ),
            metadata_age_max: layer.millis(&["metadata.max.age.ms"], 300_000)?,
        })
    }
}

/// Requests without an answer on one connection: as many as an idempotent producer may have.
const IN_FLIGHT_MAX: usize = 5;

/// `host:port`, separated by commas; an address of IPv6 stands in brackets.
fn addresses(servers: &str) -> Result<Vec<Address>, TransportError> {
    let address = |server: &str| {
        let server = server.trim();
        let server = server.split_once("://").map_or(server, |(_, rest)| rest);
        let (host, port) = server.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| Address {
            host: host.to_owned(),
            port,
        })
    };
    let parts = servers.split(',').filter(|server| !server.trim().is_empty());
    let found: Option<Vec<Address>> = parts.map(address).collect();
    match found {
        Some(found) if !found.is_empty() => Ok(found),
        _ => Err(refused(
            "bootstrap.servers",
            servers,
            "`host:port`, separated by commas",
        )),
    }
}

/// Whose acknowledgement makes a record written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    None,
    Leader,
    All,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// A producer's settings.
#[derive(Clone, Debug)]
pub(crate) struct ProducerSettings {
    pub(crate) acks: Acks,
    pub(crate) idempotent: bool,
    pub(crate) compression: Compression,
    pub(crate) linger: Duration,
    pub(crate) batch_bytes: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_backoff: (Duration, Duration),
    pub(crate) metadata_age_max: Duration,
}

impl ProducerSettings {
    pub(crate) fn new(layer: &Layer) -> Result<Self, TransportError> {
        let common = Common::new(layer)?;
        let acks = [
            ("all", Acks::All),
            ("-1", Acks::All),
            ("1", Acks::Leader),
            ("0", Acks::None),
        ];
        let acks = layer.one_of("acks", &acks, Acks::All)?;
        let in_flight_max: usize = layer.number(&["max.in.flight.requests.per.connection"], IN_FLIGHT_MAX)?;
        let idempotent = layer.flag(
            "enable.idempotence",
            acks == Acks::All && in_flight_max <= IN_FLIGHT_MAX,
        )?;
        if idempotent && acks != Acks::All {
            return Err(TransportError::Settings(
                "`enable.idempotence` needs `acks=all`".into(),
            ));
        }
        if in_flight_max == 0 || (idempotent && in_flight_max > IN_FLIGHT_MAX) {
            let name = "max.in.flight.requests.per.connection";
            return Err(refused(
                name,
                &in_flight_max.to_string(),
                "1 to 5, as `enable.idempotence` needs",
            ));
        }
        let buffer_bytes = match layer.text(&["queue.buffering.max.kbytes"]) {
            Some(_) => layer
                .number(&["queue.buffering.max.kbytes"], 16usize << 10)?
                .saturating_mul(1024),
            None => layer.number(&["buffer.memory"], 16 << 20)?,
        };
        let codecs = Compression::ALL.map(|codec| (codec.name(), codec));
        let compression = match layer.text(&["compression.type"]) {
            Some(_) => layer.one_of("compression.type", &codecs, Compression::None)?,
            None => layer.one_of("compression.codec", &codecs, Compression::None)?,
        };
        Ok(Self {
            acks,
            idempotent,
            compression,
            linger: layer.millis(&["linger.ms"], 5)?,
            batch_bytes: layer.number(&["batch.size"], 256 << 10)?,
            buffer_bytes,
            request_bytes_max: layer.number(&["max.request.size", "message.max.bytes"], 1 << 20)?,
            in_flight_max,
            delivery_timeout: layer.millis(&["delivery.timeout.ms"], 120_000)?,
            request_timeout: common.connection.request_timeout,
            retry_backoff: common.retry_backoff,
            metadata_age_max: common.metadata_age_max,
        })
    }
}

/// What happens when the position to read from is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetReset {
    Earliest,
    Latest,
    Refuse,
}

/// A fetcher's settings.
#[derive(Clone, Debug)]
pub(crate) struct FetchSettings {
    pub(crate) isolation: Isolation,
    pub(crate) reset: OffsetReset,
    pub(crate) check_crcs: bool,
    pub(crate) bytes_min: i32,
    pub(crate) bytes_max: i32,
    pub(crate) partition_bytes_max: i32,
    pub(crate) wait_max: Duration,
    /// The most bytes that wait here, over all partitions.
    pub(crate) queued_bytes_max: usize,
    pub(crate) metadata_age_max: Duration,
}

impl FetchSettings {
    pub(crate) fn new(layer: &Layer, queued_bytes_max: usize) -> Result<Self, TransportError> {
        let common = Common::new(layer)?;
        let isolations = [
            ("read_uncommitted", Isolation::ReadUncommitted),
            ("read_committed", Isolation::ReadCommitted),
        ];
        let resets = [
            ("earliest", OffsetReset::Earliest),
            ("latest", OffsetReset::Latest),
            ("none", OffsetReset::Refuse),
            ("error", OffsetReset::Refuse),
        ];
        Ok(Self {
            isolation: layer.one_of("isolation.level", &isolations, Isolation::ReadUncommitted)?,
            reset: layer.one_of("auto.offset.reset", &resets, OffsetReset::Refuse)?,
            check_crcs: layer.flag("check.crcs", true)?,
            bytes_min: layer.number(&["fetch.min.bytes"], 1)?,
            bytes_max: layer.number(&["fetch.max.bytes"], 50 << 20)?,
            partition_bytes_max: layer.number(&["max.partition.fetch.bytes"], 1 << 20)?,
            wait_max: layer.millis(&["fetch.max.wait.ms", "fetch.wait.max.ms"], 500)?,
            queued_bytes_max,
            metadata_age_max: common.metadata_age_max,
        })
    }
}

/// A group member's settings.
#[derive(Clone, Debug)]
pub(crate) struct GroupSettings {
    pub(crate) instance_id: Option<String>,
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) poll_interval_max: Duration,
    pub(crate) metadata_age_max: Duration,
}

impl GroupSettings {
    pub(crate) fn new(layer: &Layer) -> Result<Self, TransportError> {
        let common = Common::new(layer)?;
        layer.one_of("partition.assignment.strategy", &[("range", ())], ())?;
        let session_timeout = layer.millis(&["session.timeout.ms"], 45_000)?;
        let heartbeat_default = 3_000.min(session_timeout.as_millis() as u64 / 3);
        Ok(Self {
            instance_id: layer.text(&["group.instance.id"]).map(|(_, id)| id.to_owned()),
            session_timeout,
            heartbeat_interval: layer.millis(&["heartbeat.interval.ms"], heartbeat_default)?,
            poll_interval_max: layer.millis(&["max.poll.interval.ms"], 300_000)?,
            metadata_age_max: common.metadata_age_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(settings: &[(&str, &str)], prefix: &str) -> Result<Layer, TransportError> {
        let settings = settings
            .iter()
            .chain(&[("bootstrap.servers", "a:1")])
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Layer::new(&settings, prefix)
    }

    fn producer(settings: &[(&str, &str)]) -> Result<ProducerSettings, TransportError> {
        ProducerSettings::new(&layer(settings, "producer.")?)
    }

    #[test]
    fn a_role_takes_its_own_settings_over_those_for_everyone() {
        let settings = [
            ("linger.ms", "1"),
            ("producer.linger.ms", "2"),
            ("consumer.linger.ms", "3"),
        ];
        assert_eq!(producer(&settings).unwrap().linger, Duration::from_millis(2));
    }

    #[test]
    fn idempotence_follows_acks_unless_it_is_asked_for() {
        assert!(producer(&[]).unwrap().idempotent);
        assert!(!producer(&[("acks", "1")]).unwrap().idempotent);
        assert!(producer(&[("acks", "1"), ("enable.idempotence", "true")]).is_err());
        assert!(
            producer(&[
                ("max.in.flight.requests.per.connection", "6"),
                ("enable.idempotence", "true")
            ])
            .is_err()
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (name, value) in [
            ("acks", "2"),
            ("linger.ms", "soon"),
            ("no.such", "1"),
            ("compression.type", "zip"),
        ] {
            let refused = producer(&[(name, value)]).err().unwrap().to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }

    #[test]
    fn addresses_are_cut_at_commas_and_last_colons() {
        let shown =
            |servers| addresses(servers).map(|a| a.iter().map(Address::to_string).collect::<Vec<_>>());
        assert_eq!(shown("a:1, b:2,").unwrap(), ["a:1", "b:2"]);
        assert_eq!(
            shown("[::1]:9092,PLAINTEXT://c:3").unwrap(),
            ["[::1]:9092", "c:3"]
        );
        for broken in ["", "a", "a:b", ":1", "a:70000"] {
            assert!(addresses(broken).is_err(), "{broken}");
        }
    }
}
