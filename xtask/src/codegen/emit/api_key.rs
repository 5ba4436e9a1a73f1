//! Writes `ApiKey`: the APIs, their keys and their versions.

use super::{GENERATED, range, range_words};
use crate::codegen::schema::Api;

/// `ApiKey` and its tables.
pub(crate) fn api_keys(apis: &[(String, Api)]) -> String {
    let each = |row: fn(&Api) -> String| apis.iter().map(|(_, api)| row(api)).collect::<String>();
    let variants = each(|api| {
        let Api {
            name, key, versions, ..
        } = api;
        format!(
            "/// {key}, versions {}.\n{name} = {key},\n",
            range_words(versions)
        )
    });
    let all = each(|api| format!("ApiKey::{},", api.name));
    let versions = each(|api| format!("ApiKey::{} => {},", api.name, range(&api.versions)));
    let advertised = each(|api| match &api.advertised {
        Some(advertised) => format!("ApiKey::{} => {},", api.name, range(advertised)),
        None => String::new(),
    });
    let flexible = each(|api| match api.flexible {
        Some(from) => format!("ApiKey::{} => Some({from}),", api.name),
        None => String::new(),
    });
    format!(
        "//! The APIs, their keys and their versions.\n\n{GENERATED}use std::ops::RangeInclusive;\n\nuse crate::DecodeError;\n\n\
        /// An API that this crate can encode and decode. Not `non_exhaustive`: who handles all of them is told of a new one.\n\
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(i16)]\npub enum ApiKey {{\n{variants}}}\n\n\
        impl ApiKey {{\n\
        /// Every API, by key.\npub const ALL: [ApiKey; {count}] = [{all}];\n\n\
        /// The versions whose messages can be decoded and encoded.\n\
        pub fn versions(self) -> RangeInclusive<i16> {{ match self {{ {versions} }} }}\n\n\
        /// The versions to offer clients. Wider than [`ApiKey::versions`] where a client must see a version that it never sends.\n\
        pub fn advertised(self) -> RangeInclusive<i16> {{ match self {{ {advertised} other => other.versions(), }} }}\n\n\
        /// The first version with compact lengths and tagged fields, if there is one.\n\
        pub fn flexible_from(self) -> Option<i16> {{ match self {{ {flexible} _ => None, }} }}\n\n\
        /// Whether that version has compact lengths and tagged fields.\n\
        pub fn is_flexible(self, version: i16) -> bool {{ self.flexible_from().is_some_and(|from| version >= from) }}\n\n\
        /// An error unless the version can be decoded.\n\
        pub fn check_version(self, version: i16) -> Result<(), DecodeError> {{\n\
        if self.versions().contains(&version) {{ Ok(()) }} else {{ Err(DecodeError::Version {{ api: self, version }}) }} }}\n\
        }}\n\n\
        impl TryFrom<i16> for ApiKey {{ type Error = DecodeError;\n\n\
        fn try_from(key: i16) -> Result<Self, DecodeError> {{\n\
        ApiKey::ALL.into_iter().find(|api| i16::from(*api) == key).ok_or(DecodeError::ApiKey(key)) }} }}\n\n\
        impl From<ApiKey> for i16 {{ fn from(key: ApiKey) -> i16 {{ key as i16 }} }}\n",
        count = apis.len(),
    )
}
