//! A short run under crashes of the broker; `cargo xtask crashes` is the long form.

use std::path::Path;

use tidemill_tests::crashes::{Crashes, run};

#[test]
fn a_broker_killed_under_load_loses_and_doubles_nothing() {
    let verdict = run(&Crashes {
        program: Path::new(env!("CARGO_BIN_EXE_crashes")).to_owned(),
        rounds: 3,
        seed: 7,
    })
    .unwrap();
    assert_eq!(verdict.complaints, [] as [String; 0]);
    assert!(
        verdict.numbers > 0 && verdict.committed > 0 && verdict.aborted > 0,
        "{verdict:?}"
    );
}
