//! The integration tests and what they share: the interpreter of the oracle's cases, and the runs under faults.

pub mod oracle;

#[cfg(feature = "cluster")]
pub mod crashes;
#[cfg(feature = "cluster")]
pub mod faults;
#[cfg(feature = "cluster")]
pub mod handover;
