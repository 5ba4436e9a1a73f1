//! `tidemill broker format`: the data directories of a new broker, with the cluster's id in them.

use anyhow::bail;
use clap::Args;

use super::Settings;

#[derive(Debug, Args)]
pub(crate) struct Format {
    #[command(flatten)]
    settings: Settings,
    /// The cluster's id; a new one where none is given.
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// Leave directories that are formatted already as they are.
    #[arg(long)]
    ignore_formatted: bool,
}

impl Format {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let config = self.settings.config()?;
        let dirs = config.settings()?.log_dirs;
        let (formatted, new): (Vec<_>, Vec<_>) =
            dirs.iter().partition(|dir| dir.join("meta.properties").exists());
        match formatted.first() {
            Some(_) if new.is_empty() && self.ignore_formatted => return Ok(()),
            Some(dir) => bail!("{} is formatted already", dir.display()),
            None => {}
        }
        let cluster_id = tidemill_broker::format(&config, self.cluster_id.as_deref())?;
        for dir in dirs {
            println!("{} belongs to cluster {cluster_id}", dir.display());
        }
        Ok(())
    }
}
