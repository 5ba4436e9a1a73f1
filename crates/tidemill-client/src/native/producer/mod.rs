//! The producer: records into batches by partition, batches to leaders, each once and in order.

mod accumulator;
mod batch;
mod identity;
mod sender;
mod transaction;
mod transactional;
mod writer;

pub(crate) use transactional::NativeTransactionalWriter;
pub(crate) use writer::NativeWriter;
