//! Committed offsets that nobody needs any more.

use std::path::Path;
use std::time::Duration;

use super::*;
use tidemill_coordinator::{CommittedOffset, GroupMetadata, Timestamp};
use tidemill_protocol::batch::{BatchBuilder, Batches, Record};

const EIGHT_DAYS_MS: i64 = 8 * 24 * 3_600_000;
/// The only partition of `__consumer_offsets` in these tests.
const OFFSETS_LOG: &str = "__consumer_offsets-0/00000000000000000000.log";

fn config(dir: &Path) -> BrokerConfig {
    let config = BrokerConfig::embedded().with_data_dir(dir);
    config.set("offsets.topic.num.partitions", 1).unwrap()
}

/// The same, looking for what has expired as often as it can.
fn tidy(dir: &Path) -> BrokerConfig {
    config(dir).set("offsets.retention.check.interval.ms", 1).unwrap()
}

async fn group_names(client: &mut Client) -> Vec<String> {
    let listed = client.call(&ListGroupsRequest::default(), 5).await;
    let mut names: Vec<_> = listed
        .groups
        .iter()
        .map(|group| group.group_id.to_string())
        .collect();
    names.sort();
    names
}

/// The topics in which a group has committed offsets.
async fn topics_of(client: &mut Client, group: &str) -> Vec<String> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    let topics = client.call(&request, 8).await.groups[0].topics.clone();
    let mut names: Vec<_> = topics.iter().map(|topic| topic.name.to_string()).collect();
    names.sort();
    names
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect(what);
}

/// Makes a stopped broker's offsets and groups whose names begin with `old` eight days older than they are.
fn let_time_pass(dir: &Path) {
    let path = dir.join(OFFSETS_LOG);
    let bytes = std::fs::read(&path).unwrap();
    let mut aged = Vec::new();
    for batch in Batches::new(&bytes) {
        let batch = batch.unwrap();
        let mut rewritten = BatchBuilder::rewriting(batch.header(), None).unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        for record in batch.records(&payload) {
            let record = record.unwrap();
            let value = aged_value(&record).or(record.value.map(Bytes::copy_from_slice));
            rewritten.push_at(record.offset, record.timestamp, record.key, value.as_deref(), []);
        }
        aged.extend_from_slice(&rewritten.build());
    }
    assert_ne!(aged, bytes, "something was aged");
    std::fs::write(&path, aged).unwrap();
}

/// The value of an offset or a group of such a name, as of eight days before.
fn aged_value(record: &Record<'_>) -> Option<Bytes> {
    let (key, value) = (record.key?, record.value?);
    let (kind, name) = key.split_at(2);
    // A text: its length, and its letters.
    if !name[2..].starts_with(b"old") {
        return None;
    }
    let earlier = |at: Timestamp| Timestamp(at.0 - EIGHT_DAYS_MS);
    if kind == [0, 2] {
        let mut group = GroupMetadata::decode(value).unwrap();
        group.since = group.since.map(earlier);
        return Some(group.encode());
    }
    let mut offset = CommittedOffset::decode(value).unwrap();
    offset.committed_at = earlier(offset.committed_at);
    Some(offset.encode())
}

async fn leave(client: &mut Client, group: &str, member: &JoinGroupResponse) {
    let leave = LeaveGroupRequest {
        group_id: group.into(),
        members: vec![MemberIdentity {
            member_id: member.member_id.clone(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let left = client.call(&leave, 5).await;
    assert_eq!(left.members[0].error_code, ErrorCode::None);
}

#[tokio::test]
async fn offsets_go_a_week_after_their_group_was_last_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(config(dir.path())).await.unwrap();
    let mut client = Client::connect(&broker).await;
    for topic in ["tides", "waves"] {
        client.create(topic, 1, &[]).await;
    }
    // Two groups that had members, and two that never had any.
    for group in ["old-members", "young-members"] {
        let (joined, _) = form(&mut client, group).await;
        let answer = client.call(&commit(group, "tides", 5, Some(&joined)), 9).await;
        assert_eq!(codes(&answer), [ErrorCode::None]);
        leave(&mut client, group, &joined).await;
    }
    for group in ["old-tool", "young-tool"] {
        let answer = client.call(&commit(group, "waves", 6, None), 9).await;
        assert_eq!(codes(&answer), [ErrorCode::None]);
    }
    broker.shutdown().await;
    let_time_pass(dir.path());

    let broker = Broker::start(tidy(dir.path())).await.unwrap();
    let mut client = Client::connect(&broker).await;
    until("the old groups go", async || {
        !group_names(&mut client)
            .await
            .iter()
            .any(|name| name.starts_with("old"))
    })
    .await;
    assert_eq!(group_names(&mut client).await, ["young-members", "young-tool"]);
    assert_eq!(topics_of(&mut client, "young-members").await, ["tides"]);
    assert_eq!(topics_of(&mut client, "young-tool").await, ["waves"]);
    assert!(topics_of(&mut client, "old-members").await.is_empty());
    assert!(topics_of(&mut client, "old-tool").await.is_empty());
    broker.shutdown().await;

    // What was forgotten is forgotten in the log too.
    let broker = Broker::start(config(dir.path())).await.unwrap();
    let mut client = Client::connect(&broker).await;
    assert_eq!(topics_of(&mut client, "old-members").await, [""; 0]);
    assert_eq!(group_names(&mut client).await, ["young-members", "young-tool"]);
    broker.shutdown().await;
}

#[tokio::test]
async fn offsets_go_when_their_client_said_unless_a_member_reads_the_topic() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(tidy(dir.path())).await.unwrap();
    let mut client = Client::connect(&broker).await;
    for topic in ["tides", "waves"] {
        client.create(topic, 1, &[]).await;
    }
    // Versions 2 to 4 say how long each offset is kept.
    let (joined, _) = form(&mut client, "g").await;
    for topic in ["tides", "waves"] {
        let mut request = commit("g", topic, 5, Some(&joined));
        request.retention_time_ms = 1;
        assert_eq!(codes(&client.call(&request, 4).await), [ErrorCode::None]);
    }
    until(
        "the offset of a topic that the member does not read goes",
        async || topics_of(&mut client, "g").await == ["tides"],
    )
    .await;
    leave(&mut client, "g", &joined).await;
    until(
        "the other goes with the member, and the group with it",
        async || group_names(&mut client).await.is_empty(),
    )
    .await;
    assert!(topics_of(&mut client, "g").await.is_empty());
    broker.shutdown().await;
}
