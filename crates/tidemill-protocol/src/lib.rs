//! Kafka's wire format: primitives, requests and responses, record batches, compression.
//!
//! ```text
//! frame (Bytes) --Reader--> RequestHeader, then messages::<api>::<Api>Request   (strings and records are slices of the frame)
//! RequestHeader, <Api>Response --Writer--> Frame (chunks for one vectored write; records are not copied)
//! ```
//!
//! ```
//! use tidemill_protocol::messages::heartbeat::HeartbeatRequest;
//! use tidemill_protocol::{Decode, Encode, Reader, Writer};
//!
//! let request = HeartbeatRequest { group_id: "clicks".into(), generation_id: 3, ..Default::default() };
//! let mut writer = Writer::new();
//! request.encode(&mut writer, 4);
//! let bytes = writer.finish()?.into_bytes();
//! assert_eq!(HeartbeatRequest::decode(&mut Reader::new(&bytes), 4)?, request);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The messages are generated from the schemas in `schemas/` by `cargo xtask codegen`. Record batches are opaque bytes to the
//! messages; [`batch`] reads, checks and builds them. This crate knows no sockets, no files, no clock, and not what a request means.

pub mod batch;
pub mod compression;
pub mod messages;

mod api_key;
mod error_code;
mod frame;
mod header;
mod kstring;
mod message;
mod reader;
mod records;
mod varint;
mod writer;

pub use api_key::ApiKey;
pub use error_code::ErrorCode;
pub use frame::{Frame, request_frame, response_frame};
pub use header::{RequestHeader, ResponseHeader};
pub use kstring::KString;
pub use message::{Decode, Encode, Message, Request};
pub use reader::{DecodeError, Reader};
pub use records::{Piece, Records};
pub use uuid::Uuid;
pub use writer::{EncodeError, Writer};
