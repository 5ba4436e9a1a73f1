//! Records that are small on the wire and large in memory, or say that they are.

use bytes::Bytes;
use tidemill_protocol::ErrorCode;
use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;

use crate::support::{Client, batch_with};
use crate::{MEMORY, healthy, is_healthy};

/// What a batch may hold uncompressed is 100 MiB.
const TOO_MUCH: usize = 120 << 20;

/// The most memory this process has had in use since `forget_peak`.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Where a system cannot, an earlier peak hides smaller ones.
fn forget_peak() {
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}

/// A batch of one record whose compressed records are `payload`, with lengths and checksum as they should be.
fn with_payload(codec: Compression, payload: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(1000, Some(b"key"), Some(b"value"), []);
    let mut bytes = builder.build()[..61].to_vec();
    bytes.extend_from_slice(payload);
    bytes[21..23].copy_from_slice(&codec.id().to_be_bytes());
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// One raw Snappy block of `len` equal bytes: a literal, and copies of 64 bytes in three.
fn raw_snappy(len: usize) -> Vec<u8> {
    let mut bytes = varint(len);
    bytes.extend_from_slice(&[0, b'x']);
    for _ in 0..(len - 1) / 64 {
        bytes.extend_from_slice(&[0xfe, 1, 0]);
    }
    let rest = (len - 1) % 64;
    if rest > 0 {
        bytes.extend_from_slice(&[((rest as u8 - 1) << 2) | 2, 1, 0]);
    }
    bytes
}

fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![
        0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
    ];
    for block in blocks {
        bytes.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(block);
    }
    bytes
}

async fn compacted(client: &mut Client) {
    let configs = [("cleanup.policy", "compact"), ("max.message.bytes", "50000000")];
    client.create("compacted", 1, &configs).await;
}

#[tokio::test]
async fn decompression_bombs_are_refused() {
    let _alone = MEMORY.lock().await;
    let (broker, mut client) = healthy().await;
    compacted(&mut client).await;
    let mut bombs = Vec::new();
    for codec in [
        Compression::Zstd,
        Compression::Gzip,
        Compression::Lz4,
        Compression::Snappy,
    ] {
        let mut builder = BatchBuilder::new(codec);
        builder.push(1000, Some(b"key"), Some(&vec![0; TOO_MUCH]), []);
        let bomb = builder.build();
        assert!(bomb.len() < TOO_MUCH / 15, "{codec:?}: {} bytes", bomb.len());
        bombs.push((format!("{codec:?}"), bomb));
    }
    let block = raw_snappy(1 << 20);
    bombs.push((
        "raw Snappy".into(),
        with_payload(Compression::Snappy, &raw_snappy(TOO_MUCH)),
    ));
    bombs.push((
        "Snappy in blocks".into(),
        with_payload(Compression::Snappy, &xerial(&[&block[..]; TOO_MUCH >> 20])),
    ));
    for (name, bomb) in bombs {
        forget_peak();
        let before = peak_bytes();
        let refused = client.produce("compacted", 0, bomb).await;
        assert_eq!(refused.error_code, ErrorCode::InvalidRecord, "{name}");
        let grown = peak_bytes().saturating_sub(before);
        assert!(grown < 250 << 20, "{name}: {grown} bytes");
        is_healthy(&mut client, "after").await;
    }
    let good = client
        .produce("compacted", 0, batch_with(Compression::Snappy, &["good"]))
        .await;
    assert_eq!((good.error_code, good.base_offset), (ErrorCode::None, 0));
    broker.shutdown().await;
}

#[tokio::test]
async fn lengths_that_compressed_records_announce_and_do_not_have_cost_nothing() {
    let _alone = MEMORY.lock().await;
    let (broker, mut client) = healthy().await;
    compacted(&mut client).await;
    let lie = |len: usize| [varint(len), vec![0, b'x']].concat();
    // As much as is allowed, and as much as the format can say.
    for announced in [90 << 20, u32::MAX as usize] {
        let raw = lie(announced);
        let payloads = [raw.clone(), xerial(&[&raw]), xerial(&[&raw[..]; 50])];
        for payload in payloads {
            let bomb = with_payload(Compression::Snappy, &payload);
            forget_peak();
            let before = peak_bytes();
            for _ in 0..20 {
                let refused = client.produce("compacted", 0, bomb.clone()).await;
                assert_eq!(refused.error_code, ErrorCode::InvalidRecord);
            }
            let grown = peak_bytes().saturating_sub(before);
            assert!(grown < 40 << 20, "{grown} bytes for {} sent", bomb.len());
        }
    }
    // A zstd frame whose header announces 2^62 bytes, an LZ4 frame with the largest blocks, a cut gzip header.
    let zstd = [
        &[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..],
        &(1u64 << 62).to_le_bytes(),
        &[1, 0, 0],
    ]
    .concat();
    let lz4 = [
        0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 0xff, 0xff, 0xff, 0x7f, 0,
    ];
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for (codec, payload) in [
        (Compression::Zstd, &zstd[..]),
        (Compression::Lz4, &lz4),
        (Compression::Gzip, &gzip),
    ] {
        forget_peak();
        let before = peak_bytes();
        let refused = client.produce("compacted", 0, with_payload(codec, payload)).await;
        assert_eq!(refused.error_code, ErrorCode::InvalidRecord, "{codec:?}");
        let grown = peak_bytes().saturating_sub(before);
        assert!(grown < 40 << 20, "{codec:?}: {grown} bytes");
    }
    is_healthy(&mut client, "after").await;
    broker.shutdown().await;
}
