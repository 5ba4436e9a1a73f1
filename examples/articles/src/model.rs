//! The words of the pipeline: what a feed delivers, what an article is, who clicked, what is recommended.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidemill::Data;
use tidemill::data::{DecodeError, EncodeError, Presence};

/// The name of an article: the first 12 hex digits of the SHA-256 of its canonical address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArticleId(pub String);

impl ArticleId {
    /// The id of the article at a canonical address.
    pub fn of_url(canonical_url: &str) -> Self {
        let digest = Sha256::digest(canonical_url.as_bytes());
        Self(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }
}

// The id itself, as text: readable by every tool.
impl Data for ArticleId {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        self.0.encode(out)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        String::decode(bytes).map(Self)
    }
}

impl fmt::Display for ArticleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a reader.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReaderId(pub String);

// The id itself, as text: readable by every tool.
impl Data for ReaderId {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        self.0.encode(out)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        String::decode(bytes).map(Self)
    }
}

impl fmt::Display for ReaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One entry as a feed or a corpus file delivers it: nothing is checked or cleaned yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Data)]
#[data(json)]
pub struct RawItem {
    /// The feed's title, or the corpus record's source.
    pub source: String,
    /// The address as delivered; empty where the entry has none.
    pub url: String,
    /// The title, with markup where the body has it.
    pub title: String,
    /// The authors' names, joined by a comma.
    pub author: String,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: Option<i64>,
    /// The labels the publisher gave it.
    pub tags: Vec<String>,
    /// The text: full content if there is any, else the summary.
    pub body: Body,
}

impl RawItem {
    // Less than any broker's limit for a message; longer texts are cut again, shorter, once markup is out.
    const BODY_BYTES_MAX: usize = 512 << 10;

    /// Cuts what no broker would take.
    pub fn bounded(mut self) -> Self {
        let (Body::Html(text) | Body::Plain(text)) = &mut self.body;
        text.truncate(text.floor_char_boundary(Self::BODY_BYTES_MAX));
        self
    }
}

/// Whether markup must be removed from a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// HTML, as feeds deliver it.
    Html(String),
    /// Text that is already plain.
    Plain(String),
}

/// A cleaned article.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Data)]
#[data(json)]
pub struct Article {
    /// Its name.
    pub id: ArticleId,
    /// The canonical address.
    pub url: String,
    /// Where it came from.
    pub source: String,
    /// The title as plain text.
    pub title: String,
    /// The authors' names.
    pub author: String,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: Option<i64>,
    /// The labels, in lower case, sorted, each once.
    pub tags: Vec<String>,
    /// The language's ISO 639-3 code, where it is certain.
    pub language: Option<String>,
    /// The plain text.
    pub text: String,
}

impl Article {
    /// The order that decides which of two near duplicates stays: the older one, then the smaller id.
    /// An article without a date comes last.
    pub fn seniority(&self) -> Seniority {
        Seniority {
            published_ms: self.published_ms.unwrap_or(i64::MAX),
            id: self.id.clone(),
        }
    }

    /// Merges two versions of the article at one address, as its RSS excerpt and its full text.
    /// Invariant: the result depends on the two versions only, never on which came first.
    pub fn merge(self, other: Self) -> Self {
        assert_eq!(self.id, other.id, "only versions of one article can be merged");
        let mut tags = [self.tags.clone(), other.tags.clone()].concat();
        tags.sort();
        tags.dedup();
        let published_ms = [self.published_ms, other.published_ms]
            .into_iter()
            .flatten()
            .min();
        let fuller = self.fullness().max(other.fullness()) == self.fullness();
        let best = if fuller { self } else { other };
        Self {
            tags,
            published_ms,
            ..best
        }
    }

    // Length first: a full text beats an excerpt. The rest only makes the order total.
    fn fullness(&self) -> (usize, &str, &str, &str, &str, &Option<String>) {
        (
            self.text.len(),
            &self.text,
            &self.title,
            &self.source,
            &self.author,
            &self.language,
        )
    }
}

/// The age order of articles; the smaller one is the senior.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seniority {
    published_ms: i64,
    /// The article this is the rank of.
    pub id: ArticleId,
}

/// A reader opened an article.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Data)]
#[data(json)]
pub struct Click {
    /// Who.
    pub reader: ReaderId,
    /// What.
    pub article: ArticleId,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What is known of a reader: every article opened, with the time of the first click.
///
/// A map keyed by article, not a count: a click that is delivered twice changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Data)]
pub struct Profile {
    /// First click on each article.
    pub first_clicks: BTreeMap<ArticleId, i64>,
}

impl Profile {
    /// Adds a click; neither repetition nor order matters.
    pub fn add(&mut self, click: Click) {
        let first = self.first_clicks.entry(click.article).or_insert(click.at_ms);
        *first = (*first).min(click.at_ms);
    }
}

/// One line of a recommendation list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The article.
    pub article: ArticleId,
    /// Its title, so that a list can be shown as it is.
    pub title: String,
    /// Its address.
    pub url: String,
    /// How well it matches, rounded so that the list prints the same everywhere.
    pub score: f64,
}

/// What a reader should see next, best first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Data)]
#[data(json)]
pub struct Recommendations {
    /// At most [`RECOMMENDATIONS_MAX`](crate::matching::RECOMMENDATIONS_MAX) lines.
    pub items: Vec<Recommendation>,
}
