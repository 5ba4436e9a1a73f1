//! The text of a feed from its bytes: by byte order mark, else by the XML declaration, else UTF-8.

use std::borrow::Cow;

use encoding_rs::Encoding;

// A declaration stands in the first line; looking further would find the word in somebody's article.
const DECLARATION_BYTES_MAX: usize = 200;

/// Decodes without guessing: bytes that do not fit the encoding are an error.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, CharsetError> {
    if let Some(rest) = bytes.strip_prefix(&[0x00, 0x00, 0xfe, 0xff]) {
        return utf_32(rest, u32::from_be_bytes).map(Cow::Owned);
    }
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe, 0x00, 0x00]) {
        return utf_32(rest, u32::from_le_bytes).map(Cow::Owned);
    }
    let (encoding, rest) = match Encoding::for_bom(bytes) {
        Some((encoding, mark_bytes)) => (encoding, bytes.get(mark_bytes..).unwrap_or_default()),
        None => (declared(bytes)?, bytes),
    };
    encoding
        .decode_without_bom_handling_and_without_replacement(rest)
        .ok_or(CharsetError::Bytes {
            charset: encoding.name().to_owned(),
        })
}

fn declared(bytes: &[u8]) -> Result<&'static Encoding, CharsetError> {
    let head = bytes.get(..DECLARATION_BYTES_MAX).unwrap_or(bytes);
    let head = String::from_utf8_lossy(head);
    let declaration = head
        .trim_start()
        .strip_prefix("<?xml")
        .and_then(|rest| rest.split_once("?>"));
    let Some((_, value)) = declaration.and_then(|(attributes, _)| attributes.split_once("encoding")) else {
        return Ok(encoding_rs::UTF_8);
    };
    let label = value
        .trim_start_matches(|c: char| c.is_whitespace() || c == '=')
        .trim_start_matches(['"', '\'']);
    let label = label.split(['"', '\'']).next().unwrap_or_default();
    Encoding::for_label(label.as_bytes()).ok_or_else(|| CharsetError::Unknown {
        charset: label.to_owned(),
    })
}

fn utf_32(bytes: &[u8], unit: fn([u8; 4]) -> u32) -> Result<String, CharsetError> {
    let (units, rest) = bytes.as_chunks::<4>();
    let text: Option<String> = units.iter().map(|bytes| char::from_u32(unit(*bytes))).collect();
    text.filter(|_| rest.is_empty())
        .ok_or_else(|| CharsetError::Bytes {
            charset: "UTF-32".to_owned(),
        })
}

/// Bytes that are no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CharsetError {
    /// The declaration names an encoding nobody knows.
    #[error("the feed names the unknown encoding `{charset}`")]
    Unknown {
        /// As declared.
        charset: String,
    },
    /// The bytes do not fit the encoding.
    #[error("the feed's bytes are not {charset}")]
    Bytes {
        /// The encoding that was tried.
        charset: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_wins() {
        assert_eq!(decode(b"\xef\xbb\xbfhi").unwrap(), "hi");
        assert_eq!(decode(b"\xff\xfeh\0i\0").unwrap(), "hi");
        assert_eq!(decode(b"\0\0\xfe\xff\0\0\0h\0\0\0i").unwrap(), "hi");
    }

    #[test]
    fn the_declaration_names_the_encoding() {
        let bytes = b"<?xml version='1.0' encoding = \"iso-8859-1\"?><a>\xe4</a>";
        assert!(decode(bytes).unwrap().ends_with("<a>\u{e4}</a>"));
        let bogus = b"<?xml version='1.0' encoding='bogus'?><a/>";
        assert!(matches!(decode(bogus), Err(CharsetError::Unknown { charset }) if charset == "bogus"));
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        assert!(matches!(decode(b"\xc3("), Err(CharsetError::Bytes { .. })));
        assert!(matches!(
            decode(b"\0\0\xfe\xff\0\0"),
            Err(CharsetError::Bytes { .. })
        ));
    }
}
