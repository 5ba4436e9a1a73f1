//! Brings input into the log: feeds, a corpus file, clicks. Every source goes on where its cursor stands.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tidemill::client::{Produced, Producer, Sent};
use tidemill::data::Header;
use tidemill::{Headers, Topic};

use crate::corpus::{LineError, read_articles, read_clicks};
use crate::cursors::{Cursor, Cursors};
use crate::feed::parse_feed;
use crate::fetch::{Fetched, Fetcher};
use crate::model::Click;
use crate::progress::Progress;
use crate::topics::{CLICKS, DEAD_LETTERS, RAW_ITEMS};

// Lines between two moves of a file's cursor: what a crash delivers again at most.
const LINES_PER_CURSOR: u64 = 5_000;
// What is kept of a broken feed: enough to see the fault, less than any broker's limit for a message.
const LETTER_BYTES_MAX: usize = 512 << 10;
// The headers of a dead letter, as the streams library names them (KIP-1034).
pub(crate) const REASON: &str = "__streams.errors.message";
const ORIGIN: &str = "__streams.errors.topic";

/// A feed by the name its cursor goes by; a local server's port changes, its names do not.
#[derive(Clone, Debug)]
pub struct FeedSource {
    /// For the cursor and for messages.
    pub name: String,
    /// Where to fetch it.
    pub url: String,
}

/// Writes to the input topics.
pub struct Intake {
    producer: Producer,
    cursors: Cursors,
    fetcher: Fetcher,
    progress: Arc<Progress>,
}

impl Intake {
    /// Sets up the intake.
    pub fn new(producer: Producer, cursors: Cursors, progress: Arc<Progress>) -> Result<Self> {
        Ok(Self {
            producer,
            cursors,
            fetcher: Fetcher::new()?,
            progress,
        })
    }

    /// Fetches every feed once. One that cannot be used becomes a dead letter; the others are not held up by it.
    pub async fn feeds(&mut self, sources: &[FeedSource]) -> Result<()> {
        for source in sources {
            let known = self.cursors.of(&source.name);
            match self.fetcher.fetch(&source.url, known.etag.as_deref()).await {
                Ok(Fetched::NotModified) => self.progress.feed_unchanged(),
                Ok(Fetched::Feed { bytes, etag }) => self.feed(source, &bytes, etag).await?,
                Err(error) => self.dead_letter(source, &[], &error.to_string()).await?,
            }
        }
        Ok(())
    }

    /// Sends the records of a corpus file.
    pub async fn corpus(&mut self, path: &Path) -> Result<()> {
        let file = BufReader::new(open(path)?);
        self.file(path, read_articles(file), &RAW_ITEMS, |item| item.url.clone())
            .await
    }

    /// Sends the records of a click file.
    pub async fn clicks(&mut self, path: &Path) -> Result<()> {
        let file = BufReader::new(open(path)?);
        self.file(path, read_clicks(file), &CLICKS, |click| click.reader.clone())
            .await
    }

    /// Sends clicks that are at hand.
    pub async fn sample_clicks(&mut self, clicks: Vec<Click>) -> Result<()> {
        let lines = clicks.into_iter().map(Ok);
        self.file(Path::new("sample clicks"), lines, &CLICKS, |click| {
            click.reader.clone()
        })
        .await
    }

    async fn feed(&mut self, source: &FeedSource, bytes: &[u8], etag: Option<String>) -> Result<()> {
        match parse_feed(bytes, Some(&source.url)) {
            Ok(items) => {
                self.progress.feed_fetched(items.len());
                let mut sent = Vec::with_capacity(items.len());
                for item in items {
                    sent.push(self.send(&RAW_ITEMS, &item.url.clone(), &item).await?);
                }
                acknowledged(sent).await?;
            }
            Err(error) => self.dead_letter(source, bytes, &error.to_string()).await?,
        }
        self.cursors
            .advance(&source.name, Cursor { etag, lines: 0 })
            .await
    }

    async fn dead_letter(&self, source: &FeedSource, bytes: &[u8], reason: &str) -> Result<()> {
        tracing::warn!(feed = source.name, reason, "a feed goes to the dead letters");
        self.progress.feed_broken();
        let header = |name: &str, value: &str| Header {
            name: name.to_owned(),
            value: Some(value.to_owned().into()),
        };
        let headers: Headers = [header(REASON, reason), header(ORIGIN, &source.url)]
            .into_iter()
            .collect();
        let kept = bytes.get(..LETTER_BYTES_MAX).unwrap_or(bytes).to_vec();
        let letter = Produced::bytes(DEAD_LETTERS, Some(source.name.clone().into_bytes()), Some(kept));
        self.producer.send(letter.headers(headers)).await?.await?;
        Ok(())
    }

    // A line that is no record is named and passed over.
    async fn file<K: 'static, V: 'static>(
        &mut self,
        path: &Path,
        lines: impl Iterator<Item = Result<V, LineError>>,
        topic: &Topic<K, V>,
        key: impl Fn(&V) -> K,
    ) -> Result<()> {
        let name = path.display().to_string();
        let mut done = self.cursors.of(&name).lines;
        let mut sent = Vec::new();
        for line in lines.skip(usize::try_from(done)?) {
            match line {
                Ok(value) => {
                    sent.push(self.send(topic, &key(&value), &value).await?);
                    self.progress
                        .items_parsed(usize::from(topic.name() == RAW_ITEMS.name()));
                }
                Err(error) => tracing::warn!(file = name, %error, "a line is passed over"),
            }
            done += 1;
            if done.is_multiple_of(LINES_PER_CURSOR) {
                acknowledged(std::mem::take(&mut sent)).await?;
                self.cursors
                    .advance(
                        &name,
                        Cursor {
                            etag: None,
                            lines: done,
                        },
                    )
                    .await?;
            }
        }
        acknowledged(sent).await?;
        self.cursors
            .advance(
                &name,
                Cursor {
                    etag: None,
                    lines: done,
                },
            )
            .await
    }

    async fn send<K: 'static, V: 'static>(&self, topic: &Topic<K, V>, key: &K, value: &V) -> Result<Sent> {
        Ok(self.producer.send(Produced::to(topic, key, value)?).await?)
    }
}

async fn acknowledged(sent: Vec<Sent>) -> Result<()> {
    for report in sent {
        report.await?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}
