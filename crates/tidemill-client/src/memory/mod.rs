//! A cluster in memory: topics, groups with eager rebalances, and failures made to order. For tests and simulation;
//! nothing in it depends on the clock, so what happens depends only on the order of calls.

mod cluster;
mod group;
mod log;
mod member;
mod transactions;
mod writer;

pub use cluster::MemoryCluster;

#[cfg(test)]
mod tests;
