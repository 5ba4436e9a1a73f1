//! How is one partition read from its newest record on, without a group?

use anyhow::{Context, Result};
use futures::StreamExt;
use tidemill::prelude::*;
use tidemill_examples::Cluster;

const TICKS: Topic<(), i64> = Topic::new("ticks");

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::from_env().await?;
    let admin = Admin::connect(cluster.bootstrap())?;
    admin.create_topics(&[TopicSpec::new("ticks", 1)]).await?;
    let producer = Producer::connect(cluster.bootstrap())?;
    producer.send(Produced::to(&TICKS, &(), &-1)?).await?.await?;

    // From the end of what is there now: the record above is not read.
    let partition = TopicPartition::new("ticks", 0);
    let (_, end) = admin.offsets(&partition).await?;
    let mut ticks = Consumer::builder(cluster.bootstrap())
        .assign(&[(partition, ReadFrom::Offset(end))])
        .await?;

    for tick in 0..3 {
        producer.send(Produced::to(&TICKS, &(), &tick)?).await?.await?;
        let record = ticks.next().await.context("a consumer never ends")??;
        let ((), value) = record.decode(&TICKS)?;
        println!("offset {}: tick {value}", record.offset);
    }

    cluster.shutdown().await;
    Ok(())
}
