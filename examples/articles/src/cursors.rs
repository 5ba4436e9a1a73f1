//! How far every source has been read, kept in a compacted topic.
//!
//! A cursor moves only after everything before it has been acknowledged: a crash in between delivers some records
//! again, which changes nothing, and never loses one.

use std::collections::HashMap;

use anyhow::{Context, Result};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tidemill::Data;
use tidemill::client::{Admin, Consumer, From, Produced, Producer, TopicPartition};

use crate::topics::SOURCES;

/// A place in a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Data)]
#[data(json)]
pub struct Cursor {
    /// For a feed: the server's name for the version we have.
    pub etag: Option<String>,
    /// For a file: how many of its lines are done.
    pub lines: u64,
}

/// The cursors of all sources.
pub struct Cursors {
    producer: Producer,
    known: HashMap<String, Cursor>,
}

impl Cursors {
    /// Reads the topic to its end.
    pub async fn load(bootstrap: &str, admin: &Admin, producer: Producer) -> Result<Self> {
        let partition = TopicPartition::new(SOURCES.name(), 0);
        let (start, end) = admin.offsets(&partition).await?;
        let mut known = HashMap::new();
        if start < end {
            let mut records = Consumer::builder(bootstrap)
                .assign(&[(partition, From::Earliest)])
                .await?;
            loop {
                let record = records.next().await.context("the topic of cursors ended")??;
                let (name, cursor) = record.decode(&SOURCES)?;
                known.insert(name, cursor);
                if record.offset + 1 >= end {
                    break;
                }
            }
        }
        Ok(Self { producer, known })
    }

    /// Where a source was left; at its beginning if it is new.
    pub fn of(&self, source: &str) -> Cursor {
        self.known.get(source).cloned().unwrap_or_default()
    }

    /// Moves a cursor, and waits until that is written.
    pub async fn advance(&mut self, source: &str, cursor: Cursor) -> Result<()> {
        let name = source.to_owned();
        self.producer
            .send(Produced::to(&SOURCES, &name, &cursor)?)
            .await?
            .await?;
        self.known.insert(name, cursor);
        Ok(())
    }
}
