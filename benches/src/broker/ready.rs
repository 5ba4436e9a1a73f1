//! How long a broker takes from nothing to its first answer: as a process, and inside this one.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tidemill::broker::{Broker, BrokerConfig};

use crate::peers::{announced, binary};
use crate::table::{Table, median};

/// How often each start is measured; the median counts.
const STARTS: usize = 20;

/// Adds the two start times to the table, beside the limits they are held against.
pub(super) fn measure(table: &mut Table) -> Result<()> {
    let process = median((0..STARTS).map(|_| standalone_ms()).collect::<Result<_>>()?);
    table.limited("process start to first Metadata", process, "ms", 50.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let embedded = median(
        (0..STARTS)
            .map(|_| embedded_ms(&runtime))
            .collect::<Result<_>>()?,
    );
    table.limited("`Broker::start` in a process", embedded, "ms", 10.0);
    Ok(())
}

fn standalone_ms() -> Result<f64> {
    let data = tempfile::tempdir()?;
    let file = data.path().join("server.properties");
    let logs = data.path().join("logs");
    std::fs::write(
        &file,
        format!("listeners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}\n", logs.display()),
    )?;
    let begin = Instant::now();
    let mut child = Command::new(binary()?)
        .args(["broker", "start", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().context("the broker's output is a pipe")?;
    let answered = announced(BufReader::new(output)).and_then(|address| first_metadata(&address));
    let elapsed = begin.elapsed();
    child.kill()?;
    child.wait()?;
    answered?;
    Ok(elapsed.as_secs_f64() * 1000.0)
}

fn embedded_ms(runtime: &tokio::runtime::Runtime) -> Result<f64> {
    runtime.block_on(async {
        let begin = Instant::now();
        let broker = Broker::start(BrokerConfig::default()).await?;
        let elapsed = begin.elapsed();
        broker.shutdown().await;
        Ok(elapsed.as_secs_f64() * 1000.0)
    })
}

/// Asks for Metadata, version 1, of no topics, and reads the whole answer.
///
/// | bytes | what |
/// |---|---|
/// | 4 | length of what follows |
/// | 2, 2 | API key 3, version 1 |
/// | 4 | correlation id |
/// | 2 | client id: null |
/// | 4 | topics: none |
pub(super) fn first_metadata(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    let mut request = Vec::with_capacity(18);
    request.extend(14_i32.to_be_bytes());
    request.extend(3_i16.to_be_bytes());
    request.extend(1_i16.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    ensure!(
        answer.starts_with(&7_i32.to_be_bytes()),
        "the answer is another request's"
    );
    Ok(())
}
