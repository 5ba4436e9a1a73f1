//! Java's properties files: `name=value` lines, comments, continued lines and escapes.

/// A properties file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertiesError {
    /// A `\u` is not followed by four hexadecimal digits.
    #[error("line {line}: \\u needs four hexadecimal digits")]
    BadEscape {
        /// The line, counted from 1.
        line: usize,
    },
}

/// The names and values in `text`, in order; a name may come more than once, and then the last one holds.
pub fn parse_properties(text: &str) -> Result<Vec<(String, String)>, PropertiesError> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let first = first.trim_start();
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_string();
        while ends_in_odd_backslashes(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (name, value) = split_pair(&logical);
        let line = number + 1;
        pairs.push((
            unescape(name, line)?,
            unescape(value, line)?.trim_end().to_string(),
        ));
    }
    Ok(pairs)
}

fn ends_in_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Splits at the first unescaped `=`, `:` or blank; blanks around the separator belong to neither side.
fn split_pair(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t');
            escaped = !escaped && *c == '\\';
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (name, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 4);
                out.push(
                    code.and_then(char::from_u32)
                        .ok_or(PropertiesError::BadEscape { line })?,
                );
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let pairs = parse_properties(text).unwrap();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn separators_blanks_and_comments_are_javas() {
        check(
            "# comment\n! another\n\na=1\n b : 2\nc 3\nd=\ne\nlisteners=PLAINTEXT://:9092\n",
            &[
                ("a", "1"),
                ("b", "2"),
                ("c", "3"),
                ("d", ""),
                ("e", ""),
                ("listeners", "PLAINTEXT://:9092"),
            ],
        );
    }

    #[test]
    fn a_backslash_continues_a_line_unless_it_is_escaped() {
        check(
            "a=1,\\\n   2\nb=x\\\\\nc=3\n",
            &[("a", "1,2"), ("b", "x\\"), ("c", "3")],
        );
        check("a=1\\", &[("a", "1")]);
    }

    #[test]
    fn escapes_are_undone_and_bad_ones_name_their_line() {
        check("a\\=b=\\u00e9\\t|\n", &[("a=b", "é\t|")]);
        assert_eq!(
            parse_properties("x=1\ny=\\u12"),
            Err(PropertiesError::BadEscape { line: 2 })
        );
        assert_eq!(
            parse_properties("y=\\uzzzz"),
            Err(PropertiesError::BadEscape { line: 1 })
        );
    }
}
