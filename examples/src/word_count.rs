//! How many times was each word said?

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result};
use tidemill::prelude::*;

use crate::Run;

/// Lines of text.
pub const LINES: Topic<String, String> = Topic::new("lines");
/// How many times each word was said until now, again with each time.
pub const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
/// How many times each word was said.
pub const COUNTS: StoreName<String, i64> = StoreName::new("counts");

/// The program.
pub fn compose() -> App {
    let app = App::new("word-count");
    app.stream(&LINES)
        .flat_map_values(|line| words(&line))
        .group_by(|_, word| word.clone())
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    app
}

fn words(line: &str) -> Vec<String> {
    let words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Counts the words of a file, or of [`SAMPLE`], and prints those said most.
pub async fn run(file: Option<&Path>) -> Result<String> {
    let mut report = String::new();
    let text = match file {
        Some(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
        None => SAMPLE.to_owned(),
    };
    let run = Run::start(&compose(), &[]).await?;
    let lines = text.lines();
    run.send(lines.map(|line| Ok(Produced::to(&LINES, &"text".to_owned(), &line.to_owned())?)))
        .await?;
    run.processed().await?;

    let mut counts = run.running().store(&COUNTS).all().await?;
    counts.sort_by(|(word, count), (other, more)| more.cmp(count).then_with(|| word.cmp(other)));
    let said: i64 = counts.iter().map(|(_, count)| count).sum();
    writeln!(
        report,
        "{said} words, {} different; those said most",
        counts.len()
    )?;
    for (word, count) in counts.iter().take(10) {
        writeln!(report, "  {count:>6}  {word}")?;
    }
    run.stop().await?;
    Ok(report)
}

/// Some lines.
pub const SAMPLE: &str = "The tide comes in,\nthe tide goes out;\nthe mill turns both ways.";

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    #[test]
    fn words_are_counted_over_lines_partitions_and_a_new_machine() {
        let mut t = TestDriver::with_partitions(&compose(), 3);
        for (at, line) in (0..).zip(SAMPLE.lines()) {
            t.pipe(&LINES, line, line, ms(at));
            t.restart_without_state();
        }
        let count = |t: &mut TestDriver, word: &str| t.row(&COUNTS, word).map(|row| row.value);
        assert_eq!(count(&mut t, "the"), Some(3));
        assert_eq!(count(&mut t, "tide"), Some(2));
        assert_eq!(count(&mut t, "in"), Some(1));
        assert_eq!(count(&mut t, "in,"), None);
        assert_eq!(t.read(&TOTALS).len(), 13);
    }
}
