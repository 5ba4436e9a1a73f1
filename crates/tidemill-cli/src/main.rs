//! The command `tidemill`.

fn main() {}
