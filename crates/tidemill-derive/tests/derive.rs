//! What derived formats write and read, and what the compiler says when they cannot be.

use serde::{Deserialize, Serialize};
use tidemill_data::{Data, Presence};
use tidemill_derive::Data;

fn bytes_of(value: &impl Data) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(
        value.encode(&mut out).expect("the value can be written"),
        Presence::Value
    );
    out
}

#[derive(Debug, PartialEq, Data, Serialize, Deserialize)]
#[data(crate = "tidemill_data")]
struct Visit {
    clicks: u32,
    last: Option<String>,
}

#[derive(Debug, PartialEq, Data, Serialize, Deserialize)]
#[data(crate = "tidemill_data")]
struct Reordered {
    last: Option<String>,
    #[serde(default)]
    added: Vec<u8>,
    clicks: u32,
}

#[derive(Debug, PartialEq, Data, Serialize, Deserialize)]
#[data(crate = "tidemill_data")]
enum Shape {
    Point,
    Circle { radius: f64 },
    Pair(i8, i8),
}

#[derive(Debug, PartialEq, Data, Serialize, Deserialize)]
#[data(json)]
#[data(crate = "tidemill_data")]
struct Tagged<T> {
    tag: String,
    inner: T,
}

#[test]
fn fields_go_by_name_so_old_state_survives_reordering_and_addition() {
    let old = bytes_of(&Visit {
        clicks: 3,
        last: Some("a".into()),
    });
    assert_eq!(old, b"\x82\xa6clicks\x03\xa4last\xa1a");
    let new = Reordered::decode(Some(&old)).unwrap();
    assert_eq!(
        new,
        Reordered {
            last: Some("a".into()),
            added: vec![],
            clicks: 3
        }
    );
}

#[test]
fn enums_round_trip() {
    for shape in [Shape::Point, Shape::Circle { radius: 0.5 }, Shape::Pair(-1, 1)] {
        let bytes = bytes_of(&shape);
        assert_eq!(Shape::decode(Some(&bytes)).unwrap(), shape);
    }
}

#[test]
fn json_is_text_and_generic_types_have_formats_too() {
    let value = Tagged {
        tag: "t".into(),
        inner: vec![1, 2],
    };
    let bytes = bytes_of(&value);
    assert_eq!(bytes, br#"{"tag":"t","inner":[1,2]}"#);
    assert_eq!(Tagged::decode(Some(&bytes)).unwrap(), value);
}

#[test]
fn a_null_is_refused_unless_optional() {
    assert!(
        Visit::decode(None)
            .unwrap_err()
            .to_string()
            .contains("use Option<")
    );
    assert_eq!(Option::<Visit>::decode(None).unwrap(), None);
    assert!(Visit::decode(Some(b"\xc1")).is_err());
    assert!(Visit::decode(Some(b"\x80")).is_err());
}

#[test]
fn what_cannot_have_a_format_is_told_what_to_add() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
