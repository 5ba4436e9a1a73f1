//! What a run prints in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use futures::StreamExt;
use tidemill::client::{Admin, Consumer, From, TopicPartition};

use crate::evaluation::{Interests, evaluate};
use crate::intake::REASON;
use crate::matching::Catalogue;
use crate::model::{Profile, ReaderId};
use crate::topics::DEAD_LETTERS;

const READERS_SHOWN: usize = 3;
const LINES_SHOWN: usize = 5;
const LETTERS_SHOWN: usize = 40;

/// Everything the report tells.
pub struct Report<'a> {
    /// What the recommendations were made from.
    pub catalogue: &'a Catalogue,
    /// The readers.
    pub profiles: &'a BTreeMap<ReaderId, Profile>,
    /// For judging only.
    pub interests: &'a Interests,
    /// How many articles repeat a senior one.
    pub near_duplicates: usize,
    /// What could not be used: its name, and the reason.
    pub dead_letters: &'a BTreeMap<String, String>,
    /// Where to ask for more.
    pub address: SocketAddr,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let articles = self.catalogue.library().articles().len();
        writeln!(
            f,
            "\n{articles} articles, {} near duplicates dropped, {} readers",
            self.near_duplicates,
            self.profiles.len()
        )?;
        if !self.dead_letters.is_empty() {
            writeln!(
                f,
                "{} dead letters in topic {DEAD_LETTERS}:",
                self.dead_letters.len()
            )?;
        }
        for (name, reason) in self.dead_letters.iter().take(LETTERS_SHOWN) {
            writeln!(f, "  {name}: {reason}")?;
        }
        writeln!(
            f,
            "{}",
            evaluate(self.catalogue.library(), self.profiles, self.interests)
        )?;
        for (reader, profile) in self.profiles.iter().take(READERS_SHOWN) {
            writeln!(
                f,
                "\nfor {reader}, who opened {} articles:",
                profile.first_clicks.len()
            )?;
            for line in self.catalogue.recommend(profile).items.iter().take(LINES_SHOWN) {
                writeln!(f, "  {:8.4}  {}  <{}>", line.score, line.title, line.url)?;
            }
        }
        let reader = self
            .profiles
            .keys()
            .next()
            .map_or("READER", |reader| reader.0.as_str());
        let article = self
            .catalogue
            .library()
            .articles()
            .first()
            .map_or("ARTICLE", |article| article.id.0.as_str());
        writeln!(
            f,
            "\nmore: http://{}/readers/{reader}/recommendations",
            self.address
        )?;
        writeln!(f, "      http://{}/articles/{article}", self.address)?;
        write!(f, "      http://{}/articles/{article}/similar", self.address)
    }
}

/// Reads the dead letters, each once even if it was delivered twice.
pub async fn dead_letters(bootstrap: &str, admin: &Admin) -> Result<BTreeMap<String, String>> {
    let partition = TopicPartition::new(DEAD_LETTERS, 0);
    let (start, end) = admin.offsets(&partition).await?;
    let mut letters = BTreeMap::new();
    if start >= end {
        return Ok(letters);
    }
    let mut records = Consumer::builder(bootstrap)
        .assign(&[(partition, From::Earliest)])
        .await?;
    loop {
        let record = records
            .next()
            .await
            .context("the topic of dead letters ended")??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let reason = record
            .headers
            .last(REASON)
            .and_then(|header| header.value.as_deref().map(text));
        let name = record.key.as_deref().map(text).filter(|name| !name.is_empty());
        letters.insert(
            name.unwrap_or_else(|| "an item without address".to_owned()),
            reason.unwrap_or_default(),
        );
        if record.offset + 1 >= end {
            return Ok(letters);
        }
    }
}
