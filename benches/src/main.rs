//! The measurements, beside peers.

fn main() {}
