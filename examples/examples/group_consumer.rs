//! How do consumers of a group share a topic, and commit how far they are?

use anyhow::{Context, Result};
use futures::StreamExt;
use tidemill::prelude::*;
use tidemill_examples::Cluster;

const ORDERS: Topic<String, String> = Topic::new("orders");
const COUNT: usize = 20;

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::from_env().await?;
    Admin::connect(cluster.bootstrap())?
        .create_topics(&[TopicSpec::new("orders", 4)])
        .await?;
    let producer = Producer::connect(cluster.bootstrap())?;
    for n in 0..COUNT {
        producer
            .send(Produced::to(
                &ORDERS,
                &format!("customer {n}"),
                &format!("order {n}"),
            )?)
            .await?;
    }
    producer.flush().await?;

    let join = || {
        Consumer::in_group(cluster.bootstrap(), "billing")
            .commit(Commit::ByHand)
            .subscribe(&["orders"])
    };
    let members = [join()?, join()?];
    let mut records = futures::stream::select_all(members.map(|member| {
        // Each record comes with its consumer, to commit there.
        Box::pin(async_records(member))
    }));
    for _ in 0..COUNT {
        let (customer, order) = records.next().await.context("a consumer never ends")??;
        println!("{customer}: {order}");
    }

    drop(records);
    cluster.shutdown().await;
    Ok(())
}

/// The member's records, each committed when it is taken.
fn async_records(member: Consumer) -> impl futures::Stream<Item = Result<(String, String)>> {
    futures::stream::unfold(member, |mut member| async {
        let record = member.next().await?;
        let taken = async {
            let record = record?;
            member.commit(&record).await?;
            Ok(record.decode(&ORDERS)?)
        };
        let taken = taken.await;
        Some((taken, member))
    })
}
