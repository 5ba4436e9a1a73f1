//! Parses a feed file: RSS 0.9x, 1.0 and 2.0, Atom, JSON Feed.
//!
//! `feed-rs` reads XML leniently and would deliver the first half of a file that broke in the middle. A feed that
//! is not well-formed is refused as a whole instead, with the place of the fault, so that its owner can mend it.

use feed_rs::model::{Entry, Feed};

use crate::charset::{CharsetError, decode};
use crate::model::{Body, RawItem};

/// The entries of a feed, or why it cannot be read. `address` resolves relative links.
pub fn parse_feed(bytes: &[u8], address: Option<&str>) -> Result<Vec<RawItem>, FeedError> {
    let text = decode(bytes)?;
    if text.trim().is_empty() {
        return Err(FeedError::Empty);
    }
    if text.trim_start().starts_with('<') {
        check_well_formed(&text)?;
    }
    let parser = feed_rs::parser::Builder::new().base_uri(address).build();
    let feed = parser.parse(without_declaration(&text).as_bytes())?;
    let source = source_name(&feed, address);
    Ok(feed
        .entries
        .into_iter()
        .map(|entry| raw_item(entry, &source))
        .collect())
}

fn check_well_formed(text: &str) -> Result<(), FeedError> {
    // A declaration must be the very first thing, which `roxmltree` does not insist on.
    if text.starts_with(char::is_whitespace) && text.trim_start().starts_with("<?xml ") {
        return Err(FeedError::LateDeclaration);
    }
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    roxmltree::Document::parse_with_options(text, options)?;
    Ok(())
}

// The text is UTF-8 by now, whatever its first line still says.
fn without_declaration(text: &str) -> &str {
    if !text.starts_with("<?xml") {
        return text;
    }
    text.split_once("?>").map_or(text, |(_, rest)| rest)
}

fn source_name(feed: &Feed, address: Option<&str>) -> String {
    let title = feed
        .title
        .as_ref()
        .map(|title| title.content.trim())
        .filter(|title| !title.is_empty());
    title.or(address).unwrap_or("unnamed feed").to_owned()
}

fn raw_item(entry: Entry, source: &str) -> RawItem {
    let alternate = entry
        .links
        .iter()
        .find(|link| link.rel.as_deref().is_none_or(|rel| rel == "alternate"));
    let link = alternate.or(entry.links.first()).map(|link| link.href.clone());
    // An id may be an address itself (`isPermaLink`, Atom); where it is not, cleaning refuses the item by name.
    let url = link.unwrap_or(entry.id);
    let names = entry.authors.iter().filter_map(|person| person.name.as_deref());
    let html = entry
        .content
        .and_then(|content| content.body)
        .filter(|body| !body.trim().is_empty());
    let html = html
        .or(entry.summary.map(|summary| summary.content))
        .unwrap_or_default();
    RawItem {
        source: source.to_owned(),
        url,
        title: entry.title.map(|title| title.content).unwrap_or_default(),
        author: names.collect::<Vec<_>>().join(", "),
        published_ms: entry
            .published
            .or(entry.updated)
            .map(|time| time.timestamp_millis()),
        tags: entry
            .categories
            .into_iter()
            .map(|category| category.term)
            .collect(),
        body: Body::Html(html),
    }
}

/// A feed that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// There is nothing in it.
    #[error("the feed is empty")]
    Empty,
    /// Its bytes are no text in the encoding it names.
    #[error(transparent)]
    Charset(#[from] CharsetError),
    /// It is not well-formed.
    #[error("the feed is not well-formed: {0}")]
    Malformed(#[from] roxmltree::Error),
    /// Its XML declaration does not come first.
    #[error("the feed is not well-formed: something stands before the XML declaration")]
    LateDeclaration,
    /// It is no feed of a known kind.
    #[error(transparent)]
    Unknown(#[from] feed_rs::parser::ParseFeedError),
}

#[cfg(test)]
mod tests;
