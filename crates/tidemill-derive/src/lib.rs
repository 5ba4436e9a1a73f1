//! `#[derive(Data)]`: a wire format for types of one's own.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidemill_data::Data as _;
//! use tidemill_derive::Data;
//!
//! #[derive(Debug, PartialEq, Data, Serialize, Deserialize)]
//! #[data(json, crate = "tidemill_data")]
//! struct Click {
//!     article: String,
//! }
//!
//! let click = Click { article: "a1".into() };
//! let mut out = Vec::new();
//! let _ = click.encode(&mut out)?;
//! assert_eq!(out, br#"{"article":"a1"}"#);
//! assert_eq!(Click::decode(Some(&out))?, click);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;

use attribute::{Attribute, Encoding};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input, parse_quote};

/// Gives a type that derives serde's `Serialize` and `Deserialize` a wire format.
///
/// MessagePack with named fields, so that fields may be reordered, and added with `#[serde(default)]`, while old state
/// stays readable. `#[data(json)]` writes JSON instead. `#[data(crate = "path")]` names the crate `tidemill-data`
/// where it is not `tidemill::data`.
#[proc_macro_derive(Data, attributes(data))]
pub fn derive_data(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

fn expand(input: DeriveInput) -> syn::Result<TokenStream> {
    if let Some(lifetime) = input.generics.lifetimes().next() {
        let message = "a type with a wire format owns its data: it cannot borrow";
        return Err(syn::Error::new_spanned(lifetime, message));
    }
    let Attribute { encoding, krate } = Attribute::of(&input)?;
    let (encode, decode) = match encoding {
        Encoding::MessagePack => (quote!(message_pack_encode), quote!(message_pack_decode)),
        Encoding::Json => (quote!(json_encode), quote!(json_decode)),
    };
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in input.generics.type_params() {
        let parameter = &parameter.ident;
        generics.make_where_clause().predicates.push(parse_quote!(
            #parameter: #krate::derive_support::Serde
        ));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #krate::Data for #name #type_generics #where_clause {
            fn encode(
                &self,
                out: &mut ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<#krate::Presence, #krate::EncodeError> {
                #krate::derive_support::#encode(self, out)
            }

            fn decode(
                bytes: ::core::option::Option<&[u8]>,
            ) -> ::core::result::Result<Self, #krate::DecodeError> {
                #krate::derive_support::#decode(bytes)
            }
        }
    })
}
