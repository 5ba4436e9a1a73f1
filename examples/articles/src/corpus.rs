//! Reads articles and clicks from files with one JSON record a line.

use std::io::BufRead;

use chrono::DateTime;
use serde::Deserialize;

use crate::model::{ArticleId, Body, Click, RawItem, ReaderId};

#[derive(Deserialize)]
struct ArticleLine {
    source: String,
    url: String,
    title: String,
    #[serde(default)]
    author: String,
    published: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    content: String,
}

#[derive(Deserialize)]
struct ClickLine {
    user: String,
    article: String,
    ts: String,
}

/// A line of a file that is not what the file should hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The file cannot be read on.
    #[error("line {line}: {fault}")]
    Read {
        /// Counted from 1.
        line: u64,
        /// What the system said.
        fault: std::io::Error,
    },
    /// The line is no record.
    #[error("line {line}: {fault}")]
    Record {
        /// Counted from 1.
        line: u64,
        /// What does not fit.
        fault: serde_json::Error,
    },
    /// The time is none.
    #[error("line {line}: `{time}` is no RFC 3339 time")]
    Time {
        /// Counted from 1.
        line: u64,
        /// As written.
        time: String,
    },
}

/// The articles of a file, line by line; a faulty line is an error of its own and does not end the rest.
pub fn read_articles(file: impl BufRead) -> impl Iterator<Item = Result<RawItem, LineError>> {
    records(file).map(|record| {
        let (line, record): (u64, ArticleLine) = record?;
        let published_ms = record.published.map(|time| millis(line, time)).transpose()?;
        let item = RawItem {
            source: record.source,
            url: record.url,
            title: record.title,
            author: record.author,
            published_ms,
            tags: record.tags,
            body: Body::Plain(record.content),
        };
        Ok(item.bounded())
    })
}

/// The clicks of a file, line by line.
pub fn read_clicks(file: impl BufRead) -> impl Iterator<Item = Result<Click, LineError>> {
    records(file).map(|record| {
        let (line, record): (u64, ClickLine) = record?;
        let at_ms = millis(line, record.ts)?;
        Ok(Click {
            reader: ReaderId(record.user),
            article: ArticleId(record.article),
            at_ms,
        })
    })
}

fn records<T: for<'a> Deserialize<'a>>(
    file: impl BufRead,
) -> impl Iterator<Item = Result<(u64, T), LineError>> {
    file.lines()
        .zip(1..)
        .filter(|(text, _)| !matches!(text, Ok(text) if text.trim().is_empty()))
        .map(|(text, line)| {
            let text = text.map_err(|fault| LineError::Read { line, fault })?;
            let record = serde_json::from_str(&text).map_err(|fault| LineError::Record { line, fault })?;
            Ok((line, record))
        })
}

fn millis(line: u64, time: String) -> Result<i64, LineError> {
    match DateTime::parse_from_rfc3339(&time) {
        Ok(parsed) => Ok(parsed.timestamp_millis()),
        Err(_) => Err(LineError::Time { line, time }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_and_clicks_are_read_line_by_line() {
        let article = r#"{"id":"x","source":"s","url":"https://a.example/","title":"T","published":"1970-01-01T00:00:01Z","tags":["t"],"content":"c"}"#;
        let item = read_articles(article.as_bytes()).next().unwrap().unwrap();
        assert_eq!(
            (item.published_ms, item.body),
            (Some(1000), Body::Plain("c".to_owned()))
        );
        let click = read_clicks(&br#"{"user":"u","article":"a","ts":"1970-01-01T00:00:02Z"}"#[..])
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(
            click,
            Click {
                reader: ReaderId("u".into()),
                article: ArticleId("a".into()),
                at_ms: 2000
            }
        );
    }

    #[test]
    fn a_faulty_line_is_named_and_the_rest_is_read() {
        let file = "nonsense\n\n{\"user\":\"u\",\"article\":\"a\",\"ts\":\"noon\"}\n{\"user\":\"u\",\"article\":\"a\",\"ts\":\"1970-01-01T00:00:00Z\"}";
        let lines: Vec<_> = read_clicks(file.as_bytes()).collect();
        assert!(matches!(lines[0], Err(LineError::Record { line: 1, .. })));
        assert!(matches!(lines[1], Err(LineError::Time { line: 3, .. })));
        assert!(lines[2].is_ok());
    }
}
