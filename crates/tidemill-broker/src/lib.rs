//! A broker that speaks Kafka's protocol, in any tokio program.

mod config;
pub mod settings;

pub use config::{BrokerConfig, ConfigError};
