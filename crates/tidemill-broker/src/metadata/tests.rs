use uuid::Uuid;

use super::file::{Bad, Durability, MetadataFile, frame, replay};
use super::*;
use crate::settings::Layer;

fn changes() -> Vec<Vec<Change>> {
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let settings = vec![("retention.ms".to_string(), "5".to_string())];
    vec![
        vec![Change::TopicCreated {
            id: a,
            name: "a".into(),
            partitions: 3,
            settings,
        }],
        vec![
            Change::TopicCreated {
                id: b,
                name: "b".into(),
                partitions: 1,
                settings: vec![],
            },
            Change::PartitionsAdded { id: b, partitions: 4 },
        ],
        vec![Change::TopicSetting {
            id: a,
            name: "cleanup.policy".into(),
            value: Some("compact".into()),
        }],
        vec![Change::TopicSetting {
            id: a,
            name: "retention.ms".into(),
            value: None,
        }],
        vec![Change::ProducerIds { next: 1000 }],
        vec![
            Change::BrokerSetting {
                layer: Layer::Everywhere,
                name: "log.retention.ms".into(),
                value: Some("7".into()),
            },
            Change::BrokerSetting {
                layer: Layer::Here,
                name: "log.retention.ms".into(),
                value: None,
            },
        ],
        vec![Change::TopicDeleted { id: b }],
    ]
}

/// The bytes of all frames, and where each ends.
fn bytes() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = b"TMMETA\0\x01".to_vec();
    let mut ends = vec![bytes.len()];
    for group in changes() {
        bytes.extend(frame(&group));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

#[test]
fn changes_replay_to_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let (image, good) = MetadataFile::read(dir.path()).unwrap();
    assert_eq!((&image, good), (&Image::default(), 0));
    let mut file = MetadataFile::open(dir.path(), image, good, Durability::Synced).unwrap();
    for group in changes() {
        file.append(&group).unwrap();
    }
    let (image, good) = MetadataFile::read(dir.path()).unwrap();
    assert_eq!(&image, file.image());
    assert_eq!(good, bytes().0.len());
    assert_eq!(image.topics.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(
        image.topics["a"].settings.iter().collect::<Vec<_>>(),
        [("cleanup.policy", "compact")]
    );
    assert_eq!(image.producer_id_next, 1000);
    assert!(image.deleted.contains(&Uuid::from_u128(2)));
}

#[test]
fn a_file_cut_at_any_byte_gives_every_frame_that_is_whole() {
    let (bytes, ends) = bytes();
    for cut in 0..=bytes.len() {
        let (image, good) = replay(&bytes[..cut]).unwrap();
        let expected = ends.iter().rev().find(|end| **end <= cut).copied().unwrap_or(0);
        assert_eq!(good, expected, "cut at {cut}");
        assert_eq!(image, replay(&bytes[..expected]).unwrap().0);
    }
}

#[test]
fn a_flipped_byte_is_reported_before_the_last_frame_and_cut_off_in_it() {
    let (bytes, ends) = bytes();
    let last = ends[ends.len() - 2];
    for at in 8..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let frame_start = *ends.iter().rev().find(|end| **end <= at).unwrap();
        match replay(&damaged) {
            Ok((_, good)) => assert_eq!((good, frame_start), (last, last), "byte {at}"),
            Err(bad) => {
                assert_eq!(bad, Bad::DamagedAt(frame_start), "byte {at}");
                assert!(frame_start < last);
            }
        }
    }
}

#[test]
fn zeros_behind_the_last_frame_are_cut_off_and_a_foreign_file_is_refused() {
    let (mut bytes, _) = bytes();
    let good = bytes.len();
    bytes.extend([0; 100]);
    assert_eq!(replay(&bytes).unwrap().1, good);
    assert_eq!(replay(b"something else").unwrap_err(), Bad::Foreign);
}

#[test]
fn a_change_of_a_newer_version_is_refused_and_never_cut_off() {
    let (mut bytes, ends) = bytes();
    let payload = [99, 1, 2, 3];
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(crc32c::crc32c(&payload).to_be_bytes());
    bytes.extend(payload);
    assert_eq!(replay(&bytes).unwrap_err(), Bad::UnknownAt(*ends.last().unwrap()));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_an_image_or_an_error(
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        cut in 0usize..200,
        bend in 0usize..200,
    ) {
        let (mut bytes, _) = bytes();
        bytes.truncate(bytes.len().saturating_sub(cut));
        let at = bend % bytes.len();
        bytes[at] ^= 0x55;
        bytes.extend(tail);
        if let Ok((_, good)) = replay(&bytes) {
            proptest::prop_assert!(good <= bytes.len());
        }
    }
}
