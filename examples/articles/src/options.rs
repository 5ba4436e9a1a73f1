//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Reads feeds, drops duplicates, learns what readers like, and recommends.
///
/// Without arguments it works on sample feeds and sample readers, with a broker inside, and needs nothing else.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "articles", version)]
pub struct Options {
    /// Read these feeds instead of the sample ones: addresses, files, or directories of files.
    #[arg(long, num_args = 1.., value_name = "URL")]
    pub feeds: Vec<String>,
    /// Read articles from a file, one JSON record a line.
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<PathBuf>,
    /// Read clicks from a file, one JSON record a line.
    #[arg(long, value_name = "FILE")]
    pub clicks: Option<PathBuf>,
    /// Judge by the readers' true interests in this file. Only the evaluation sees it.
    #[arg(long, value_name = "FILE")]
    pub interests: Option<PathBuf>,
    /// Keep log and state here, so that the next start goes on where this one ends.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Use this cluster instead of a broker in the process.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap_servers: Option<String>,
    /// Where to answer questions.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How often to print a line of progress, in milliseconds.
    #[arg(long, value_name = "MILLIS", default_value_t = 1_000)]
    pub progress_ms: u64,
    /// Stop after the first results instead of serving until Ctrl-C.
    #[arg(long)]
    pub once: bool,
}

impl Options {
    /// Whether the sample feeds and readers are asked for: nothing else is given.
    pub fn uses_samples(&self) -> bool {
        self.feeds.is_empty() && self.corpus.is_none()
    }
}
