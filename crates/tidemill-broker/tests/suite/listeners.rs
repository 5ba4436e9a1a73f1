//! Several listeners, what clients of each are told, and settings from the environment alone.

use std::net::SocketAddr;

use crate::support::Client;
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::messages::describe_cluster::DescribeClusterRequest;
use tidemill_protocol::messages::find_coordinator::FindCoordinatorRequest;
use tidemill_protocol::messages::metadata::MetadataRequest;

/// The address that each kind of request tells.
async fn told(address: SocketAddr) -> (String, i32) {
    let mut client = Client::connect_to(address).await;
    let metadata = client.call(&MetadataRequest::default(), 9).await;
    let broker = &metadata.brokers[0];
    let found = (broker.host.to_string(), broker.port);
    let request = FindCoordinatorRequest {
        key: "g".into(),
        ..Default::default()
    };
    let coordinator = client.call(&request, 2).await;
    assert_eq!((coordinator.host.to_string(), coordinator.port), found);
    let request = DescribeClusterRequest {
        endpoint_type: 1,
        ..Default::default()
    };
    let cluster = client.call(&request, 1).await;
    assert_eq!(
        (cluster.brokers[0].host.to_string(), cluster.brokers[0].port),
        found
    );
    found
}

fn config(variables: &[(&str, &str)]) -> BrokerConfig {
    let owned = variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    BrokerConfig::server().with_environment(owned).unwrap()
}

#[tokio::test]
async fn clients_are_told_the_address_of_the_listener_they_came_through() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[
        (
            "KAFKA_LISTENERS",
            "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0,PLAIN://127.0.0.1:0",
        ),
        (
            "KAFKA_ADVERTISED_LISTENERS",
            "OUTSIDE://broker.example.com:19092,INSIDE://broker:29092",
        ),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,PLAIN:PLAINTEXT",
        ),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "INSIDE"),
        ("KAFKA_LOG_DIRS", dir.path().to_str().unwrap()),
    ]);
    let broker = Broker::start(config).await.unwrap();
    let address = |name| broker.listener_address(name).unwrap();
    assert_eq!(told(address("INSIDE")).await, ("broker".to_string(), 29092));
    assert_eq!(
        told(address("OUTSIDE")).await,
        ("broker.example.com".to_string(), 19092)
    );
    let plain = address("plain");
    assert_eq!(
        told(plain).await,
        ("127.0.0.1".to_string(), i32::from(plain.port()))
    );
    assert_eq!(broker.bootstrap(), "broker:29092");
    assert!(broker.listener_address("OTHER").is_none());
    broker.shutdown().await;
}

#[tokio::test]
async fn the_environment_alone_starts_a_broker_with_topics() {
    let dir = tempfile::tempdir().unwrap();
    let variables = [
        ("KAFKA_BROKER_ID", "5"),
        ("KAFKA_LISTENERS", "PLAINTEXT://127.0.0.1:0"),
        ("KAFKA_ADVERTISED_HOST_NAME", "example.org"),
        ("KAFKA_LOG_DIRS", dir.path().to_str().unwrap()),
        ("KAFKA_CREATE_TOPICS", "clicks:3:1,profiles:2:1:compact"),
        ("KAFKA_NUM_PARTITION", "1"),
    ];
    let config = config(&variables);
    assert!(config.warnings()[0].to_string().contains("num.partitions"));
    // Twice: topics that are there stay as they are.
    for _ in 0..2 {
        let broker = Broker::start(config.clone()).await.unwrap();
        assert_eq!(told(broker.address()).await.0, "example.org");
        let mut client = Client::connect(&broker).await;
        let request = MetadataRequest {
            topics: None,
            ..Default::default()
        };
        let answer = client.call(&request, 9).await;
        assert_eq!(answer.controller_id, 5);
        let topics: Vec<_> = answer
            .topics
            .iter()
            .map(|topic| (topic.name.as_deref().unwrap(), topic.partitions.len()))
            .collect();
        assert_eq!(topics, [("clicks", 3), ("profiles", 2)]);
        broker.shutdown().await;
    }
}

#[test]
fn listeners_that_do_not_fit_are_refused_and_named() {
    for (properties, says) in [
        (
            "listeners=A://:1,A://:2\nlistener.security.protocol.map=A:PLAINTEXT",
            "twice",
        ),
        (
            "listeners=PLAINTEXT://:1\nadvertised.listeners=B://:2\nlistener.security.protocol.map=B:PLAINTEXT",
            "B",
        ),
        (
            "listeners=PLAINTEXT://:1\ninter.broker.listener.name=C",
            "inter.broker.listener.name",
        ),
    ] {
        let error = BrokerConfig::from_properties(properties).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn the_compose_file_starts_a_broker() {
    let compose = include_str!("../../../../packaging/compose.yaml");
    let variables: Vec<(String, String)> = compose
        .lines()
        .filter_map(|line| {
            let (name, value) = line.trim().split_once(": ")?;
            let value = value.trim_matches('"');
            name.starts_with("KAFKA_")
                .then(|| (name.to_string(), value.to_string()))
        })
        .collect();
    assert!(variables.len() >= 6, "{variables:?}");
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::server().with_environment(variables).unwrap();
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    // The same on ports that are free here.
    let config = config
        .set("listeners", "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0")
        .unwrap()
        .set("tidemill.http.listener", "127.0.0.1:0")
        .unwrap()
        .with_data_dir(dir.path());
    let broker = Broker::start(config).await.unwrap();
    let address = |name| broker.listener_address(name).unwrap();
    assert_eq!(told(address("INSIDE")).await, ("broker".to_string(), 29092));
    assert_eq!(told(address("OUTSIDE")).await, ("localhost".to_string(), 9092));
    assert!(broker.http_address().is_some());
    let mut client = Client::connect(&broker).await;
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let topics = client.call(&all, 9).await.topics;
    let counts: Vec<_> = topics.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!(counts, [3, 3]);
    broker.shutdown().await;
}
