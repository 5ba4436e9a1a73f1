//! How keys and values become bytes.
//!
//! A type crosses a topic, a repartition or a store only if it has a wire format. [`Data`] is a type's own format;
//! [`Format`] is one chosen per [`Topic`] or [`StoreName`], for foreign types and for registries.
//!
//! ```text
//!   value ──Data::encode──▶ bytes or null ──▶ topic, store
//!   value ◀─Data::decode─── bytes or null ◀── topic, store
//! ```
//!
//! The built-in formats are byte-compatible with Kafka's own serializers:
//!
//! | type | bytes |
//! |---|---|
//! | `String` | UTF-8 |
//! | `Vec<u8>`, `Bytes` | as they are |
//! | `i16`, `i32`, `i64`, `f32`, `f64` | big-endian |
//! | `bool` | one byte, 0 or 1 |
//! | `Uuid` | the hyphenated text |
//! | `()` | null |
//! | `Option<T>` | null, or those of `T` |
//! | [`Windowed<K>`] | those of `K`, then end and start |
//! | [`Json<T>`], [`MessagePack<T>`] | JSON text; MessagePack with named fields |
//!
//! ```
//! use tidemill_data::{Data, Topic};
//!
//! const CLICKS: Topic<String, i64> = Topic::new("clicks");
//!
//! let mut out = Vec::new();
//! 7_i64.encode(&mut out)?;
//! assert_eq!(out, [0, 0, 0, 0, 0, 0, 0, 7]);
//! assert_eq!(Option::<i64>::decode(None)?, None);
//! assert!(i64::decode(None).is_err());
//! assert_eq!(CLICKS.name(), "clicks");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! This crate knows nothing of brokers, stores or operators.

mod data;
mod error;
mod format;
mod headers;
mod json;
mod message_pack;
mod murmur2;
mod primitives;
mod stamped;
mod time;
mod topic;
mod windowed;

pub use data::{Data, Presence};
pub use error::{BoxError, DecodeError, EncodeError};
pub use format::{Format, Own, Place, Role, Wire};
pub use headers::{Header, Headers};
pub use json::Json;
pub use message_pack::MessagePack;
pub use murmur2::{murmur2, partition_for_key};
pub use stamped::Stamped;
pub use time::{DAY, HOUR, MILLISECOND, MINUTE, SECOND, Timestamp};
pub use topic::{StoreName, Topic};
pub use windowed::{SessionWindowed, TimeWindowed, Windowed};

/// The byte forms of windowed keys, as Kafka's serializers and Kafka Streams' changelogs have them.
pub mod window_keys {
    pub use crate::windowed::bytes::*;
}

/// What `#[derive(Data)]` expands to calls of.
pub mod derive_support {
    /// What a type parameter of a derived type has to be.
    pub trait Serde: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {}

    impl<T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static> Serde for T {}

    pub use crate::json::{decode as json_decode, encode as json_encode};
    pub use crate::message_pack::{decode as message_pack_decode, encode as message_pack_encode};
}
