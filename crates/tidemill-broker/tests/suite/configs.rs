//! Settings of topics and of the broker: described, changed while it runs, kept over a restart, reloaded.

use crate::support::{Client, pair};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterableConfig as WholeConfig,
};
use tidemill_protocol::messages::api_versions::ApiVersionsRequest;
use tidemill_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use tidemill_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use tidemill_protocol::messages::describe_quorum::{
    DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumTopic,
};
use tidemill_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource as IncrementalResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use tidemill_protocol::messages::list_config_resources::ListConfigResourcesRequest;
use tidemill_protocol::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use tidemill_protocol::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

const OF_TOPIC: i8 = 1;
const OF_THIS_BROKER: i8 = 2;
const OF_ALL_BROKERS: i8 = 3;
const OF_FILE: i8 = 4;
const OF_DEFAULT: i8 = 5;

fn incremental(
    kind: i8,
    name: &str,
    operations: &[(i8, &str, Option<&str>)],
) -> IncrementalAlterConfigsRequest {
    let configs = operations.iter().map(|(operation, name, value)| AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    });
    IncrementalAlterConfigsRequest {
        resources: vec![IncrementalResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.collect(),
        }],
        validate_only: false,
    }
}

async fn alter(
    client: &mut Client,
    kind: i8,
    name: &str,
    operations: &[(i8, &str, Option<&str>)],
) -> (ErrorCode, String) {
    let answer = client.call(&incremental(kind, name, operations), 1).await;
    let response = answer.responses[0].clone();
    let message = response.error_message.map(|message| message.to_string());
    (response.error_code, message.unwrap_or_default())
}

async fn altered(client: &mut Client, kind: i8, name: &str, operations: &[(i8, &str, Option<&str>)]) {
    let (code, message) = alter(client, kind, name, operations).await;
    assert_eq!(code, ErrorCode::None, "{message}");
}

async fn described(client: &mut Client, kind: i8, name: &str) -> Vec<DescribeConfigsResourceResult> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let answer = client.call(&request, 4).await.results[0].clone();
    assert_eq!(answer.error_code, ErrorCode::None, "{:?}", answer.error_message);
    answer.configs
}

async fn setting(client: &mut Client, kind: i8, name: &str, of: &str) -> (String, i8) {
    let all = described(client, kind, name).await;
    let one = all.iter().find(|config| &*config.name == of).unwrap();
    (
        one.value.as_deref().unwrap_or_default().to_string(),
        one.config_source,
    )
}

fn told(value: &str, source: i8) -> (String, i8) {
    (value.to_string(), source)
}

#[tokio::test]
async fn the_brokers_settings_change_while_it_runs_and_stay_changed() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded()
        .with_data_dir(dir.path())
        .set("log.retention.ms", 4)
        .unwrap();
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[]).await;
    client.create("own", 1, &[("retention.ms", "1")]).await;
    assert_eq!(
        setting(&mut client, TOPIC, "t", "retention.ms").await,
        told("4", OF_FILE)
    );
    let set = |value| [(SET, "log.retention.ms", Some(value))];
    altered(&mut client, BROKER, "", &set("3")).await;
    assert_eq!(
        setting(&mut client, TOPIC, "t", "retention.ms").await,
        told("3", OF_ALL_BROKERS)
    );
    altered(&mut client, BROKER, "0", &set("2")).await;
    assert_eq!(
        setting(&mut client, TOPIC, "t", "retention.ms").await,
        told("2", OF_THIS_BROKER)
    );
    assert_eq!(
        setting(&mut client, TOPIC, "own", "retention.ms").await,
        told("1", OF_TOPIC)
    );
    let all = described(&mut client, BROKER, "").await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(
        (all[0].value.as_deref(), all[0].config_source),
        (Some("3"), OF_ALL_BROKERS)
    );

    broker.abandon().await;
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let here = described(&mut client, BROKER, "0").await;
    let one = here
        .iter()
        .find(|config| &*config.name == "log.retention.ms")
        .unwrap();
    let synonyms: Vec<_> = one
        .synonyms
        .iter()
        .map(|s| (s.value.as_deref().unwrap(), s.source))
        .collect();
    assert_eq!(
        synonyms,
        [
            ("2", OF_THIS_BROKER),
            ("3", OF_ALL_BROKERS),
            ("4", OF_FILE),
            ("604800000", OF_DEFAULT)
        ]
    );
    altered(&mut client, BROKER, "0", &[(DELETE, "log.retention.ms", None)]).await;
    altered(&mut client, BROKER, "", &[(DELETE, "log.retention.ms", None)]).await;
    assert_eq!(
        setting(&mut client, TOPIC, "t", "retention.ms").await,
        told("4", OF_FILE)
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn a_changed_default_takes_effect_in_topics_that_are_there() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    altered(
        &mut client,
        BROKER,
        "0",
        &[(SET, "message.max.bytes", Some("100"))],
    )
    .await;
    let large = crate::support::batch(&[&"x".repeat(200)]);
    let answer = client.produce("t", 0, large.clone()).await;
    assert_eq!(answer.error_code, ErrorCode::MessageTooLarge);
    altered(
        &mut client,
        TOPIC,
        "t",
        &[(SET, "max.message.bytes", Some("1000"))],
    )
    .await;
    assert_eq!(client.produce("t", 0, large).await.error_code, ErrorCode::None);
    broker.shutdown().await;
}

/// A change that is refused: of whom, what, with which code, and a word of the message.
type Refused = (
    i8,
    &'static str,
    (i8, &'static str, Option<&'static str>),
    ErrorCode,
    &'static str,
);

#[rustfmt::skip]
const REFUSED: [Refused; 11] = [
    (BROKER, "0", (SET, "log.dirs", Some("/x")), ErrorCode::InvalidRequest, "log.dirs"),
    (BROKER, "0", (DELETE, "listeners", None), ErrorCode::InvalidRequest, "listeners"),
    (BROKER, "0", (SET, "log.retention", Some("1")), ErrorCode::InvalidConfig, "log.retention.ms"),
    (BROKER, "0", (SET, "log.segment.bytes", Some("x")), ErrorCode::InvalidConfig, "log.segment.bytes"),
    (BROKER, "0", (APPEND, "log.segment.bytes", Some("1")), ErrorCode::InvalidRequest, "lists"),
    (BROKER, "7", (SET, "log.segment.bytes", Some("99")), ErrorCode::InvalidRequest, "expected 0"),
    (TOPIC, "t", (SET, "segment.byte", Some("1")), ErrorCode::InvalidConfig, "segment.bytes"),
    (TOPIC, "t", (9, "segment.bytes", Some("1")), ErrorCode::InvalidRequest, "operation"),
    (TOPIC, "t", (SET, "segment.bytes", None), ErrorCode::InvalidRequest, "Null"),
    (TOPIC, "u", (SET, "segment.bytes", Some("99")), ErrorCode::UnknownTopicOrPartition, "u"),
    (32, "g", (SET, "consumer.session.timeout.ms", Some("1")), ErrorCode::InvalidRequest, "32"),
];

#[tokio::test]
async fn what_cannot_be_changed_is_refused_and_named() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    for (kind, name, operation, code, says) in REFUSED {
        let (got, message) = alter(&mut client, kind, name, &[operation]).await;
        assert_eq!(got, code, "{operation:?}: {message}");
        assert!(message.contains(says), "{operation:?}: {message}");
    }
    let twice = [(SET, "segment.ms", Some("1")), (SET, "segment.ms", Some("2"))];
    assert_eq!(
        alter(&mut client, TOPIC, "t", &twice).await.0,
        ErrorCode::InvalidRequest
    );
    let mut request = incremental(TOPIC, "t", &[(SET, "segment.ms", Some("5"))]);
    request.resources.push(request.resources[0].clone());
    let codes: Vec<_> = client
        .call(&request, 1)
        .await
        .responses
        .iter()
        .map(|r| r.error_code)
        .collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest, ErrorCode::InvalidRequest]);
    assert_eq!(setting(&mut client, TOPIC, "t", "segment.ms").await.1, OF_DEFAULT);
    broker.shutdown().await;
}

#[tokio::test]
async fn validating_changes_nothing() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    for (kind, name, key) in [(TOPIC, "t", "retention.ms"), (BROKER, "0", "log.retention.ms")] {
        let mut request = incremental(kind, name, &[(SET, key, Some("5"))]);
        request.validate_only = true;
        assert_eq!(
            client.call(&request, 1).await.responses[0].error_code,
            ErrorCode::None
        );
        assert_eq!(setting(&mut client, kind, name, key).await.1, OF_DEFAULT);
        let mut request = incremental(kind, name, &[(SET, key, Some("soon"))]);
        request.validate_only = true;
        assert_eq!(
            client.call(&request, 1).await.responses[0].error_code,
            ErrorCode::InvalidConfig
        );
        let mut whole = whole(kind, name, &[(key, "5")]);
        whole.validate_only = true;
        assert_eq!(
            client.call(&whole, 2).await.responses[0].error_code,
            ErrorCode::None
        );
        assert_eq!(setting(&mut client, kind, name, key).await.1, OF_DEFAULT);
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn lists_are_appended_to_and_subtracted_from() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    for (kind, name, key) in [(TOPIC, "t", "cleanup.policy"), (BROKER, "", "log.cleanup.policy")] {
        altered(&mut client, kind, name, &[(APPEND, key, Some("compact"))]).await;
        assert_eq!(setting(&mut client, kind, name, key).await.0, "delete,compact");
        altered(&mut client, kind, name, &[(APPEND, key, Some("delete"))]).await;
        assert_eq!(setting(&mut client, kind, name, key).await.0, "compact,delete");
        altered(&mut client, kind, name, &[(SUBTRACT, key, Some("delete"))]).await;
        assert_eq!(setting(&mut client, kind, name, key).await.0, "compact");
    }
    broker.shutdown().await;
}

fn whole(kind: i8, name: &str, configs: &[(&str, &str)]) -> AlterConfigsRequest {
    let configs = configs.iter().map(|(name, value)| WholeConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    });
    AlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.collect(),
        }],
        validate_only: false,
    }
}

#[tokio::test]
async fn alter_configs_takes_back_what_it_does_not_name() {
    let (broker, mut client) = pair().await;
    client
        .create("t", 1, &[("retention.ms", "1"), ("segment.ms", "2")])
        .await;
    for version in 0..=2 {
        let request = whole(TOPIC, "t", &[("segment.ms", "3"), ("flush.ms", "4")]);
        assert_eq!(
            client.call(&request, version).await.responses[0].error_code,
            ErrorCode::None
        );
    }
    assert_eq!(
        setting(&mut client, TOPIC, "t", "retention.ms").await.1,
        OF_DEFAULT
    );
    assert_eq!(
        setting(&mut client, TOPIC, "t", "segment.ms").await,
        told("3", OF_TOPIC)
    );
    assert_eq!(
        setting(&mut client, TOPIC, "t", "flush.ms").await,
        told("4", OF_TOPIC)
    );
    altered(&mut client, BROKER, "", &[(SET, "log.roll.ms", Some("9"))]).await;
    let request = whole(BROKER, "", &[("log.retention.ms", "8")]);
    assert_eq!(
        client.call(&request, 2).await.responses[0].error_code,
        ErrorCode::None
    );
    let left = described(&mut client, BROKER, "").await;
    assert_eq!(
        left.iter().map(|c| &*c.name).collect::<Vec<_>>(),
        ["log.retention.ms"]
    );
    let bad = whole(TOPIC, "t", &[("segment.ms", "3"), ("nonsense", "4")]);
    assert_eq!(
        client.call(&bad, 2).await.responses[0].error_code,
        ErrorCode::InvalidConfig
    );
    assert_eq!(
        setting(&mut client, TOPIC, "t", "flush.ms").await,
        told("4", OF_TOPIC)
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn every_setting_has_a_type_a_source_and_a_sentence() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    for (kind, name, least) in [(TOPIC, "t", 30), (BROKER, "0", 100)] {
        let all = described(&mut client, kind, name).await;
        assert!(all.len() >= least, "{} settings", all.len());
        for config in &all {
            assert!((1..=9).contains(&config.config_type), "{config:?}");
            assert!(
                [OF_FILE, OF_DEFAULT].contains(&config.config_source),
                "{config:?}"
            );
            assert!(
                config
                    .documentation
                    .as_ref()
                    .is_some_and(|text| text.ends_with('.')),
                "{config:?}"
            );
            assert!(!config.is_sensitive || config.value.is_none(), "{config:?}");
        }
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn what_has_settings_is_listed_by_type() {
    let (broker, mut client) = pair().await;
    client.create("b", 1, &[]).await;
    client.create("a", 1, &[]).await;
    let list = async |client: &mut Client, resource_types: &[i8], version| {
        let request = ListConfigResourcesRequest {
            resource_types: resource_types.to_vec(),
        };
        let answer = client.call(&request, version).await;
        let found = answer.config_resources.iter();
        let found: Vec<_> = found
            .map(|one| (one.resource_type, one.resource_name.to_string()))
            .collect();
        (answer.error_code, found)
    };
    let topics = [(TOPIC, "a".to_string()), (TOPIC, "b".to_string())];
    assert_eq!(
        list(&mut client, &[TOPIC], 1).await,
        (ErrorCode::None, topics.to_vec())
    );
    let mut all = topics.to_vec();
    all.push((BROKER, "0".to_string()));
    assert_eq!(list(&mut client, &[], 1).await, (ErrorCode::None, all));
    assert_eq!(list(&mut client, &[], 0).await, (ErrorCode::None, vec![]));
    assert_eq!(list(&mut client, &[77], 1).await.0, ErrorCode::UnsupportedVersion);
    let none = client
        .call(&ListPartitionReassignmentsRequest::default(), 0)
        .await;
    assert_eq!((none.error_code, none.topics.len()), (ErrorCode::None, 0));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_read_again_changes_what_may_change() {
    let config = BrokerConfig::embedded().set("log.retention.ms", 4).unwrap();
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[]).await;
    let edited = config
        .set("log.retention.ms", 5)
        .unwrap()
        .set("num.partitions", 9)
        .unwrap();
    assert_eq!(broker.reload(&edited), ["num.partitions"]);
    assert_eq!(
        setting(&mut client, TOPIC, "t", "retention.ms").await,
        told("5", OF_FILE)
    );
    assert_eq!(
        setting(&mut client, BROKER, "0", "num.partitions").await,
        told("1", OF_DEFAULT)
    );
    assert_eq!(broker.reload(&BrokerConfig::embedded()), [""; 0]);
    assert_eq!(
        setting(&mut client, TOPIC, "t", "retention.ms").await.1,
        OF_DEFAULT
    );
    broker.shutdown().await;
}

const UP: i8 = 1;
const DOWN: i8 = 2;

fn update(feature: &str, level: i16, upgrade_type: i8) -> UpdateFeaturesRequest {
    UpdateFeaturesRequest {
        feature_updates: vec![FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The levels that hold and their epoch, as any client learns them.
async fn levels(client: &mut Client) -> (Vec<(String, i16)>, i64) {
    let asked = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    };
    let told = client.call(&asked, 4).await;
    let finalized = told.finalized_features.iter();
    let levels = finalized.map(|feature| (feature.name.to_string(), feature.max_version_level));
    (levels.collect(), told.finalized_features_epoch)
}

#[tokio::test]
async fn features_are_lowered_and_raised_and_stay_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = || BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let (group, transaction) = ("group.version", "transaction.version");
    let at = |level: i16, name: &str| (name.to_owned(), level);
    assert_eq!(
        levels(&mut client).await,
        (vec![at(1, group), at(2, transaction)], 0)
    );
    let lowered = client.call(&update(group, 0, DOWN), 1).await;
    assert_eq!(
        (lowered.error_code, &*lowered.results[0].feature),
        (ErrorCode::None, group)
    );
    client.call(&update(transaction, 1, DOWN), 2).await;
    assert_eq!(levels(&mut client).await, (vec![at(1, transaction)], 2));
    let joining = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "a".into(),
        rebalance_timeout_ms: 1000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    assert_eq!(
        client.call(&joining, 1).await.error_code,
        ErrorCode::UnsupportedVersion
    );
    broker.abandon().await;

    let broker = Broker::start(config()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    assert_eq!(levels(&mut client).await, (vec![at(1, transaction)], 2));
    let wrong_way = client.call(&update(group, 1, DOWN), 2).await;
    assert_eq!(wrong_way.error_code, ErrorCode::InvalidUpdateVersion);
    client.call(&update(group, 1, UP), 2).await;
    assert_eq!(
        levels(&mut client).await,
        (vec![at(1, group), at(1, transaction)], 3)
    );
    assert_eq!(client.call(&joining, 1).await.error_code, ErrorCode::None);
    broker.shutdown().await;
}

#[tokio::test]
async fn levels_that_cannot_be_are_refused_and_nothing_changes() {
    let (broker, mut client) = pair().await;
    let (group, transaction) = ("group.version", "transaction.version");
    // What cannot be is refused as a whole, and says which feature it was.
    let mut both = update(transaction, 1, DOWN);
    both.feature_updates
        .push(update("metadata.version", 1, UP).feature_updates.remove(0));
    let mut twice = update(transaction, 1, DOWN);
    twice.feature_updates.push(twice.feature_updates[0].clone());
    for (request, code, named) in [
        (both, ErrorCode::InvalidUpdateVersion, "metadata.version"),
        (update(group, 2, UP), ErrorCode::InvalidUpdateVersion, "0 to 1"),
        (update(group, -1, DOWN), ErrorCode::InvalidUpdateVersion, group),
        (
            update(transaction, 1, UP),
            ErrorCode::InvalidUpdateVersion,
            "downgrade",
        ),
        (
            update(group, 0, 9),
            ErrorCode::InvalidUpdateVersion,
            "upgrade type",
        ),
        (twice, ErrorCode::InvalidRequest, "twice"),
    ] {
        let refused = client.call(&request, 2).await;
        assert_eq!(refused.error_code, code, "{request:?}");
        let message = refused.error_message.unwrap();
        assert!(message.contains(named), "{}", &*message);
    }
    let mut checked = update(group, 0, DOWN);
    checked.validate_only = true;
    assert_eq!(client.call(&checked, 2).await.error_code, ErrorCode::None);
    assert_eq!(levels(&mut client).await.1, 0, "nothing has changed");
    broker.shutdown().await;
}

#[tokio::test]
async fn the_metadata_has_a_quorum_of_one() {
    let (broker, mut client) = pair().await;
    let asked = |topic: &str, partition_index| DescribeQuorumRequest {
        topics: vec![DescribeQuorumTopic {
            topic_name: topic.into(),
            partitions: vec![DescribeQuorumPartition { partition_index }],
        }],
    };
    let mut ends = Vec::new();
    for name in ["one", "two"] {
        client.create(name, 1, &[]).await;
        let told = client.call(&asked("__cluster_metadata", 0), 2).await;
        let partition = &told.topics[0].partitions[0];
        assert_eq!(
            (told.error_code, partition.error_code),
            (ErrorCode::None, ErrorCode::None)
        );
        let (voter, node) = (&partition.current_voters[0], &told.nodes[0]);
        assert_eq!(
            (partition.current_voters.len(), partition.observers.len()),
            (1, 0)
        );
        assert_eq!(
            (partition.leader_id, voter.log_end_offset),
            (voter.replica_id, partition.high_watermark)
        );
        assert_eq!(
            (node.node_id, node.listeners[0].port),
            (partition.leader_id, broker.address().port())
        );
        ends.push(partition.high_watermark);
    }
    assert!(ends[0] < ends[1], "{ends:?}");
    for (topic, index) in [("__cluster_metadata", 1), ("one", 0)] {
        let told = client.call(&asked(topic, index), 2).await;
        let code = told.topics[0].partitions[0].error_code;
        assert_eq!(code, ErrorCode::UnknownTopicOrPartition);
    }
    broker.shutdown().await;
}
