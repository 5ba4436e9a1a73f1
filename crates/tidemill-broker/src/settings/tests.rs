use super::topic::{resolve_all, setting_value};
use super::value::Source;
use super::*;
use crate::BrokerConfig;

const QUICKSTART: &str = "\
broker.id=3
listeners=PLAINTEXT://127.0.0.1:19092
advertised.listeners=PLAINTEXT://localhost:19092
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/var/a, /var/b
num.partitions=6
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
zookeeper.connect=localhost:2181
zookeeper.connection.timeout.ms=18000
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
delete.topic.enable=false
";

#[test]
fn a_file_of_kafka_starts_without_a_warning_and_means_the_same() {
    let config = BrokerConfig::from_properties(QUICKSTART).unwrap();
    assert_eq!(config.warnings(), []);
    let settings = config.settings().unwrap();
    assert_eq!(settings.node_id, 3);
    assert_eq!(
        settings.listeners,
        [Listener::parse("PLAINTEXT://127.0.0.1:19092").unwrap()]
    );
    assert_eq!(
        settings.advertised_listeners,
        [Listener::parse("PLAINTEXT://localhost:19092").unwrap()]
    );
    assert_eq!(
        settings.log_dirs,
        ["/var/a", "/var/b"].map(std::path::PathBuf::from)
    );
    assert_eq!(settings.num_partitions, 6);
    assert!(!settings.auto_create_topics);
    assert!(!settings.delete_topics);
    assert_eq!(settings.group_initial_rebalance_delay, std::time::Duration::ZERO);
    let silent: Vec<_> = config
        .without_counterpart()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        silent,
        [
            "num.io.threads",
            "num.network.threads",
            "num.recovery.threads.per.data.dir",
            "socket.receive.buffer.bytes",
            "socket.send.buffer.bytes",
            "transaction.state.log.min.isr",
            "transaction.state.log.replication.factor",
            "zookeeper.connect",
            "zookeeper.connection.timeout.ms",
        ]
    );
}

#[test]
fn an_unknown_setting_is_a_warning_that_names_the_nearest() {
    let config = BrokerConfig::from_properties("num.partition=3\n").unwrap();
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["unknown setting \"num.partition\", the nearest known one is \"num.partitions\""]
    );
    assert_eq!(config.settings().unwrap().num_partitions, 1);
}

#[test]
fn a_value_of_the_wrong_type_or_out_of_range_is_an_error() {
    for (name, value) in [
        ("num.partitions", "many"),
        ("num.partitions", "0"),
        ("num.partitions", "2147483648"),
        ("delete.topic.enable", "yes"),
        ("log.cleanup.policy", "delete,shrink"),
        ("log.message.timestamp.type", "Whenever"),
        ("log.cleaner.min.cleanable.ratio", "1.5"),
    ] {
        let result = BrokerConfig::server().set(name, value);
        assert!(
            matches!(result, Err(SettingError::Invalid { .. })),
            "{name}={value}"
        );
    }
}

#[test]
fn the_finest_unit_of_the_retention_wins() {
    let none = TopicValues::default();
    let retention = |text: &str| {
        let config = BrokerConfig::from_properties(text).unwrap();
        setting_value("retention.ms", &none, &config.values)
    };
    assert_eq!(retention(""), "604800000");
    assert_eq!(retention("log.retention.hours=2"), "7200000");
    assert_eq!(
        retention("log.retention.hours=2\nlog.retention.minutes=3"),
        "180000"
    );
    assert_eq!(
        retention("log.retention.ms=5\nlog.retention.hours=2\nlog.retention.minutes=3"),
        "5"
    );
    assert_eq!(retention("log.retention.hours=-1"), "-1");
}

#[test]
fn a_topic_setting_hides_the_brokers_and_says_where_it_comes_from() {
    let mut topic = TopicValues::default();
    topic.set("retention.ms", "1000").unwrap();
    let mut broker = Values::default();
    broker.set("log.retention.minutes", "1").unwrap();
    broker.set("log.segment.bytes", "4096").unwrap();
    let all = resolve_all(&topic, &broker);
    let find = |name: &str| {
        all.iter()
            .find(|resolved| resolved.setting.topic == Some(name))
            .unwrap()
    };

    let retention = find("retention.ms");
    assert_eq!(
        (retention.value.as_str(), retention.source),
        ("1000", Source::Topic)
    );
    let synonyms: Vec<_> = retention
        .synonyms
        .iter()
        .map(|(name, value, _)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        synonyms,
        [
            ("retention.ms", "1000"),
            ("log.retention.minutes", "60000"),
            ("log.retention.ms", "604800000")
        ]
    );
    assert_eq!(
        (find("segment.bytes").value.as_str(), find("segment.bytes").source),
        ("4096", Source::Broker)
    );
    assert_eq!(
        (
            find("cleanup.policy").value.as_str(),
            find("cleanup.policy").source
        ),
        ("delete", Source::Default)
    );
}

#[test]
fn a_topic_setting_can_be_taken_back_and_an_unknown_one_is_refused() {
    let mut topic = TopicValues::default();
    topic.set("cleanup.policy", "compact").unwrap();
    topic.unset("cleanup.policy").unwrap();
    assert_eq!(topic, TopicValues::default());
    assert!(matches!(
        topic.set("log.retention.ms", "1"),
        Err(SettingError::Unknown { .. })
    ));
    assert!(matches!(
        topic.unset("nonsense"),
        Err(SettingError::Unknown { .. })
    ));
}

#[test]
fn the_table_agrees_with_itself() {
    for row in SETTINGS {
        let name = row.broker.or(row.topic).unwrap();
        assert!(
            row.documentation.ends_with('.'),
            "{name} is not documented by a sentence"
        );
        if let Some(default) = row.default.filter(|default| !default.is_empty()) {
            value::check(row, name, default).unwrap();
        }
        let twins = SETTINGS
            .iter()
            .filter(|other| other.broker.is_some() && other.broker == row.broker)
            .count();
        assert!(twins <= 1, "{name} stands twice in the table");
        let defaults = SETTINGS
            .iter()
            .filter(|other| other.topic == row.topic && other.default.is_some())
            .count();
        assert!(
            row.topic.is_none() || defaults == 1,
            "{name} needs one row with a default"
        );
    }
}

#[test]
fn listeners_are_read_and_other_protocols_refused() {
    let parsed = Listener::parse("EXTERNAL://[::1]:9092").unwrap();
    assert_eq!(
        (parsed.name.as_str(), parsed.host.as_str(), parsed.port),
        ("EXTERNAL", "::1", 9092)
    );
    for bad in [
        "",
        "PLAINTEXT",
        "PLAINTEXT://host",
        "PLAINTEXT://host:x",
        "PLAINTEXT://a:b:1",
        "://host:1",
        "P://h:70000",
    ] {
        assert!(
            matches!(Listener::parse(bad), Err(ListenerError::Malformed(_))),
            "{bad}"
        );
    }
    let refused = BrokerConfig::from_properties("listeners=SSL://:9093");
    assert!(refused.unwrap_err().to_string().contains("only PLAINTEXT"));
    let mapped = "listeners=IN://:1,OUT://:2,CONTROLLER://:3\ncontroller.listener.names=CONTROLLER\n\
                  listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT,CONTROLLER:SSL\n";
    let settings = BrokerConfig::from_properties(mapped).unwrap().settings().unwrap();
    assert_eq!(
        settings.listeners.iter().map(|l| l.port).collect::<Vec<_>>(),
        [1, 2]
    );
}
