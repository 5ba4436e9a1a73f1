//! How are many records written at once, and their delivery reports read as they come?

use anyhow::Result;
use futures::TryStreamExt;
use tidemill::client::Sticky;
use tidemill::prelude::*;
use tidemill_examples::Cluster;

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::from_env().await?;
    let producer = Producer::builder(cluster.bootstrap())
        .partitioner(Sticky::default())
        .build()?;

    let mut sent = Vec::new();
    for n in 0..10_000 {
        let record = Produced::bytes(
            "measurements",
            None,
            Some(format!("measurement {n}").into_bytes()),
        );
        sent.push(producer.send(record).await?);
    }
    producer.flush().await?;

    let deliveries: Vec<_> = Producer::reports(sent).try_collect().await?;
    let last = deliveries
        .iter()
        .map(|delivery| delivery.offset)
        .max()
        .unwrap_or_default();
    println!(
        "{} records written, the last at offset {last} of its partition",
        deliveries.len()
    );

    cluster.shutdown().await;
    Ok(())
}
