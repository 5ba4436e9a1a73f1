//! `tidemill broker verify`: every batch of every partition, checked while the broker is stopped; nothing is changed.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::Settings;
use super::batches::Segment;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    settings: Settings,
}

/// What was looked at.
#[derive(Debug, Default)]
struct Seen {
    partitions: usize,
    segments: usize,
    batches: usize,
    faults: usize,
}

impl Verify {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut seen = Seen::default();
        for dir in self.settings.config()?.settings()?.log_dirs {
            for partition in partitions(&dir)? {
                seen.partition(&partition)?;
            }
        }
        let Seen {
            partitions,
            segments,
            batches,
            faults,
        } = seen;
        println!("{partitions} partitions, {segments} segments, {batches} batches, {faults} faults");
        match faults {
            0 => Ok(()),
            _ => bail!("{faults} faults"),
        }
    }
}

impl Seen {
    fn partition(&mut self, dir: &Path) -> anyhow::Result<()> {
        self.partitions += 1;
        let segments = segments(dir)?;
        let nexts = segments.iter().skip(1).map(|(base, _)| Some(*base)).chain([None]);
        for ((base, path), next_base) in segments.iter().zip(nexts) {
            self.segments += 1;
            self.segment(path, *base, next_base)?;
        }
        Ok(())
    }

    fn segment(&mut self, path: &Path, base: i64, next_base: Option<i64>) -> anyhow::Result<()> {
        let mut segment = Segment::open(path)?;
        let mut expected = base;
        let mut starts = Vec::new();
        let mut fault = |position: u64, what: String| {
            println!("{} at {position}: {what}", path.display());
            self.faults += 1;
        };
        loop {
            let found = match segment.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    fault(segment.position(), error.to_string());
                    break;
                }
            };
            self.batches += 1;
            starts.push(found.position);
            let batch = match found.batch() {
                Ok(batch) => batch,
                Err(error) => {
                    fault(found.position, error.to_string());
                    continue;
                }
            };
            let header = batch.header();
            if header.base_offset < expected || next_base.is_some_and(|next| header.next_offset() > next) {
                fault(
                    found.position,
                    format!("base offset {}, expected {expected} or later", header.base_offset),
                );
            }
            expected = expected.max(header.next_offset());
        }
        let index = path.with_extension("index");
        let entries = std::fs::read(&index).with_context(|| format!("cannot read {}", index.display()))?;
        for entry in entries.chunks_exact(8) {
            let position = entry
                .last_chunk()
                .map_or(0, |bytes| u64::from(u32::from_be_bytes(*bytes)));
            if starts.binary_search(&position).is_err() {
                println!("{}: no batch begins at {position}", index.display());
                self.faults += 1;
            }
        }
        Ok(())
    }
}

/// The folders of partitions in a data directory.
fn partitions(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name();
        let is_partition = name.to_str().is_some_and(|name| {
            let number = name.rsplit_once('-').map(|(_, number)| number.parse::<u32>());
            matches!(number, Some(Ok(_)))
        });
        if is_partition && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The segment files of a partition and the offsets they begin at.
fn segments(dir: &Path) -> anyhow::Result<Vec<(i64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let base = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(base) = base.filter(|_| path.extension().is_some_and(|suffix| suffix == "log")) {
            found.push((base, path));
        }
    }
    found.sort();
    Ok(found)
}
