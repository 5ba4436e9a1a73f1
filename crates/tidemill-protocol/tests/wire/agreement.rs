//! Byte for byte: what the schemas say, what we do, what the `kafka-protocol` crate does.

use bytes::Bytes;
use proptest::prelude::*;

use crate::apis::{codecs, every_message, schema};
use crate::random::Making;

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

#[test]
fn the_other_codec_knows_all_but_these_versions() {
    // So that a change of ranges cannot empty the comparison in silence.
    let alone = |key, side, version: i16| !codecs(key, side).their_versions.contains(&version);
    let ours_only: Vec<_> = every_message()
        .filter(|(key, side, version)| alone(*key, *side, *version))
        .collect();
    let names: Vec<String> = ours_only
        .iter()
        .map(|(key, side, version)| format!("{key:?}{side:?} {version}"))
        .collect();
    assert_eq!(names, OURS_ONLY);
}

/// The versions that the other codec does not have.
const OURS_ONLY: [&str; 14] = [
    "ListOffsetsRequest 11",
    "ListOffsetsResponse 11",
    "OffsetCommitRequest 10",
    "OffsetFetchRequest 10",
    "CreateTopicsRequest 0",
    "CreateTopicsRequest 1",
    "CreateTopicsResponse 0",
    "CreateTopicsResponse 1",
    "DeleteTopicsRequest 0",
    "DeleteTopicsResponse 0",
    "WriteTxnMarkersRequest 2",
    "WriteTxnMarkersResponse 2",
    "DescribeLogDirsRequest 5",
    "DescribeLogDirsResponse 5",
];

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn every_message_of_every_version_is_the_same_bytes(seed in any::<u64>()) {
        for key in tidemill_protocol::ApiKey::ALL {
            let api = schema(key);
            for (key, side, version) in every_message().filter(|(each, ..)| *each == key) {
                let made = Making { bytes_max: 6_000, ..Making::new(&api, version, seed) }.message(side);
                let bytes = Bytes::from(made.bytes);
                let codecs = codecs(key, side);
                let ours = (codecs.ours)(&bytes, version);
                prop_assert_eq!(ours.as_deref(), Ok(&bytes[..]), "ours, {:?} {:?} {}", key, side, version);
                if codecs.their_versions.contains(&version) {
                    let theirs = (codecs.theirs)(&bytes, version);
                    prop_assert_eq!(&theirs[..], &bytes[..], "theirs, {:?} {:?} {}", key, side, version);
                }
            }
        }
    }

    #[test]
    fn unknown_tagged_fields_are_skipped(seed in any::<u64>()) {
        for key in tidemill_protocol::ApiKey::ALL {
            let api = schema(key);
            for (key, side, version) in every_message().filter(|(each, ..)| *each == key) {
                let bytes = Bytes::from(Making { strays: true, ..Making::new(&api, version, seed) }.message(side).bytes);
                let codecs = codecs(key, side);
                let without = (codecs.ours)(&bytes, version);
                prop_assert!(without.is_ok(), "{:?} {:?} {}: {:?}", key, side, version, without);
                let without = Bytes::from(without.unwrap());
                prop_assert!(without.len() <= bytes.len());
                prop_assert_eq!((codecs.ours)(&without, version), Ok(without.to_vec()));
            }
        }
    }
}
