//! How is a topic created, looked at and deleted?

use anyhow::Result;
use tidemill::prelude::*;
use tidemill_examples::Cluster;

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::from_env().await?;
    let admin = Admin::connect(cluster.bootstrap())?;

    let topic = TopicSpec::new("orders", 3).with("cleanup.policy", "compact");
    admin.create_topics(&[topic]).await?;
    println!("topics: {}", admin.list_topics().await?.join(", "));
    if let Some(orders) = admin.describe_topic("orders").await? {
        for (partition, replicas) in orders.partitions.iter().enumerate() {
            println!(
                "orders-{partition}: leader {}, replicas {:?}",
                replicas.leader, replicas.replicas
            );
        }
    }
    admin.delete_topics(&["orders"]).await?;
    println!("topics: {}", admin.list_topics().await?.join(", "));

    cluster.shutdown().await;
    Ok(())
}
