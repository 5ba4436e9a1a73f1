//! `tidemill broker dump-log`: what is in segment files, a line a batch, and a line a record where asked.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use tidemill_protocol::batch::{Batch, BatchError};

use super::batches::Segment;

/// The most the records of one batch may be when decompressed.
const RECORDS_BYTES_MAX: usize = 1 << 30;

#[derive(Debug, Args)]
pub(crate) struct DumpLog {
    /// Segment files (`.log`).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print the records too.
    #[arg(long)]
    records: bool,
}

impl DumpLog {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let mut bad = 0;
        for path in &self.files {
            bad += usize::from(!self.dump(path, &mut out)?);
        }
        match bad {
            0 => Ok(()),
            _ => bail!("{bad} of {} files are damaged", self.files.len()),
        }
    }

    /// Prints one file; says whether all of it could be read.
    fn dump(&self, path: &Path, out: &mut impl Write) -> anyhow::Result<bool> {
        writeln!(out, "{}", path.display())?;
        let mut segment = Segment::open(path)?;
        let mut whole = true;
        loop {
            let found = match segment.next() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(whole),
                Err(error) => {
                    writeln!(out, "  position {}: {error}", segment.position())?;
                    return Ok(false);
                }
            };
            let position = found.position;
            let printed = match found.batch() {
                Ok(batch) => self.print(position, &batch, out)?,
                Err(error) => Err(error),
            };
            if let Err(error) = printed {
                writeln!(out, "  position {position}: {error}")?;
                whole = false;
            }
        }
    }

    fn print(
        &self,
        position: u64,
        batch: &Batch<'_>,
        out: &mut impl Write,
    ) -> anyhow::Result<Result<(), BatchError>> {
        let header = batch.header();
        writeln!(
            out,
            "  position {position} offsets {}..={} records {} bytes {} epoch {} max time {} producer {} epoch {} sequence {} codec {}{}{}",
            header.base_offset,
            header.last_offset(),
            header.record_count,
            header.len,
            header.leader_epoch,
            header.max_timestamp,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.attributes.compression().map_or("", |codec| codec.name()),
            if header.attributes.is_transactional() {
                " transactional"
            } else {
                ""
            },
            if header.attributes.is_control() {
                " control"
            } else {
                ""
            },
        )?;
        if !self.records {
            return Ok(Ok(()));
        }
        let payload = match batch.payload(RECORDS_BYTES_MAX) {
            Ok(payload) => payload,
            Err(error) => return Ok(Err(error)),
        };
        for record in batch.records(&payload) {
            let record = match record {
                Ok(record) => record,
                Err(error) => return Ok(Err(error)),
            };
            let (key, value) = (shown(record.key), shown(record.value));
            writeln!(
                out,
                "    offset {} time {} key {key} value {value}",
                record.offset, record.timestamp
            )?;
        }
        Ok(Ok(()))
    }
}

/// Bytes as text, escaped where they are none.
fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(
        || "null".to_string(),
        |bytes| format!("\"{}\"", bytes.escape_ascii()),
    )
}
