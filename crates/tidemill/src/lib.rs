//! Tidemill: stream processing over partitioned logs.
//!
//! A program composes typed operators into a topology; the topology consumes topics, keeps its state in RocksDB, backs
//! that state by compacted changelog topics, and produces topics. The broker is part of it: a program that is told of no
//! cluster starts one in its own process, and the same program runs unchanged on any Apache Kafka cluster.
//!
//! # The first program
//!
//! ```
//! use tidemill::prelude::*;
//!
//! const LINES: Topic<String, String> = Topic::new("lines");
//! const COUNTS: StoreName<String, i64> = StoreName::new("counts");
//! const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
//!
//! # async fn program() -> Result<(), Box<dyn std::error::Error>> {
//! let app = App::new("word-count");
//! app.stream(&LINES)
//!     .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
//!     .group_by(|_, word| word.clone())
//!     .count(&COUNTS)
//!     .to_stream()
//!     .to(&TOTALS);
//!
//! # let dir = std::env::temp_dir().join(format!("tidemill-doc-{}", std::process::id()));
//! # let config = Config::new().state_dir(&dir);
//! # let _ = || -> Result<Config, Box<dyn std::error::Error>> {
//! let config = Config::from_env()?; // any Kafka, or the broker in this process
//! # Ok(config) };
//! let running = app.start(config).await?;
//!
//! let producer = Producer::connect(running.bootstrap_servers())?;
//! producer.send(Produced::to(&LINES, &"a".into(), &"to be or not to be".into())?).await?.await?;
//!
//! let counts = running.store(&COUNTS);
//! while counts.get(&"be".to_owned()).await? != Some(2) {
//!     tokio::task::yield_now().await;
//! }
//! running.stop().await?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new()?.block_on(program())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same program in a test, without a broker, threads or waiting:
//!
//! ```
//! # use tidemill::prelude::*;
//! # const LINES: Topic<String, String> = Topic::new("lines");
//! # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
//! # let app = App::new("word-count");
//! # app.stream(&LINES)
//! #     .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
//! #     .group_by(|_, word| word.clone())
//! #     .count(&COUNTS);
//! use tidemill::testing::{TestDriver, ms};
//!
//! let mut t = TestDriver::new(&app);
//! t.pipe(&LINES, "a", "to be or not to be", ms(1));
//! assert_eq!(t.row(&COUNTS, "be").map(|row| row.value), Some(2));
//! ```
//!
//! # Where to find what
//!
//! [`prelude`] has what most programs use; everything else is here, at the top, or in a module named for its crate.
//!
//! | to do | use |
//! |---|---|
//! | compose a program | [`App`], [`KStream`], [`KTable`]; windows: [`Tumbling`], [`Session`]; joins: [`JoinWindow`] |
//! | write an operator of your own | [`Processor`], [`FixedKeyProcessor`] |
//! | say what follows an error | [`Policy`] |
//! | run it | [`Start`] (`app.start(config)`), [`Config`], [`Running`] |
//! | ask it | [`Running::store`] |
//! | test it, in virtual time | [`testing::TestDriver`], and [`testing::Simulation`] for several instances |
//! | give types a wire format | [`Data`], `#[derive(Data)]` |
//! | only read or write a log | `Producer`, `Consumer` and `Admin` in [`client`] (feature `kafka`) |
//! | start a broker in the process | `tidemill::broker::Broker` (feature `broker`) |
//!
//! # Features
//!
//! | feature | by default | what it adds | without it |
//! |---|---|---|---|
//! | `rocksdb` | yes | state on disk | state is in memory, and read from its changelogs at each start |
//! | `kafka` | yes | `Producer`, `Consumer`, `Admin`; clusters with TLS or SASL, through librdkafka | programs reach plaintext clusters, ours or Apache Kafka, with a client of our own |
//! | `broker` | yes | a broker in the process, where `bootstrap.servers` is not set | `bootstrap.servers` must be set |
//! | `http` | no | `Running::query_service`: queries over HTTP | |
//!
//! `rocksdb` needs a C++ compiler and libclang to build, `kafka` a C compiler, make and OpenSSL's headers.

pub use tidemill_client as client;
pub use tidemill_data as data;
pub use tidemill_runtime as runtime;
pub use tidemill_store as store;
pub use tidemill_streams as streams;
pub use tidemill_testing as testing;

#[cfg(feature = "broker")]
pub use tidemill_broker as broker;

pub use tidemill_data::{
    BoxError, Data, DecodeError, EncodeError, Format, Headers, Json, MessagePack, StoreName, Timestamp,
    Topic, Windowed,
};
pub use tidemill_data::{DAY, HOUR, MINUTE, SECOND};
pub use tidemill_derive::Data;
#[cfg(feature = "http")]
pub use tidemill_runtime::Everywhere;
pub use tidemill_runtime::{
    Answer, Config, ConfigError, Failure, Launch, NodeSnapshot, Position, PositionError, QueryError,
    Replayed, Response, RestoreProgress, RestoreStage, RunError, Running, Snapshot, Start, StartError, State,
    StoreQuery, TaskSnapshot, ThreadSnapshot, WhichLetters, list_dead_letters, replay_dead_letters,
    replay_some_dead_letters,
};
pub use tidemill_streams::*;

pub mod prelude;
