//! How are records written one by one, each acknowledged before the next?

use anyhow::Result;
use tidemill::client::Acks;
use tidemill::prelude::*;
use tidemill_examples::Cluster;

const GREETINGS: Topic<String, String> = Topic::new("greetings");

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::from_env().await?;
    let producer = Producer::builder(cluster.bootstrap()).acks(Acks::All).build()?;

    for (name, greeting) in [("ada", "good morning"), ("grace", "hello"), ("ada", "good night")] {
        let record = Produced::to(&GREETINGS, &name.into(), &greeting.into())?;
        let delivery = producer.send(record).await?.await?;
        println!(
            "{name}: partition {}, offset {}",
            delivery.partition, delivery.offset
        );
    }

    cluster.shutdown().await;
    Ok(())
}
