//! Fault runs: several instances of one program as processes, killed with signal 9 one after the other while records
//! flow, and then everything that readers see is compared with what went in.
//!
//! The program copies every record, and counts records by key behind a repartition. So exactly-once means: each record
//! was copied once, and the totals of each key are 1, 2, 3 … up to the number of its records, each written once.

mod instance;
mod outputs;
mod program;
mod run;
mod verdict;

pub use outputs::{Inputs, Outputs, create_topics};
pub use program::{Names, Worker};
pub use run::{Faults, Membership, run};
pub use verdict::{Guarantee, Verdict};

/// Random numbers from a seed, for choices that a failed run must be able to make again.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        // Steele's splitmix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below.max(1)
    }
}
