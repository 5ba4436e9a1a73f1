//! Lengths, counts and varints that say more, or less than nothing; messages cut off anywhere.

use bytes::Bytes;
use proptest::prelude::*;
use tidemill_protocol::ApiKey;

use crate::apis::{codecs, every_message, schema};
use crate::random::{Form, Generated, Length, Making, varint};

/// What may stand in place of a length with `left` bytes behind it and is a lie in every case.
fn lies(form: Form, left: usize) -> Vec<Vec<u8>> {
    let compact = |value: u64| {
        let mut bytes = Vec::new();
        varint(value, &mut bytes);
        bytes
    };
    let left = left as u64;
    match form {
        Form::Compact => vec![
            compact(left + 2),
            compact(u64::from(u32::MAX)),
            compact(1 << 35),
            vec![0x80; 5],
            vec![0xff, 0xff, 0xff, 0xff, 0x1f],
        ],
        Form::Plain => vec![
            compact(left + 1),
            compact(u64::from(u32::MAX)),
            compact(1 << 35),
            vec![0xff; 9],
        ],
        Form::Fixed16 => {
            let more = i16::try_from(left + 1).unwrap_or(i16::MAX);
            [more, i16::MAX, -2, i16::MIN]
                .map(|lie| lie.to_be_bytes().to_vec())
                .to_vec()
        }
        Form::Fixed32 => [left as i32 + 1, i32::MAX, -2, i32::MIN]
            .map(|lie| lie.to_be_bytes().to_vec())
            .to_vec(),
    }
}

fn with_lie(made: &Generated, length: Length, lie: &[u8]) -> Bytes {
    Bytes::from([&made.bytes[..length.start], lie, &made.bytes[length.end..]].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn every_length_that_lies_is_an_error(seed in any::<u64>()) {
        for (key, side, version) in every_message() {
            let made = Making { strays: true, ..Making::new(&schema(key), version, seed) }.message(side);
            for length in &made.lengths {
                for lie in lies(length.form, made.bytes.len() - length.end) {
                    let bytes = with_lie(&made, *length, &lie);
                    let decoded = (codecs(key, side).ours)(&bytes, version);
                    prop_assert!(decoded.is_err(), "{key:?} {side:?} {version}, {length:?} became {lie:?}");
                }
            }
        }
    }

    #[test]
    fn every_message_that_is_cut_off_is_an_error(seed in any::<u64>()) {
        for (key, side, version) in every_message() {
            let made = Making { bytes_max: 9, ..Making::new(&schema(key), version, seed) }.message(side);
            let whole = Bytes::from(made.bytes);
            for cut in 0..whole.len() {
                let decoded = (codecs(key, side).ours)(&whole.slice(..cut), version);
                prop_assert!(decoded.is_err(), "{key:?} {side:?} {version} cut at {cut} of {}", whole.len());
            }
        }
    }
}

#[test]
fn versions_we_do_not_have_are_refused() {
    for key in ApiKey::ALL {
        for version in [-1, key.versions().start() - 1, key.versions().end() + 1, i16::MAX] {
            for side in [crate::apis::Side::Request, crate::apis::Side::Response] {
                let decoded = (codecs(key, side).ours)(&Bytes::from(vec![0; 200]), version);
                let refused = Err(tidemill_protocol::DecodeError::Version { api: key, version });
                assert_eq!(decoded, refused, "{key:?} {side:?}");
            }
        }
    }
}

#[test]
fn a_known_tagged_field_that_is_longer_than_its_content_is_refused() {
    // ApiVersions response 3: no error, no keys, no throttling, one tagged field: the finalized features' epoch, in 9 bytes for 8.
    let lie = Bytes::from_static(&[0, 0, 1, 0, 0, 0, 0, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 5, 99]);
    let decoded = (codecs(ApiKey::ApiVersions, crate::apis::Side::Response).ours)(&lie, 3);
    assert_eq!(
        decoded,
        Err(tidemill_protocol::DecodeError::Tagged {
            tag: 1,
            size: 9,
            used: 8
        })
    );
}
