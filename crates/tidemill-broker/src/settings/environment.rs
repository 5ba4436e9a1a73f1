//! Settings from the environment, as container images of Kafka take them: `KAFKA_LOG_RETENTION_MS` is `log.retention.ms`.
//!
//! | variable | meaning |
//! |---|---|
//! | `KAFKA_<NAME>` | the setting whose name in capitals, with `.` as `_`, is `<NAME>` |
//! | `KAFKA_ADVERTISED_HOST_NAME`, `KAFKA_ADVERTISED_PORT` | `advertised.listeners` with this host, or this port, where it is not set |
//! | `KAFKA_PORT`, `KAFKA_HOST_NAME` | `listeners` with this port, or host, where it is not set |
//! | `KAFKA_CREATE_TOPICS` | `name:partitions:replicas[:cleanup policy]`, parted by commas: made at the start if they are not there |

use super::{SETTINGS, SettingError, Values, nearest};

/// What the environment asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) topics: Vec<TopicAtStart>,
    /// Variables that look like settings and are none.
    pub(crate) unknown: Vec<SettingError>,
}

/// A topic that is made when the broker starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicAtStart {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) cleanup_policy: Option<String>,
}

/// Variables of the images that are not the broker's.
const NOT_OURS: [&str; 8] = [
    "KAFKA_HOME",
    "KAFKA_VERSION",
    "KAFKA_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_OPTS",
    "KAFKA_LOG4J_OPTS",
];

/// Takes the settings among `variables` into `values`.
pub(crate) fn take(
    values: &mut Values,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Environment, SettingError> {
    let mut environment = Environment::default();
    let (mut host, mut port, mut told_host, mut told_port) = (None, None, None, None);
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix("KAFKA_") else {
            continue;
        };
        match name {
            _ if NOT_OURS.contains(&variable.as_str()) => {}
            "CREATE_TOPICS" => environment.topics = topics(&value)?,
            "HOST_NAME" => host = Some(value),
            "PORT" => port = Some(value),
            "ADVERTISED_HOST_NAME" => told_host = Some(value),
            "ADVERTISED_PORT" => told_port = Some(value),
            name => match setting_of(name) {
                Some(setting) => values.set(setting, &value)?,
                None => environment.unknown.push(unknown(&variable, name)),
            },
        }
    }
    if values.explicit("listeners").is_none() && (host.is_some() || port.is_some()) {
        let (host, port) = (host.unwrap_or_default(), port.as_deref().unwrap_or("9092"));
        values.set("listeners", &format!("PLAINTEXT://{host}:{port}"))?;
    }
    if values.explicit("advertised.listeners").is_none() && (told_host.is_some() || told_port.is_some()) {
        let listeners = values.list("listeners");
        let listener = listeners.first().map_or("PLAINTEXT://:9092", String::as_str);
        let (name, address) = listener.split_once("://").unwrap_or(("PLAINTEXT", ":9092"));
        let (own_host, own_port) = address.rsplit_once(':').unwrap_or((address, "9092"));
        let host = told_host.as_deref().unwrap_or(own_host);
        let port = told_port.as_deref().unwrap_or(own_port);
        values.set("advertised.listeners", &format!("{name}://{host}:{port}"))?;
    }
    Ok(environment)
}

/// The setting that a variable stands for; `_` may be `.` or `_` or `-`.
fn setting_of(variable: &str) -> Option<&'static str> {
    let mut names = SETTINGS.iter().filter_map(|row| row.broker);
    names.find(|name| {
        name.len() == variable.len()
            && name.bytes().zip(variable.bytes()).all(|(own, given)| match own {
                b'.' | b'-' => given == b'_',
                own => own.eq_ignore_ascii_case(&given),
            })
    })
}

fn unknown(variable: &str, name: &str) -> SettingError {
    let written = name.to_ascii_lowercase().replace('_', ".");
    SettingError::Unknown {
        name: variable.to_string(),
        nearest: nearest(&written, SETTINGS.iter().filter_map(|row| row.broker)),
    }
}

fn topics(text: &str) -> Result<Vec<TopicAtStart>, SettingError> {
    let parts = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(topic).collect()
}

fn topic(text: &str) -> Result<TopicAtStart, SettingError> {
    let invalid = |reason: &str| SettingError::Invalid {
        name: "KAFKA_CREATE_TOPICS".into(),
        value: text.into(),
        reason: reason.into(),
    };
    let mut parts = text.split(':').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("expected name:partitions:replicas"))?;
    let mut number = || match parts.next() {
        None => Ok(1),
        Some(count) => count.parse::<i32>().ok().filter(|count| *count > 0).ok_or(()),
    };
    let partitions = number().map_err(|()| invalid("the number of partitions is not one"))?;
    let replicas = number().map_err(|()| invalid("the number of replicas is not one"))?;
    if replicas > 1 {
        return Err(invalid("there is one broker, so there is one replica"));
    }
    Ok(TopicAtStart {
        name: name.to_string(),
        partitions,
        cleanup_policy: parts.next().map(str::to_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(variables: &[(&str, &str)]) -> (Values, Environment) {
        let mut values = Values::default();
        let owned = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let environment = take(&mut values, owned).unwrap();
        (values, environment)
    }

    #[test]
    fn variables_are_settings_in_capitals() {
        let (values, environment) = taken(&[
            ("KAFKA_BROKER_ID", "7"),
            ("KAFKA_LOG_RETENTION_MS", "5"),
            (
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                "IN:PLAINTEXT,OUT:PLAINTEXT",
            ),
            ("KAFKA_HEAP_OPTS", "-Xmx1G"),
            ("KAFKA_LOG_RETENTON_MS", "5"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(values.explicit("broker.id"), Some("7"));
        assert_eq!(values.explicit("log.retention.ms"), Some("5"));
        assert_eq!(values.list("listener.security.protocol.map").len(), 2);
        let [unknown] = &environment.unknown[..] else {
            panic!("{environment:?}")
        };
        assert!(unknown.to_string().contains("log.retention.ms"), "{unknown}");
    }

    #[test]
    fn an_advertised_host_goes_with_the_first_listener() {
        let (values, _) = taken(&[("KAFKA_ADVERTISED_HOST_NAME", "example"), ("KAFKA_PORT", "9099")]);
        assert_eq!(values.explicit("listeners"), Some("PLAINTEXT://:9099"));
        assert_eq!(
            values.explicit("advertised.listeners"),
            Some("PLAINTEXT://example:9099")
        );
        let (values, _) = taken(&[
            ("KAFKA_LISTENERS", "OUT://:1,IN://:2"),
            ("KAFKA_ADVERTISED_LISTENERS", "OUT://a:3"),
            ("KAFKA_ADVERTISED_HOST_NAME", "ignored"),
        ]);
        assert_eq!(values.explicit("advertised.listeners"), Some("OUT://a:3"));
    }

    #[test]
    fn topics_at_the_start_are_read_and_bad_ones_named() {
        let (_, environment) = taken(&[("KAFKA_CREATE_TOPICS", "a:3:1, b, c:2:1:compact")]);
        let found: Vec<_> = environment
            .topics
            .iter()
            .map(|topic| {
                (
                    topic.name.as_str(),
                    topic.partitions,
                    topic.cleanup_policy.as_deref(),
                )
            })
            .collect();
        assert_eq!(found, [("a", 3, None), ("b", 1, None), ("c", 2, Some("compact"))]);
        for bad in ["a:x", "a:0", ":3", "a:1:2", "a:1:-1"] {
            let variables = [("KAFKA_CREATE_TOPICS".to_string(), bad.to_string())];
            let error = take(&mut Values::default(), variables).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
