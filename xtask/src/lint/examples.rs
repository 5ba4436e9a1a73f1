//! Every public method that programs use shows in its documentation how.

use std::fmt::Write as _;

use anyhow::Result;

/// The crates whose methods need an example each.
pub(super) const CRATES: [&str; 1] = ["tidemill-streams"];

/// Types and traits that programs do not touch: the runtime and the test driver do, or nobody else may.
const MACHINERY: [&str; 15] = [
    "CogroupWindowKind",
    "Committed",
    "Connected",
    "GlobalTask",
    "Outputs",
    "Pause",
    "RawRecord",
    "RowRange",
    "Sealed",
    "StoreReader",
    "Subtopology",
    "Task",
    "TopicIndex",
    "Topology",
    "WindowKind",
];

/// Names each public method of a file whose documentation has no block of code. The file is as rustfmt leaves it.
pub(super) fn check(name: &str, text: &str, complaints: &mut String) -> Result<()> {
    let mut holder = Holder::default();
    let mut shown = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        if let Some(found) = Holder::of(line) {
            holder = found;
        }
        let line = line.trim_start();
        if line.starts_with("///") || line.starts_with("#[") {
            shown |= line.contains("```");
            continue;
        }
        if let Some(method) = holder.method(line)
            && !shown
            && !MACHINERY.contains(&holder.name)
        {
            let (number, holder) = (number + 1, holder.name);
            writeln!(
                complaints,
                "  {name}: line {number}: the documentation of `{holder}::{method}` has no example"
            )?;
        }
        shown = false;
    }
    Ok(())
}

/// What the methods that follow belong to.
#[derive(Clone, Copy, Default)]
struct Holder<'a> {
    name: &'a str,
    /// A trait's methods are as public as it is.
    is_trait: bool,
}

impl<'a> Holder<'a> {
    /// What begins with this line, if anything does.
    fn of(line: &'a str) -> Option<Self> {
        let word = |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next();
        if let Some(rest) = line.strip_prefix("pub trait ") {
            return Some(Self {
                name: word(rest)?,
                is_trait: true,
            });
        }
        let rest = line.strip_prefix("impl")?;
        Some(Self {
            name: word(after_parameters(rest).trim_start())?,
            is_trait: false,
        })
    }

    /// The public method that is declared here, if one is.
    fn method(self, line: &'a str) -> Option<&'a str> {
        let rest = match line.strip_prefix("pub ") {
            Some(rest) => rest,
            None if self.is_trait => line,
            None => return None,
        };
        let rest = ["const ", "async ", "unsafe "]
            .iter()
            .fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
        rest.strip_prefix("fn ")?.split(['<', '(']).next()
    }
}

/// What follows the type parameters that an `impl` may begin with.
fn after_parameters(text: &str) -> &str {
    if !text.starts_with('<') {
        return text;
    }
    let mut depth = 0_i32;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            // The arrow of a closure's type ends nothing.
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(at + 1..).unwrap_or_default();
        }
        before = c;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> String {
        let mut complaints = String::new();
        check("a.rs", text, &mut complaints).unwrap();
        complaints
    }

    #[test]
    fn a_public_method_without_an_example_is_named_with_its_line() {
        let text = "\
impl<K: Fn() -> i64, V> KStream<K, V> {
    /// Does it.
    #[must_use]
    pub fn one(self) -> Self {

    /// Does it.
    ///
    /// ```
    /// one();
    /// ```
    #[must_use]
    pub const fn two(self) -> Self {

    fn private(self) {}

    /// Does it.
    pub fn three<F>(self) {}
}
";
        let found = complaints(text);
        assert!(
            found.contains("line 4: the documentation of `KStream::one`"),
            "{found}"
        );
        assert!(found.contains("`KStream::three`"), "{found}");
        assert_eq!(found.lines().count(), 2, "{found}");
    }

    #[test]
    fn a_trait_that_programs_implement_needs_examples_and_an_implementation_of_one_does_not() {
        let text = "\
pub trait Processor<K>: Send {
    /// Called first.
    fn start(&mut self) {}
}

impl<K> Processor<K> for Own {
    fn start(&mut self) {}
}
";
        assert_eq!(
            complaints(text),
            "  a.rs: line 3: the documentation of `Processor::start` has no example\n"
        );
    }

    #[test]
    fn machinery_and_tests_need_none() {
        let text = "impl Task {\n    /// Says.\n    pub fn id(&self) {}\n}\n\n#[cfg(test)]\nimpl KStream {\n    pub fn f() {}\n}\n";
        assert_eq!(complaints(text), "");
    }
}
