//! `tidemill dead-letters`: what a program could not process, listed and sent back.

mod instant;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use tidemill_client::{Settings, Transport, connect};
use tidemill_data::Timestamp;
use tidemill_runtime::{WhichLetters, list_dead_letters, replay_some_dead_letters};

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print them, a line each: where it lies, where it came from, its time, exception, key and message, with tabs between.
    List(List),
    /// Write them back to the topics and partitions they came from, and delete what found its way.
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    letters: Letters,
    /// Print no more than so many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    letters: Letters,
    /// Print what would be written, and write and delete nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Where the letters are, and which are meant.
#[derive(Debug, Args)]
struct Letters {
    /// The cluster: HOST:PORT, with commas between several.
    #[arg(long, value_name = "SERVERS")]
    bootstrap_server: String,
    /// A file of client settings, NAME=VALUE a line.
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// The dead-letter topic.
    #[arg(long)]
    topic: String,
    /// Only letters of this exception: DecodeError, ProcessError, Panic, or a Java class with or without its package.
    #[arg(long, value_name = "CLASS")]
    exception: Option<String>,
    /// Only letters that came from this topic.
    #[arg(long, value_name = "TOPIC")]
    source_topic: Option<String>,
    /// Only letters that came from this partition.
    #[arg(long, value_name = "N")]
    source_partition: Option<i32>,
    /// Only records of this time or later: milliseconds since 1970, or as in 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = instant::parse)]
    since: Option<Timestamp>,
    /// Only records before this time.
    #[arg(long, value_name = "TIME", value_parser = instant::parse)]
    before: Option<Timestamp>,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(List { letters, limit }) => {
            let transport = letters.connect()?;
            letters.print(&*transport, limit.unwrap_or(usize::MAX))?;
            Ok(())
        }
        Command::Replay(Replay { letters, dry_run }) => letters.replay(dry_run),
    }
}

impl Letters {
    fn connect(&self) -> anyhow::Result<Box<dyn Transport>> {
        let mut settings = Settings::new();
        if let Some(path) = &self.command_config {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let (name, value) = line
                    .split_once('=')
                    .with_context(|| format!("{}:{}: expected NAME=VALUE", path.display(), number + 1))?;
                settings.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        settings.insert("bootstrap.servers".to_owned(), self.bootstrap_server.clone());
        Ok(connect(&settings)?)
    }

    fn which(&self) -> WhichLetters {
        WhichLetters {
            exception: self.exception.clone(),
            topic: self.source_topic.clone(),
            partition: self.source_partition,
            since: self.since,
            before: self.before,
        }
    }

    /// Prints the letters, and gives how many there were.
    fn print(&self, transport: &dyn Transport, limit: usize) -> anyhow::Result<usize> {
        let mut out = std::io::stdout().lock();
        let (mut printed, mut outcome) = (0, Ok(()));
        let foreign = list_dead_letters(transport, &self.topic, &self.which(), &mut |at, letter| {
            if printed == limit {
                return ControlFlow::Break(());
            }
            let key = letter.record.key.as_deref();
            outcome = writeln!(
                out,
                "{at}@{}\t{}-{}@{}\t{}\t{}\t{}\t{}",
                letter.record.offset,
                letter.topic,
                letter.partition,
                letter.offset,
                instant::text(letter.record.timestamp),
                letter.exception,
                key.map_or_else(|| "null".to_owned(), |key| key.escape_ascii().to_string()),
                letter.message.escape_debug(),
            );
            printed += 1;
            if outcome.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })
        .with_context(|| format!("reading {}", self.topic))?;
        match outcome {
            // Whoever read the lines has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            outcome => outcome?,
        }
        if foreign > 0 {
            eprintln!(
                "{foreign} records of {} do not say where they came from",
                self.topic
            );
        }
        Ok(printed)
    }

    fn replay(&self, dry_run: bool) -> anyhow::Result<()> {
        let transport = self.connect()?;
        if dry_run {
            let count = self.print(&*transport, usize::MAX)?;
            println!("{count} would be written back; nothing was written or deleted");
            return Ok(());
        }
        let replayed = replay_some_dead_letters(&*transport, &self.topic, &self.which())
            .with_context(|| format!("replaying {}; nothing was deleted of it", self.topic))?;
        println!("{} written back, {} left", replayed.records, replayed.left);
        if replayed.kept > 0 {
            println!(
                "{} of those written back are still in {}, behind letters that were left: to replay them again is to \
                 write them again",
                replayed.kept, self.topic
            );
        }
        Ok(())
    }
}
