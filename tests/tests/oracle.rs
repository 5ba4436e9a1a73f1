//! The oracle's areas pass: with the state in memory, in RocksDB, and with the task restored after every third step.

use tidemill_tests::oracle::{
    Case, OpenStore, Restarts, difference, forgets_at_restart, in_memory, in_rocksdb, read_cases, run,
};

fn check(area: &str, text: &str, open: OpenStore, restarts: Restarts) {
    let cases = read_cases(text).expect("the checked-in cases are readable");
    assert!(cases.len() > 10, "{area} has cases");
    let complaints: Vec<String> = cases
        .iter()
        .filter(|case: &&Case| restarts == Restarts::Never || !forgets_at_restart(case))
        .filter_map(|case| match run(case, open, restarts) {
            Ok(outcome) => difference(case, &outcome).map(|what| format!("{}: {what}", case.name)),
            Err(error) => Some(format!("{}: {error:#}", case.name)),
        })
        .collect();
    assert!(
        complaints.is_empty(),
        "{} of {} fail:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
}

macro_rules! areas {
    ($($test:ident: $file:literal,)*) => {
        $(
            mod $test {
                use super::*;

                const CASES: &str = include_str!(concat!("../oracle/", $file, ".jsonl"));

                #[test]
                fn passes_in_memory() {
                    check($file, CASES, &in_memory, Restarts::Never);
                }

                #[test]
                fn passes_in_rocksdb() {
                    check($file, CASES, &in_rocksdb, Restarts::Never);
                }

                #[test]
                fn passes_with_restarts() {
                    check($file, CASES, &in_memory, Restarts::EveryThirdStep);
                }
            }
        )*
    };
}

areas! {
    stateless: "stateless",
    aggregate: "aggregate",
    table: "table",
    join_stream_table: "join-stream-table",
    join_foreign_key: "join-foreign-key",
    join_stream_stream: "join-stream-stream",
    join_stream_global: "join-stream-global",
    join_table_table: "join-table-table",
    compose: "compose",
    versioned: "versioned",
    processor: "processor",
    windows_tumbling: "windows-tumbling",
    windows_hopping: "windows-hopping",
    windows_sliding: "windows-sliding",
    windows_session: "windows-session",
    emit_on_close: "emit-on-close",
    emit_throttle: "emit-throttle",
    cogroup: "cogroup",
    suppress: "suppress",
    mutated: "mutated",
}
