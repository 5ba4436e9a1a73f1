//! The interpreter of the oracle's cases: outputs of Apache Kafka Streams, which ours must equal.

mod case;
mod compare;
mod database;
mod exempt;
mod functions;
mod interpreter;
mod program;

pub use case::{Case, CaseConfig, Expect, Input, Op, Record, read_cases};
pub use compare::{Outcome, difference};
pub use database::{Database, OpenStore, in_memory, in_rocksdb};
pub use exempt::forgets_at_restart;
pub use functions::*;
pub use interpreter::{Restarts, run};
