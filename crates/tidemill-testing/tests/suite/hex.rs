//! Bytes as the golden files of internal topics write them.

use bytes::Bytes;

pub(crate) fn hex(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some([]) => "empty".to_owned(),
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

pub(crate) fn unhex(text: &str) -> Option<Bytes> {
    let digits = match text {
        "null" => return None,
        "empty" => "",
        digits => digits,
    };
    let pairs = (0..digits.len()).step_by(2);
    Some(
        pairs
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect(),
    )
}
