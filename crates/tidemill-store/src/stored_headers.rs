//! Headers beside a row's value, in stores that keep them. In the changelog they are the record's headers.
//!
//! ```text
//! 0      the value, as a store without headers has it
//! n      { u32 length | name | i32 length, -1 for a null | value } …
//! m      u32  m - n
//! ```
//! All numbers are big-endian. The headers stand behind, so that a value is read without looking at them.

use tidemill_data::Headers;

use crate::StoreError;

const NULL: i32 = -1;

pub(crate) const NO_HEADERS: StoreError = StoreError::Corrupt {
    what: "a row without its headers",
};

/// Appends what stands behind a value.
pub(crate) fn push(headers: &Headers, out: &mut Vec<u8>) {
    let start = out.len();
    for header in headers {
        out.extend_from_slice(&length(header.name.len()).to_be_bytes());
        out.extend_from_slice(header.name.as_bytes());
        let value = header.value.as_deref();
        let value_len = value.map_or(NULL, |value| length(value.len()));
        out.extend_from_slice(&value_len.to_be_bytes());
        out.extend_from_slice(value.unwrap_or_default());
    }
    let bytes = length(out.len() - start);
    out.extend_from_slice(&bytes.to_be_bytes());
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a record's headers are shorter than 2 GiB")
}

/// A row's value, and the bytes of its headers.
pub(crate) fn split(row: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, bytes) = row.split_last_chunk()?;
    let bytes = usize::try_from(i32::from_be_bytes(*bytes)).ok()?;
    rest.split_at_checked(rest.len().checked_sub(bytes)?)
}

pub(crate) fn decode(mut bytes: &[u8]) -> Result<Headers, StoreError> {
    let mut headers = Headers::new();
    while !bytes.is_empty() {
        let (name, value) = take(&mut bytes).ok_or(NO_HEADERS)?;
        headers.push(name, value.map(|value| value.to_vec().into()));
    }
    Ok(headers)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<(&'a str, Option<&'a [u8]>)> {
    let (name_len, rest) = bytes.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::try_from(i32::from_be_bytes(*name_len)).ok()?)?;
    let (value_len, rest) = rest.split_first_chunk()?;
    let (value, rest) = match i32::from_be_bytes(*value_len) {
        NULL => (None, rest),
        len => {
            let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            (Some(value), rest)
        }
    };
    *bytes = rest;
    Some((std::str::from_utf8(name).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Headers {
        let mut headers = Headers::new().with("trace", "1").with("", "");
        headers.push("null", None);
        headers
    }

    #[test]
    fn headers_are_read_as_written() {
        for headers in [Headers::new(), some()] {
            let mut row = b"value".to_vec();
            push(&headers, &mut row);
            let (value, bytes) = split(&row).unwrap();
            assert_eq!((value, decode(bytes).unwrap()), (&b"value"[..], headers));
        }
    }

    #[test]
    fn what_is_cut_or_lies_about_its_length_is_an_error() {
        let mut row = Vec::new();
        push(&some(), &mut row);
        let (_, bytes) = split(&row).unwrap();
        let ends: Vec<usize> = (0..bytes.len())
            .filter(|cut| decode(&bytes[..*cut]).is_ok())
            .collect();
        assert_eq!(ends, [0, 14, 22], "only between two headers");
        assert!(split(&[0, 0, 0]).is_none());
        assert!(split(&[1, 0, 0, 0, 2]).is_none());
        assert!(split(&[0xff; 4]).is_none());
        assert!(decode(&[0x7f, 0xff, 0xff, 0xff]).is_err());
        assert!(
            decode(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err(),
            "not UTF-8"
        );
    }
}
