//! Which feeds to read: addresses as given; files and the samples through the local feed server.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::feed_server::FeedServer;
use crate::intake::FeedSource;
use crate::options::Options;
use crate::sample;

// What a directory of feeds may hold beside them is not asked for.
const FEED_EXTENSIONS: [&str; 4] = ["xml", "json", "rss", "atom"];

/// The feeds the options name, and the server of those among them that are files.
pub async fn find(options: &Options) -> Result<(Vec<FeedSource>, FeedServer)> {
    let (addresses, paths): (Vec<_>, Vec<_>) = options.feeds.iter().partition(|feed| feed.contains("://"));
    let mut files = Vec::new();
    for path in paths {
        read(Path::new(path), &mut files).with_context(|| format!("cannot read {path}"))?;
    }
    if options.uses_samples() {
        files.extend(sample::feeds());
    }
    let server = FeedServer::start(files).await?;
    let local = |url: String| FeedSource {
        name: url.replace(&server.address(), "local:"),
        url,
    };
    let mut sources: Vec<FeedSource> = server.urls().map(local).collect();
    sources.extend(addresses.into_iter().map(|url| FeedSource {
        name: url.clone(),
        url: url.clone(),
    }));
    Ok((sources, server))
}

fn read(path: &Path, files: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    if !path.is_dir() {
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        files.push((name, fs::read(path)?));
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        if path.is_file() && FEED_EXTENSIONS.contains(&extension) {
            read(&path, files)?;
        }
    }
    Ok(())
}
