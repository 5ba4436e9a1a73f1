//! The built-in formats, byte for byte, and what they refuse.

use proptest::prelude::*;

use super::*;

fn bytes_of(value: &impl Data) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match value.encode(&mut out).unwrap() {
        Presence::Null => None,
        Presence::Value => Some(out),
    }
}

fn check<T: Data + PartialEq + std::fmt::Debug>(value: T, expected: Option<&[u8]>) {
    assert_eq!(bytes_of(&value).as_deref(), expected, "{value:?}");
    assert_eq!(T::decode(expected).unwrap(), value);
}

#[test]
fn bytes_are_those_of_kafkas_serializers() {
    check(String::from("grüße"), Some("grüße".as_bytes()));
    check(String::new(), Some(b""));
    check(vec![0_u8, 255], Some(&[0, 255]));
    check(Bytes::from_static(b"x"), Some(b"x"));
    check(-2_i16, Some(&[0xff, 0xfe]));
    check(1_i32, Some(&[0, 0, 0, 1]));
    check(i64::MIN, Some(&[0x80, 0, 0, 0, 0, 0, 0, 0]));
    check(1.0_f32, Some(&[0x3f, 0x80, 0, 0]));
    check(-2.0_f64, Some(&[0xc0, 0, 0, 0, 0, 0, 0, 0]));
    check(true, Some(&[1]));
    check(
        Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        Some(b"01234567-89ab-cdef-0123-456789abcdef"),
    );
    check((), None);
    check(None::<i32>, None);
    check(Some(3_i32), Some(&[0, 0, 0, 3]));
    check(Some(String::new()), Some(b""));
}

#[test]
fn a_null_is_an_error_that_names_the_way_out() {
    let message = String::decode(None).unwrap_err().to_string();
    assert!(message.contains("use Option<alloc::string::String>"), "{message}");
    assert!(matches!(i64::decode(None), Err(DecodeError::Null { .. })));
    assert!(matches!(
        <()>::decode(Some(b"x")),
        Err(DecodeError::NotNull { got: 1 })
    ));
}

#[test]
fn bytes_that_are_no_such_value_are_refused() {
    assert!(matches!(
        i32::decode(Some(&[1, 2, 3])),
        Err(DecodeError::Length {
            expected: 4,
            got: 3,
            ..
        })
    ));
    assert!(String::decode(Some(&[0xff])).is_err());
    assert!(bool::decode(Some(&[2])).is_err());
    assert!(bool::decode(Some(&[])).is_err());
    assert!(Uuid::decode(Some(b"not a uuid")).is_err());
}

proptest! {
    #[test]
    fn encoding_appends_and_decodes_again(a: i64, b: f64, c: String, d: Vec<u8>, e: Option<i16>) {
        prop_assert_eq!(i64::decode(bytes_of(&a).as_deref()).unwrap(), a);
        prop_assert_eq!(f64::decode(bytes_of(&b).as_deref()).unwrap().to_bits(), b.to_bits());
        prop_assert_eq!(String::decode(bytes_of(&c).as_deref()).unwrap(), c);
        prop_assert_eq!(Vec::<u8>::decode(bytes_of(&d).as_deref()).unwrap(), d);
        prop_assert_eq!(Option::<i16>::decode(bytes_of(&e).as_deref()).unwrap(), e);
        let mut out = b"before".to_vec();
        prop_assert_eq!(a.encode(&mut out).unwrap(), Presence::Value);
        prop_assert_eq!(&out[..6], b"before");
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes: Vec<u8>) {
        let bytes = Some(bytes.as_slice());
        let _ = (i16::decode(bytes), bool::decode(bytes), Uuid::decode(bytes), String::decode(bytes));
        let _ = (crate::Json::<Vec<u32>>::decode(bytes), crate::MessagePack::<Vec<String>>::decode(bytes));
        let _ = (crate::Windowed::<String>::decode(bytes), crate::Stamped::<i64>::decode(bytes));
    }
}
