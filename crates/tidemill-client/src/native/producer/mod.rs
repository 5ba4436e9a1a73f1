//! The producer: records into batches by partition, batches to leaders, each once and in order.

mod accumulator;
mod batch;
mod identity;
mod sender;
mod writer;

pub(crate) use writer::NativeWriter;
