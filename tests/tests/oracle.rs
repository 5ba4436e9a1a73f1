//! The oracle's areas that are complete pass, with the state in memory and in RocksDB.

use tidemill_tests::oracle::{OpenStore, difference, in_memory, in_rocksdb, read_cases, run};

fn check(area: &str, text: &str, open: OpenStore) {
    let cases = read_cases(text).expect("the checked-in cases are readable");
    assert!(cases.len() > 10, "{area} has cases");
    let complaints: Vec<String> = cases
        .iter()
        .filter_map(|case| match run(case, open) {
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
                #[test]
                fn passes_in_memory() {
                    super::check($file, include_str!(concat!("../oracle/", $file, ".jsonl")), &super::in_memory);
                }

                #[test]
                fn passes_in_rocksdb() {
                    super::check($file, include_str!(concat!("../oracle/", $file, ".jsonl")), &super::in_rocksdb);
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
}
