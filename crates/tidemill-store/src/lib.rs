//! State stores over one [`ByteStore`], the overlay that holds writes between commits, and the store in memory.
//!
//! ```text
//!   operators ──▶ KeyValueStore, TimestampedStore, WindowStore, SessionStore, VersionedStore
//!                        │ one overlay each: what was written since the last commit, and a cache
//!                        ▼
//!                   StateStores of one task ──changelog──▶ one record a dirty key
//!                        │ commit: all overlays and the changelog positions, one atomic write
//!                        ▼
//!                   ByteStore: sorted bytes in families (RocksDB, or MemoryByteStore)
//! ```
//!
//! ```
//! use std::sync::Arc;
//! use tidemill_data::Timestamp;
//! use tidemill_store::{MemoryByteStore, StateStores, StoreId, StoreKind, StoreOptions, StoreSpec};
//!
//! let specs = [StoreSpec::new("counts", StoreKind::Timestamped)];
//! let base = Arc::new(MemoryByteStore::new(&["counts"]));
//! let mut stores = StateStores::open(base, &specs, &StoreOptions::default())?;
//! let counts = StoreId::new(0);
//! stores.timestamped(counts).put(b"k", b"1", Timestamp::from_millis(5));
//! let row = stores.timestamped(counts).get(b"k")?.map(|(value, at)| (value.to_vec(), at));
//! assert_eq!(row, Some((b"1".to_vec(), Timestamp::from_millis(5))));
//! stores.changelog(&mut |store, record| assert_eq!((store, record.key), (counts, &b"k"[..])));
//! stores.commit(&[])?;
//! # Ok::<(), tidemill_store::StoreError>(())
//! ```
//!
//! All layers work on bytes; types and their formats are the operators' affair. This crate knows nothing of topics,
//! threads or clocks: offsets and times are given to it.

mod byte_store;
pub mod conformance;
mod error;
mod key_value;
mod memory;
mod metadata;
mod overlay;
mod record;
mod rows;
mod segments;
mod session;
mod slot;
mod space;
mod stored_headers;
mod stores;
mod timestamped;
mod versioned;
mod window;

pub use byte_store::{ApproximateSize, ByteStore, Cursor, Direction, Family, KeyRange, WriteOp, prefix_end};
pub use error::StoreError;
pub use key_value::KeyValueStore;
pub use memory::MemoryByteStore;
pub use metadata::{ChangelogPosition, TopicId};
pub use record::ChangelogRecord;
pub use rows::Rows;
pub use session::{SessionRow, SessionRows, SessionStore};
pub use stores::{StateStores, StoreId, StoreKind, StoreOptions, StoreSpec};
pub use timestamped::{TimestampedRows, TimestampedStore};
pub use versioned::{LatestRows, Version, VersionPut, VersionedStore};
pub use window::{Put, WindowRow, WindowRows, WindowStore, WindowValues};
