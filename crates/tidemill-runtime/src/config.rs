//! Settings, by Kafka's names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemill_client::Settings;
use tidemill_streams::Reset;

use crate::iso_duration;
use crate::settings::{CLIENT_PREFIXES, CLIENT_SETTINGS, ENVIRONMENT_PREFIX, SETTINGS, nearest};

/// How a program runs. Everything has a default; without `bootstrap.servers` a program built with the feature `broker`
/// starts a broker in its own process.
///
/// ```
/// use tidemill_runtime::Config;
///
/// let config = Config::new().set("num.stream.threads", 2)?.set("commit.interval.ms", 50)?;
/// let unknown = config.set("num.stream.thread", 2).unwrap_err();
/// assert_eq!(unknown.to_string(), "unknown setting `num.stream.thread`; did you mean `num.stream.threads`?");
/// # Ok::<(), tidemill_runtime::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) application_id: Option<String>,
    pub(crate) client_id: Option<String>,
    /// `application.server`: where this instance answers the queries of others.
    pub(crate) application_server: Option<String>,
    pub(crate) state_dir: PathBuf,
    pub(crate) threads: usize,
    pub(crate) commit_interval: Duration,
    pub(crate) poll_wait: Duration,
    pub(crate) buffered_records: usize,
    pub(crate) input_buffer_bytes: usize,
    pub(crate) max_task_idle: Option<Duration>,
    pub(crate) replication_factor: Option<i16>,
    pub(crate) state_memory_bytes: Option<usize>,
    /// What all stores of the instance may cache above their databases; by default their share of the budget.
    pub(crate) cache_bytes_max: Option<usize>,
    /// What one task may hold in memory: writes that are not committed, records that wait, the order of what is held back,
    /// outputs, what is in flight.
    pub(crate) task_memory_bytes: usize,
    pub(crate) delete_retention: Duration,
    pub(crate) exactly_once: bool,
    pub(crate) transaction_timeout: Duration,
    /// How often what was read of repartition topics is deleted.
    pub(crate) purge_interval: Duration,
    /// `group.instance.id`; each thread adds its number.
    pub(crate) group_instance_id: Option<String>,
    pub(crate) reset: Reset,
    /// `headers.preserve`: as [`tidemill_streams::App::preserve_headers`].
    pub(crate) preserve_headers: bool,
    /// Whether a program may start that leaves state of the one before it behind.
    pub(crate) accept_changes: bool,
    /// What the transport gets.
    pub(crate) client: Settings,
}

/// Why settings were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No setting has this name.
    #[error("unknown setting `{name}`{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// The name given.
        name: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// The value is not one the setting can have.
    #[error("setting `{name}` is {value:?}, expected {expected}")]
    Value {
        /// The setting.
        name: String,
        /// The value given.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            application_id: None,
            client_id: None,
            application_server: None,
            state_dir: std::env::temp_dir().join("tidemill"),
            threads: 1,
            commit_interval: Duration::from_millis(100),
            poll_wait: Duration::from_millis(100),
            buffered_records: 1000,
            input_buffer_bytes: 16 << 20,
            max_task_idle: Some(Duration::ZERO),
            replication_factor: None,
            state_memory_bytes: None,
            cache_bytes_max: None,
            task_memory_bytes: 128 << 20,
            delete_retention: Duration::from_secs(24 * 60 * 60),
            exactly_once: false,
            transaction_timeout: Duration::from_secs(10),
            purge_interval: Duration::from_secs(30),
            group_instance_id: None,
            reset: Reset::Earliest,
            preserve_headers: false,
            accept_changes: false,
            client: Settings::new(),
        }
    }
}

/// How `task.memory.max.bytes` is shared: half for what is written and not committed and the order of what is held back, a
/// quarter for records that wait, an eighth each for outputs and for what is in flight. Work stops short of each share, with room for what one more record
/// or poll may add. A record larger than that room goes through alone.
impl Config {
    /// Of state written and not committed; more asks for a commit.
    pub(crate) fn overlay_bytes_max(&self) -> usize {
        self.task_memory_bytes / 16 * 5
    }

    /// Of the order in which suppressions and `emit_on_close` let go what they hold back.
    pub(crate) fn order_bytes_max(&self) -> usize {
        self.task_memory_bytes / 16
    }

    /// Of records that one poll brings, and that a task may have waiting before its inputs are paused.
    pub(crate) fn polled_bytes_max(&self) -> usize {
        self.task_memory_bytes / 8
    }

    /// Of outputs; with more, they are sent first.
    pub(crate) fn output_bytes_max(&self) -> usize {
        (self.task_memory_bytes / 16).min(8 << 20)
    }

    /// Of what a producer may have in flight: Kafka's producer waits with more, and the task with it.
    pub(crate) fn in_flight_bytes_max(&self) -> usize {
        (self.task_memory_bytes / 8).min(16 << 20)
    }
}

impl Config {
    /// `max.request.size`, or Kafka's default.
    pub(crate) fn record_bytes_max(&self) -> usize {
        let names = [
            "producer.max.request.size",
            "max.request.size",
            "message.max.bytes",
        ];
        let given = names.iter().find_map(|name| self.client.get(*name)?.parse().ok());
        given.unwrap_or(1 << 20)
    }

    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The defaults, changed by the environment: `BOOTSTRAP_SERVERS`, and `TIDEMILL_` before a setting's name with
    /// underscores for dots (`TIDEMILL_NUM_STREAM_THREADS=4`).
    ///
    /// Errors: a variable names no setting, or its value does not fit.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(std::env::vars_os())
    }

    // Variables of others may have names and values that are not UTF-8.
    pub(crate) fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (variable, value) in variables {
            let Some(variable) = variable.to_str() else {
                continue;
            };
            let name = match variable.strip_prefix(ENVIRONMENT_PREFIX) {
                Some(name) => name.to_lowercase().replace('_', "."),
                None if variable == "BOOTSTRAP_SERVERS" => "bootstrap.servers".to_owned(),
                None => continue,
            };
            let value = value.into_string().map_err(|value| ConfigError::Value {
                name: name.clone(),
                value: value.to_string_lossy().into_owned(),
                expected: "text in UTF-8",
            })?;
            config = config.set(&name, value)?;
        }
        Ok(config)
    }

    /// Settings from pairs of name and value.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        settings
            .iter()
            .try_fold(Self::default(), |config, (name, value)| config.set(name, value))
    }

    /// The cluster's address.
    pub fn bootstrap_servers(mut self, servers: impl Into<String>) -> Self {
        self.client.insert("bootstrap.servers".into(), servers.into());
        self
    }

    /// Where state is kept. Every instance of a program needs a directory of its own.
    pub fn state_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.state_dir = dir.as_ref().to_owned();
        self
    }

    /// Sets one setting by its name. Errors: no setting has this name, or the value does not fit.
    pub fn set(mut self, name: &str, value: impl ToString) -> Result<Self, ConfigError> {
        let text = value.to_string();
        let given = Given { name, text: &text };
        match name {
            "application.id" => self.application_id = Some(text.clone()),
            "application.server" => self.application_server = Some(given.server()?),
            "client.id" => self.client_id = Some(text.clone()),
            "state.dir" => self.state_dir = PathBuf::from(&text),
            "num.stream.threads" => self.threads = given.count(1..=256, "a number from 1 to 256")?,
            "commit.interval.ms" => self.commit_interval = given.milliseconds()?,
            "poll.ms" => self.poll_wait = given.milliseconds()?,
            "buffered.records.per.partition" => {
                self.buffered_records = given.count(1..=1_000_000, "a number from 1 to 1000000")?;
            }
            "input.buffer.max.bytes" => self.input_buffer_bytes = given.bytes()?,
            "max.task.idle.ms" => self.max_task_idle = given.idle()?,
            "replication.factor" => self.replication_factor = given.replication()?,
            "state.memory.bytes" => self.state_memory_bytes = Some(given.bytes()?),
            "statestore.cache.max.bytes" => self.cache_bytes_max = Some(given.bytes()?),
            "task.memory.max.bytes" => self.task_memory_bytes = given.bytes()?,
            "delete.retention.ms" => self.delete_retention = given.milliseconds()?,
            "processing.guarantee" => self.exactly_once = given.guarantee()?,
            "transaction.timeout.ms" => self.transaction_timeout = given.milliseconds()?,
            "repartition.purge.interval.ms" => self.purge_interval = given.milliseconds()?,
            "topology.changes" => self.accept_changes = given.changes()?,
            "group.instance.id" => self.group_instance_id = Some(text.clone()),
            "auto.offset.reset" => self.reset = given.reset()?,
            "headers.preserve" => self.preserve_headers = given.switch()?,
            _ => self.set_client(&given)?,
        }
        Ok(self)
    }

    fn set_client(&mut self, given: &Given<'_>) -> Result<(), ConfigError> {
        let known = CLIENT_SETTINGS.contains(&given.name)
            || CLIENT_PREFIXES
                .iter()
                .any(|p| given.name.starts_with(p) && given.name.len() > p.len());
        if !known {
            let nearest = nearest(given.name, SETTINGS.iter().chain(CLIENT_SETTINGS));
            return Err(ConfigError::Unknown {
                name: given.name.into(),
                nearest: nearest.map(str::to_owned),
            });
        }
        self.client.insert(given.name.into(), given.text.into());
        Ok(())
    }

    /// The cluster's address, if one is set.
    pub fn bootstrap(&self) -> Option<&str> {
        self.client.get("bootstrap.servers").map(String::as_str)
    }
}

struct Given<'a> {
    name: &'a str,
    text: &'a str,
}

impl Given<'_> {
    fn refuse(&self, expected: &'static str) -> ConfigError {
        ConfigError::Value {
            name: self.name.into(),
            value: self.text.into(),
            expected,
        }
    }

    fn milliseconds(&self) -> Result<Duration, ConfigError> {
        self.text
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| self.refuse("milliseconds"))
    }

    fn bytes(&self) -> Result<usize, ConfigError> {
        self.text.parse().map_err(|_| self.refuse("a number of bytes"))
    }

    fn count(
        &self,
        range: std::ops::RangeInclusive<usize>,
        expected: &'static str,
    ) -> Result<usize, ConfigError> {
        self.text
            .parse()
            .ok()
            .filter(|n| range.contains(n))
            .ok_or_else(|| self.refuse(expected))
    }

    fn idle(&self) -> Result<Option<Duration>, ConfigError> {
        // Kafka Streams' −1: take whatever is there, never wait for a partition that lags.
        if self.text == "-1" {
            Ok(None)
        } else {
            self.milliseconds().map(Some)
        }
    }

    fn replication(&self) -> Result<Option<i16>, ConfigError> {
        match self.text.parse() {
            Ok(-1) => Ok(None),
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => Err(self.refuse("a number of replicas, or -1 for the broker's default")),
        }
    }

    fn guarantee(&self) -> Result<bool, ConfigError> {
        match self.text {
            "at_least_once" => Ok(false),
            "exactly_once_v2" => Ok(true),
            _ => Err(self.refuse("`at_least_once` or `exactly_once_v2`")),
        }
    }

    fn switch(&self) -> Result<bool, ConfigError> {
        self.text.parse().map_err(|_| self.refuse("`true` or `false`"))
    }

    /// A host and a port.
    fn server(&self) -> Result<String, ConfigError> {
        let (host, port) = self.text.rsplit_once(':').unwrap_or_default();
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(self.refuse("HOST:PORT"));
        }
        Ok(self.text.to_owned())
    }

    fn changes(&self) -> Result<bool, ConfigError> {
        match self.text {
            "refuse" => Ok(false),
            "accept" => Ok(true),
            _ => Err(self.refuse("`refuse` or `accept`")),
        }
    }

    fn reset(&self) -> Result<Reset, ConfigError> {
        match self.text {
            "earliest" => Ok(Reset::Earliest),
            "latest" => Ok(Reset::Latest),
            "none" => Ok(Reset::Refuse),
            other => other
                .strip_prefix("by_duration:")
                .and_then(iso_duration::parse)
                .map(Reset::Within)
                .ok_or_else(|| {
                    self.refuse(
                        "`earliest`, `latest`, `none` or `by_duration:` and a span such as PT1H or P7D",
                    )
                }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> String {
        Config::new().set(name, value).unwrap_err().to_string()
    }

    #[test]
    fn the_environment_sets_settings_and_nothing_else_is_read() {
        let variables = [
            ("HOME", "/root"),
            ("BOOTSTRAP_SERVERS", "a:1"),
            ("TIDEMILL_NUM_STREAM_THREADS", "3"),
            ("TIDEMILL_STATE_DIR", "/data"),
        ];
        let config = Config::from_variables(variables.map(|(k, v)| (k.into(), v.into()))).unwrap();
        assert_eq!(config.bootstrap(), Some("a:1"));
        assert_eq!((config.threads, config.state_dir), (3, PathBuf::from("/data")));
    }

    #[test]
    fn variables_that_are_not_text_are_passed_over_or_refused_by_name() {
        use std::os::unix::ffi::OsStringExt as _;
        let broken = || OsString::from_vec(vec![b'a', 0xff]);
        let others = [(broken(), "1".into()), ("HOME".into(), broken())];
        assert_eq!(Config::from_variables(others), Ok(Config::new()));
        let ours = Config::from_variables([("TIDEMILL_STATE_DIR".into(), broken())]);
        assert_eq!(
            ours.unwrap_err().to_string(),
            "setting `state.dir` is \"a\u{fffd}\", expected text in UTF-8"
        );
    }

    #[test]
    fn an_unknown_setting_names_the_nearest_known_one() {
        assert_eq!(
            refused("comit.interval.ms", "1"),
            "unknown setting `comit.interval.ms`; did you mean `commit.interval.ms`?"
        );
        assert_eq!(
            refused("zzzzzzzzzzzzzzzzzzzzzzzz", "1"),
            "unknown setting `zzzzzzzzzzzzzzzzzzzzzzzz`"
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_what_would() {
        assert_eq!(
            refused("num.stream.threads", "0"),
            r#"setting `num.stream.threads` is "0", expected a number from 1 to 256"#
        );
        assert_eq!(
            refused("processing.guarantee", "exactly"),
            r#"setting `processing.guarantee` is "exactly", expected `at_least_once` or `exactly_once_v2`"#
        );
        assert!(refused("replication.factor", "0").contains("a number of replicas"));
    }

    #[test]
    fn reading_may_begin_a_span_of_time_ago() {
        let config = Config::new()
            .set("auto.offset.reset", "by_duration:PT1H30M")
            .unwrap();
        assert_eq!(config.reset, Reset::Within(Duration::from_secs(5_400)));
        let refused = refused("auto.offset.reset", "by_duration:1h");
        assert!(
            refused.contains("`by_duration:` and a span such as PT1H"),
            "{refused}"
        );
    }

    #[test]
    fn client_settings_pass_through() {
        let config = Config::new()
            .set("ssl.ca.location", "ca.pem")
            .unwrap()
            .set("consumer.fetch.min.bytes", 10)
            .unwrap();
        assert_eq!(
            config.client.get("ssl.ca.location").map(String::as_str),
            Some("ca.pem")
        );
        assert_eq!(
            config.client.get("consumer.fetch.min.bytes").map(String::as_str),
            Some("10")
        );
    }
}
