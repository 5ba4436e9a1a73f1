//! Each example has a page in the book. A page quotes its code and shows what it prints: here both are held to it.

use crate::{access_log, alerts, payments, rate_limit, recommend, visits, word_count};

/// What stands in a page between fences of this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let opened = page.split(fence.as_str()).skip(1);
    opened
        .map(|after| after.split_once("```").expect("a block ends").0)
        .collect()
}

#[track_caller]
fn check(page: &str, code: &str, printed: &str) {
    let quotes = blocks(page, "rust");
    assert!(!quotes.is_empty(), "the page quotes nothing");
    for quote in quotes {
        assert!(
            code.contains(quote),
            "this is not in the example any more:\n{quote}"
        );
    }
    assert_eq!(blocks(page, "text"), [printed]);
}

macro_rules! page {
    ($test:ident, $file:literal, $run:expr) => {
        #[tokio::test]
        async fn $test() -> anyhow::Result<()> {
            let page = include_str!(concat!("../../book/src/examples/", $file, ".md"));
            check(page, include_str!(concat!($file, ".rs")), &$run.await?);
            Ok(())
        }
    };
}

page!(
    word_count_is_as_its_page_says,
    "word_count",
    word_count::run(None)
);
page!(
    access_log_is_as_its_page_says,
    "access_log",
    access_log::run(None)
);
page!(alerts_are_as_their_page_says, "alerts", alerts::run());
page!(visits_are_as_their_page_says, "visits", visits::run());
page!(rate_limit_is_as_its_page_says, "rate_limit", rate_limit::run());
page!(payments_are_as_their_page_says, "payments", payments::run());
page!(recommend_is_as_its_page_says, "recommend", recommend::run());
