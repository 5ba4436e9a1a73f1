//! A broker that speaks Kafka's protocol, in any tokio program.
//!
//! ```text
//! bytes ─► frame ─► dispatch ─► handlers/<api> ─► topics, partition ─► tidemill-log
//!                                    │                  │
//! bytes ◄─ frame ◄─ response ◄───────┘◄── waiters ◄─────┘
//! ```
//!
//! ```
//! use tidemill_broker::{Broker, BrokerConfig};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let broker = Broker::start(BrokerConfig::embedded()).await?;
//! println!("bootstrap.servers={}", broker.bootstrap());
//! broker.shutdown().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate refuses to know how records lie on disk (tidemill-log), how messages look (tidemill-protocol), and what a
//! group's members may do (tidemill-coordinator).

pub mod settings;

mod broker;
mod config;

mod admission;
mod http;
mod listeners;
mod metrics;

mod connection;
mod dispatch;
mod frame;
mod handlers;
mod local;
mod reply;
mod shared;

mod cleaner;
mod features;
mod fetch_sessions;
mod groups;
mod housekeeping;
mod log_config;
mod markers;
mod metadata;
mod mover;
mod partition;
mod producer_ids;
mod read_back;
mod shards;
mod topics;
mod transactions;
mod waiters;

mod blocking;
mod clock;
mod error_code;

pub use broker::{Broker, StartError, format};
pub use config::{BrokerConfig, ConfigError};
pub use local::{Local, LocalConnection};
pub use metadata::MetadataError;
