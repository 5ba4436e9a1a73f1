//! Peers that are slow, broken or malicious: the broker's memory stays bounded, and a healthy client beside them does
//! not notice. A program of its own, because these tests measure their process and hold thousands of connections.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

#[path = "../suite/support/mod.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod support;

mod bombs;
mod extremes;

use crate::support::{Client, batch, create_request, fetch_request, pair, produce_request, values};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use tidemill_protocol::{ErrorCode, request_frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Held by tests that measure the process's memory, or take much of it.
static MEMORY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The memory that this process has in use.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// A record goes in and comes out.
async fn is_healthy(client: &mut Client, value: &str) {
    let produced = client.produce("healthy", 0, batch(&[value])).await;
    assert_eq!(produced.error_code, ErrorCode::None);
    let found = values(&client.fetch("healthy", 0, produced.base_offset).await.records);
    assert_eq!(found, [(produced.base_offset, value.to_string())]);
}

async fn healthy() -> (Broker, Client) {
    let (broker, mut client) = pair().await;
    client.create("healthy", 1, &[]).await;
    is_healthy(&mut client, "before").await;
    (broker, client)
}

#[tokio::test]
async fn half_frames_cost_what_they_sent_and_not_what_they_announced() {
    let _alone = MEMORY.lock().await;
    let (broker, mut client) = healthy().await;
    let before = resident_bytes();
    let mut peers = Vec::new();
    for n in 0..200 {
        let mut peer = TcpStream::connect(broker.address()).await.unwrap();
        let announced: i32 = 100 << 20;
        peer.write_all(&announced.to_be_bytes()).await.unwrap();
        peer.write_all(&[0; 1000]).await.unwrap();
        peers.push(peer);
        if n % 50 == 0 {
            is_healthy(&mut client, &n.to_string()).await;
        }
    }
    is_healthy(&mut client, "after").await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 300 << 20, "{grown} bytes for 20 GB announced");
    drop(peers);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_request_that_arrives_byte_by_byte_is_answered() {
    let (broker, mut client) = healthy().await;
    let mut slow = Client::connect(&broker).await;
    let request = fetch_request("healthy", 0, 0);
    let frame = request_frame(&request, 11, 1, None).unwrap().into_bytes();
    for byte in frame.iter() {
        slow.write(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    is_healthy(&mut client, "meanwhile").await;
    assert!(slow.frame().await.is_some());
    broker.shutdown().await;
}

#[tokio::test]
async fn peers_that_ask_and_never_read_hold_only_their_own_answers() {
    let _alone = MEMORY.lock().await;
    let (broker, mut client) = healthy().await;
    let large = "x".repeat(500_000);
    client.produce("healthy", 0, batch(&[&large])).await;
    let before = resident_bytes();
    let mut peers = Vec::new();
    for _ in 0..20 {
        let peer = TcpStream::connect(broker.address()).await.unwrap();
        for number in 0..200 {
            let frame = request_frame(&fetch_request("healthy", 0, 0), 11, number, None);
            // Once the broker stops reading, the rest does not fit the socket: a flood ends where it began.
            if peer.try_write(&frame.unwrap().into_bytes()).is_err() {
                break;
            }
        }
        peers.push(peer);
    }
    for n in 0..20 {
        is_healthy(&mut client, &n.to_string()).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 300 << 20, "{grown} bytes for 2 GB of answers");
    drop(peers);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_pipelined_flood_is_answered_in_order_beside_others() {
    let (broker, mut client) = healthy().await;
    let mut flood = Client::connect(&broker).await;
    let mut frames = Vec::new();
    for number in 0..3000 {
        let request = MetadataRequest::default();
        frames.extend_from_slice(&request_frame(&request, 9, number, None).unwrap().into_bytes());
    }
    flood.write(&frames).await;
    is_healthy(&mut client, "meanwhile").await;
    for number in 0..3000 {
        let frame = flood.frame().await.unwrap();
        assert_eq!(frame[..4], i32::to_be_bytes(number));
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn thousands_of_idle_connections_are_held_and_closed() {
    let _alone = MEMORY.lock().await;
    let (broker, mut client) = healthy().await;
    let limit = std::fs::read_to_string("/proc/self/limits").unwrap();
    let limit = limit
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let limit: usize = limit.split_whitespace().nth(3).unwrap().parse().unwrap_or(10_000);
    // Both ends of each are in this process.
    let count = 5000.min(limit.saturating_sub(500) / 2);
    let before = resident_bytes();
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        idle.push(TcpStream::connect(broker.address()).await.unwrap());
    }
    is_healthy(&mut client, "beside them").await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < count * 64 * 1024, "{grown} bytes for {count} connections");
    drop(idle);
    is_healthy(&mut client, "after them").await;
    broker.shutdown().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let config = BrokerConfig::embedded()
        .set("connections.max.idle.ms", 200)
        .unwrap();
    let broker = Broker::start(config).await.unwrap();
    let mut idle = Client::connect(&broker).await;
    let mut half = Client::connect(&broker).await;
    half.write(&[0, 0, 1]).await;
    let mut busy = Client::connect(&broker).await;
    // The busy one asks until both others are closed, so it lives longer than they did.
    let closed = async {
        assert!(idle.frame().await.is_none());
        assert!(half.frame().await.is_none());
    };
    tokio::pin!(closed);
    let request = MetadataRequest::default();
    loop {
        tokio::select! {
            () = &mut closed => break,
            _ = busy.call(&request, 9) => {}
        }
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn connections_from_one_address_are_bounded() {
    let config = BrokerConfig::embedded().set("max.connections.per.ip", 2).unwrap();
    let broker = Broker::start(config).await.unwrap();
    let mut first = Client::connect(&broker).await;
    first.create("healthy", 1, &[]).await;
    let mut second = Client::connect(&broker).await;
    second.call(&MetadataRequest::default(), 9).await;
    let mut third = Client::connect(&broker).await;
    assert!(third.frame().await.is_none(), "the broker closes it");
    is_healthy(&mut first, "still here").await;
    broker.shutdown().await;
}

#[tokio::test]
async fn large_requests_wait_for_memory_and_small_ones_do_not() {
    let config = BrokerConfig::embedded()
        .set("queued.max.request.bytes", 1 << 20)
        .unwrap();
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client
        .create("healthy", 1, &[("max.message.bytes", "10000000")])
        .await;
    let large = produce_request("healthy", 0, batch(&[&"x".repeat(800_000)]), 1);
    let mut half = TcpStream::connect(broker.address()).await.unwrap();
    let frame = request_frame(&large, 9, 1, None).unwrap().into_bytes();
    half.write_all(&frame[..400_000]).await.unwrap();
    is_healthy(&mut client, "small").await;
    let mut waiting = Client::connect(&broker).await;
    let mut both = Box::pin(waiting.call(&large, 9));
    for n in 0..20 {
        assert!(
            futures::poll!(&mut both).is_pending(),
            "the first one holds the memory"
        );
        is_healthy(&mut client, &n.to_string()).await;
    }
    // The one that stalls goes, and with it what it held.
    drop(half);
    assert_eq!(
        both.await.responses[0].partition_responses[0].error_code,
        ErrorCode::None
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn counts_and_lengths_that_lie_close_their_connection_only() {
    let _alone = MEMORY.lock().await;
    let (broker, mut client) = healthy().await;
    let before = resident_bytes();
    for version in [4, 9] {
        let whole = request_frame(&create_request("healthy", 1, &[]), 5, 1, None).unwrap();
        let mut bytes = whole.into_bytes().to_vec();
        // Every four bytes behind the header once, as the largest count there is.
        for at in 14..bytes.len() - 4 {
            let mut lying = bytes.clone();
            lying[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
            let mut peer = TcpStream::connect(broker.address()).await.unwrap();
            peer.write_all(&lying).await.unwrap();
        }
        bytes[6..8].copy_from_slice(&i16::to_be_bytes(version));
        TcpStream::connect(broker.address())
            .await
            .unwrap()
            .write_all(&bytes)
            .await
            .unwrap();
        is_healthy(&mut client, "meanwhile").await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes");
    broker.shutdown().await;
}

#[tokio::test]
async fn names_that_are_paths_make_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner/data");
    let config = BrokerConfig::embedded().with_data_dir(&inner);
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    for name in [
        "..",
        ".",
        "../up",
        "a/b",
        "/tmp/x",
        "a\\b",
        "a\0b",
        "",
        "a b",
        "ä",
        "..-0/..",
        &"n".repeat(250),
    ] {
        let answer = client.call(&create_request(name, 1, &[]), 5).await;
        assert_eq!(
            answer.topics[0].error_code,
            ErrorCode::InvalidTopicException,
            "{name:?}"
        );
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.into()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let answer = client.call(&request, 9).await;
        assert_eq!(
            answer.topics[0].error_code,
            ErrorCode::InvalidTopicException,
            "{name:?}"
        );
        let refused = client.produce(name, 0, batch(&["a"])).await;
        assert_eq!(refused.error_code, ErrorCode::UnknownTopicOrPartition);
    }
    let names = |path: &std::path::Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!((names(dir.path()), names(&dir.path().join("inner"))), (1, 1));
    let is_folder = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_type().unwrap().is_dir();
    assert_eq!(
        std::fs::read_dir(&inner)
            .unwrap()
            .map(is_folder)
            .filter(|is| *is)
            .count(),
        0
    );
    broker.shutdown().await;
}
