//! Topics: created, described, grown, deleted.

use crate::support::{Client, batch, create_request, pair, values};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use tidemill_protocol::messages::create_topics::{CreatableReplicaAssignment, CreateTopicsRequest};
use tidemill_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use tidemill_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use tidemill_protocol::messages::describe_cluster::DescribeClusterRequest;
use tidemill_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use tidemill_protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use tidemill_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponsePartition,
};
use tidemill_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use tidemill_protocol::messages::metadata::MetadataRequest;
use tidemill_protocol::{ErrorCode, Uuid};

async fn created(client: &mut Client, request: &CreateTopicsRequest) -> (ErrorCode, String) {
    let topic = client.call(request, 7).await.topics[0].clone();
    (
        topic.error_code,
        topic
            .error_message
            .map(|message| message.to_string())
            .unwrap_or_default(),
    )
}

async fn names(client: &mut Client) -> Vec<String> {
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    client
        .call(&all, 12)
        .await
        .topics
        .iter()
        .map(|topic| topic.name.as_deref().unwrap().to_string())
        .collect()
}

#[tokio::test]
async fn a_topic_that_cannot_be_made_is_refused_with_kafkas_code() {
    let (_broker, mut client) = pair().await;
    client.create("there", 1, &[]).await;
    assert_eq!(
        created(&mut client, &create_request("there", 1, &[])).await.0,
        ErrorCode::TopicAlreadyExists
    );
    assert_eq!(
        created(&mut client, &create_request("a b", 1, &[])).await.0,
        ErrorCode::InvalidTopicException
    );
    assert_eq!(
        created(&mut client, &create_request("..", 1, &[])).await.0,
        ErrorCode::InvalidTopicException
    );
    assert_eq!(
        created(&mut client, &create_request(&"x".repeat(250), 1, &[]))
            .await
            .0,
        ErrorCode::InvalidTopicException
    );
    assert_eq!(
        created(&mut client, &create_request("p", 0, &[])).await.0,
        ErrorCode::InvalidPartitions
    );
    assert_eq!(
        created(&mut client, &create_request("p", 1, &[("retention.ms", "x")]))
            .await
            .0,
        ErrorCode::InvalidConfig
    );
    let (code, message) = created(&mut client, &create_request("p", 1, &[("retention.m", "1")])).await;
    assert_eq!(code, ErrorCode::InvalidConfig);
    assert!(message.contains("retention.ms"), "{message}");
    let mut replicated = create_request("p", 1, &[]);
    replicated.topics[0].replication_factor = 3;
    let (code, message) = created(&mut client, &replicated).await;
    assert_eq!(code, ErrorCode::InvalidReplicationFactor);
    assert!(message.contains('3') && message.contains('1'), "{message}");
    let mut twice = create_request("p", 1, &[]);
    twice.topics.push(twice.topics[0].clone());
    assert_eq!(created(&mut client, &twice).await.0, ErrorCode::InvalidRequest);
    assert_eq!(names(&mut client).await, ["there"]);
}

#[tokio::test]
async fn validate_only_makes_nothing() {
    let (_broker, mut client) = pair().await;
    let mut request = create_request("t", 3, &[]);
    request.validate_only = true;
    assert_eq!(created(&mut client, &request).await.0, ErrorCode::None);
    assert!(names(&mut client).await.is_empty());
}

#[tokio::test]
async fn replicas_can_be_assigned_only_to_this_broker_and_without_a_gap() {
    let (_broker, mut client) = pair().await;
    let with = |assignments: &[(i32, &[i32])]| {
        let mut request = create_request("t", -1, &[]);
        request.topics[0].replication_factor = -1;
        request.topics[0].assignments = assignments
            .iter()
            .map(|(index, brokers)| CreatableReplicaAssignment {
                partition_index: *index,
                broker_ids: brokers.to_vec(),
            })
            .collect();
        request
    };
    for bad in [
        &[(0, [9].as_slice())][..],
        &[(0, &[])],
        &[(0, &[0, 0])],
        &[(0, &[0]), (2, &[0])],
        &[(0, &[0]), (0, &[0])],
    ] {
        assert_eq!(
            created(&mut client, &with(bad)).await.0,
            ErrorCode::InvalidReplicaAssignment,
            "{bad:?}"
        );
    }
    assert_eq!(
        created(&mut client, &with(&[(1, &[0]), (0, &[0])])).await.0,
        ErrorCode::None
    );
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id_and_can_come_again() {
    let (_broker, mut client) = pair().await;
    client.create("a", 1, &[]).await;
    client.create("b", 1, &[]).await;
    client.produce("a", 0, batch(&["old"])).await;
    let id = client
        .call(
            &MetadataRequest {
                topics: None,
                ..Default::default()
            },
            12,
        )
        .await
        .topics[1]
        .topic_id;
    let states = vec![
        DeleteTopicState {
            name: Some("a".into()),
            topic_id: Uuid::nil(),
        },
        DeleteTopicState {
            name: None,
            topic_id: id,
        },
        DeleteTopicState {
            name: None,
            topic_id: Uuid::from_u128(5),
        },
        DeleteTopicState {
            name: Some("c".into()),
            topic_id: Uuid::nil(),
        },
    ];
    let responses = client
        .call(
            &DeleteTopicsRequest {
                topics: states,
                ..Default::default()
            },
            6,
        )
        .await
        .responses;
    let codes: Vec<_> = responses.iter().map(|response| response.error_code).collect();
    assert_eq!(
        codes,
        [
            ErrorCode::None,
            ErrorCode::None,
            ErrorCode::UnknownTopicId,
            ErrorCode::UnknownTopicOrPartition
        ]
    );
    assert_eq!(responses[1].name.as_deref(), Some("b"));
    client.create("a", 1, &[]).await;
    assert_eq!(values(&client.fetch("a", 0, 0).await.records), []);
}

#[tokio::test]
async fn deletion_can_be_disabled() {
    let broker = Broker::start(
        BrokerConfig::embedded()
            .set("delete.topic.enable", false)
            .unwrap(),
    )
    .await
    .unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[]).await;
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        ..Default::default()
    };
    assert_eq!(
        client.call(&request, 5).await.responses[0].error_code,
        ErrorCode::TopicDeletionDisabled
    );
    assert_eq!(names(&mut client).await, ["t"]);
}

#[tokio::test]
async fn partitions_can_be_added_and_not_taken_away() {
    let (_broker, mut client) = pair().await;
    client.create("t", 2, &[]).await;
    let mut request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "t".into(),
            count: 4,
            assignments: None,
        }],
        timeout_ms: 1000,
        validate_only: true,
    };
    assert_eq!(
        client.call(&request, 3).await.results[0].error_code,
        ErrorCode::None
    );
    assert_eq!(
        client.fetch("t", 3, 0).await.error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    request.validate_only = false;
    assert_eq!(
        client.call(&request, 0).await.results[0].error_code,
        ErrorCode::None
    );
    assert_eq!(
        client.produce("t", 3, batch(&["a"])).await.error_code,
        ErrorCode::None
    );
    for count in [4, 3, 0, -1] {
        request.topics[0].count = count;
        assert_eq!(
            client.call(&request, 3).await.results[0].error_code,
            ErrorCode::InvalidPartitions
        );
    }
}

#[tokio::test]
async fn every_setting_of_a_topic_is_described_with_its_source() {
    let broker = Broker::start(BrokerConfig::embedded().set("log.retention.minutes", 1).unwrap())
        .await
        .unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[("cleanup.policy", "compact")]).await;
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configuration_keys: None,
    };
    let mut request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let result = client.call(&request, 4).await.results[0].clone();
    assert_eq!(result.error_code, ErrorCode::None);
    let find = |name: &str| result.configs.iter().find(|config| config.name == name).unwrap();
    let policy = find("cleanup.policy");
    assert_eq!(
        (policy.value.as_deref(), policy.config_source, policy.config_type),
        (Some("compact"), 1, 7)
    );
    assert_eq!(policy.synonyms.len(), 2);
    assert!(policy.documentation.is_some());
    assert_eq!(
        (
            find("retention.ms").value.as_deref(),
            find("retention.ms").config_source
        ),
        (Some("60000"), 4)
    );
    assert_eq!(
        (
            find("segment.bytes").value.as_deref(),
            find("segment.bytes").config_source
        ),
        (Some("1073741824"), 5)
    );
    assert_eq!(result.configs.len(), 33);

    request.resources[0].configuration_keys = Some(vec!["retention.ms".into()]);
    assert_eq!(client.call(&request, 1).await.results[0].configs.len(), 1);
    request.resources[0].resource_name = "nowhere".into();
    assert_eq!(
        client.call(&request, 1).await.results[0].error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    request.resources[0] = DescribeConfigsResource {
        resource_type: 4,
        resource_name: "0".into(),
        configuration_keys: None,
    };
    assert!(
        client.call(&request, 4).await.results[0]
            .configs
            .iter()
            .any(|config| config.name == "num.partitions")
    );
    request.resources[0].resource_name = "9".into();
    assert_eq!(
        client.call(&request, 4).await.results[0].error_code,
        ErrorCode::InvalidRequest
    );
}

#[tokio::test]
async fn the_cluster_is_described_as_metadata_tells_it() {
    let (broker, mut client) = pair().await;
    let request = DescribeClusterRequest {
        endpoint_type: 1,
        ..Default::default()
    };
    let cluster = client.call(&request, 2).await;
    assert_eq!(cluster.error_code, ErrorCode::None);
    let metadata = client
        .call(
            &MetadataRequest {
                topics: None,
                ..Default::default()
            },
            12,
        )
        .await;
    assert_eq!(Some(&cluster.cluster_id), metadata.cluster_id.as_ref());
    assert_eq!(
        format!("{}:{}", cluster.brokers[0].host, cluster.brokers[0].port),
        broker.bootstrap()
    );
    let controllers = DescribeClusterRequest {
        endpoint_type: 2,
        ..Default::default()
    };
    assert_eq!(
        client.call(&controllers, 1).await.error_code,
        ErrorCode::MismatchedEndpointType
    );
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_address() {
    let (broker, _client) = pair().await;
    let listener = format!("PLAINTEXT://{}", broker.bootstrap());
    let error = Broker::start(BrokerConfig::embedded().set("listeners", listener).unwrap())
        .await
        .unwrap_err();
    assert!(error.to_string().contains(broker.bootstrap()), "{error}");
}

#[tokio::test]
async fn a_lost_metadata_log_does_not_lose_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 3, &[]).await;
    client.produce("t", 2, batch(&["kept"])).await;
    broker.shutdown().await;
    std::fs::remove_file(dir.path().join("tidemill-metadata.log")).unwrap();
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    assert_eq!(
        values(&client.fetch("t", 2, 0).await.records),
        [(0, "kept".to_string())]
    );
}

/// A request that changes settings of topic `t`, each by a name, an operation and a value.
fn alter(changes: &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let configs = changes.iter().map(|(name, operation, value)| AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    });
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: configs.collect(),
    };
    IncrementalAlterConfigsRequest {
        resources: vec![resource],
        validate_only: false,
    }
}

/// The settings of topic `t` that are its own, not the broker's.
async fn own_settings(client: &mut Client) -> Vec<(String, String)> {
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configuration_keys: None,
    };
    let describe = DescribeConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    let result = client.call(&describe, 4).await.results[0].clone();
    let own = result.configs.iter().filter(|config| config.config_source == 1);
    own.map(|config| {
        (
            config.name.to_string(),
            config.value.as_deref().unwrap().to_string(),
        )
    })
    .collect()
}

#[tokio::test]
async fn settings_are_altered_one_by_one_and_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[("retention.ms", "5")]).await;
    let (set, delete, append) = (0, 1, 2);
    let good = alter(&[
        ("retention.ms", delete, None),
        ("max.message.bytes", set, Some("100")),
        ("cleanup.policy", set, Some("compact")),
    ]);
    assert_eq!(
        client.call(&good, 1).await.responses[0].error_code,
        ErrorCode::None
    );
    for bad in [
        alter(&[("segment.bytes", set, Some("1000")), ("nonsense", set, Some("1"))]),
        alter(&[
            ("segment.bytes", set, Some("1000")),
            ("retention.ms", set, Some("x")),
        ]),
    ] {
        assert_eq!(
            client.call(&bad, 0).await.responses[0].error_code,
            ErrorCode::InvalidConfig
        );
    }
    let bad = alter(&[("retention.ms", append, Some("1"))]);
    assert_eq!(
        client.call(&bad, 1).await.responses[0].error_code,
        ErrorCode::InvalidRequest
    );
    // They hold at once, and after a restart.
    assert_eq!(
        client
            .produce("t", 0, batch(&[&"x".repeat(200)]))
            .await
            .error_code,
        ErrorCode::MessageTooLarge
    );
    broker.abandon().await;
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let own = own_settings(&mut client).await;
    let wanted = [("cleanup.policy", "compact"), ("max.message.bytes", "100")];
    assert_eq!(
        own,
        wanted.map(|(name, value)| (name.to_string(), value.to_string()))
    );
}

#[tokio::test]
async fn deleted_records_stay_deleted_and_log_dirs_tell_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[]).await;
    for value in ["a", "b", "c"] {
        client.produce("t", 0, batch(&[value])).await;
    }
    let delete = |offset| {
        let partitions = vec![DeleteRecordsPartition {
            partition_index: 0,
            offset,
        }];
        let topics = vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions,
        }];
        DeleteRecordsRequest {
            topics,
            timeout_ms: 1000,
        }
    };
    let told = client.call(&delete(2), 2).await.topics[0].partitions[0].clone();
    assert_eq!((told.error_code, told.low_watermark), (ErrorCode::None, 2));
    let told = client.call(&delete(4), 2).await.topics[0].partitions[0].clone();
    assert_eq!(told.error_code, ErrorCode::OffsetOutOfRange);
    broker.abandon().await;
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    assert_eq!(
        client.fetch("t", 0, 1).await.error_code,
        ErrorCode::OffsetOutOfRange
    );
    assert_eq!(
        values(&client.fetch("t", 0, 2).await.records),
        [(2, "c".to_string())]
    );
    assert_eq!(
        client.call(&delete(-1), 0).await.topics[0].partitions[0].low_watermark,
        3
    );
    let dirs = client
        .call(&DescribeLogDirsRequest { topics: None }, 4)
        .await
        .results;
    assert_eq!(dirs.len(), 1);
    assert_eq!(dirs[0].topics[0].partitions.len(), 1);
    assert!(dirs[0].total_bytes >= dirs[0].usable_bytes && dirs[0].usable_bytes > 0);
}

#[tokio::test]
async fn partitions_are_described_in_pages() {
    let (_broker, mut client) = pair().await;
    client.create("a", 3, &[]).await;
    client.create("b", 2, &[]).await;
    let mut request = DescribeTopicPartitionsRequest {
        response_partition_limit: 2,
        ..Default::default()
    };
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = client.call(&request, 0).await;
        for topic in &page.topics {
            let name = topic.name.as_ref().unwrap();
            // Java's admin client fails on a null list of eligible leaders.
            let lists = |one: &DescribeTopicPartitionsResponsePartition| {
                one.eligible_leader_replicas.is_some() && one.last_known_elr.is_some()
            };
            assert!(topic.partitions.iter().all(lists));
            seen.extend(
                topic
                    .partitions
                    .iter()
                    .map(|partition| (name.to_string(), partition.partition_index)),
            );
        }
        request.cursor = page.next_cursor;
    }
    let expected =
        [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)].map(|(name, index)| (name.to_string(), index));
    assert_eq!(seen, expected);
    assert!(request.cursor.is_none());
}
