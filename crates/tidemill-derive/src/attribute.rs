//! `#[data(..)]`.

use syn::{DeriveInput, LitStr, Path, parse_quote};

/// The bytes a type is written as.
#[derive(Clone, Copy)]
pub(crate) enum Encoding {
    MessagePack,
    Json,
}

/// What the `#[data(..)]` attributes of a type say together.
pub(crate) struct Attribute {
    pub(crate) encoding: Encoding,
    pub(crate) krate: Path,
}

impl Attribute {
    pub(crate) fn of(input: &DeriveInput) -> syn::Result<Self> {
        // Users depend on the façade; it has `tidemill-data` under this name.
        let mut attribute = Self {
            encoding: Encoding::MessagePack,
            krate: parse_quote!(::tidemill::data),
        };
        for found in input.attrs.iter().filter(|found| found.path().is_ident("data")) {
            found.parse_nested_meta(|meta| {
                if meta.path.is_ident("json") {
                    attribute.encoding = Encoding::Json;
                } else if meta.path.is_ident("crate") {
                    attribute.krate = meta.value()?.parse::<LitStr>()?.parse()?;
                } else {
                    let known = "unknown word: `json` and `crate = \"path\"` are known";
                    return Err(meta.error(known));
                }
                Ok(())
            })?;
        }
        Ok(attribute)
    }
}
