//! How many times was each word said?

use anyhow::Result;
use tidemill::prelude::*;
use tidemill_examples::Cluster;

const LINES: Topic<String, String> = Topic::new("lines");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::from_env().await?;
    let admin = Admin::connect(cluster.bootstrap())?;
    admin
        .create_topics(&[TopicSpec::new("lines", 3), TopicSpec::new("totals", 3)])
        .await?;

    let app = App::new("word-count");
    app.stream(&LINES)
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    let state = tempfile::tempdir()?;
    let config = Config::from_env()?
        .bootstrap_servers(cluster.bootstrap())
        .state_dir(state.path());
    let running = app.start(config).await?;

    let producer = Producer::connect(cluster.bootstrap())?;
    let lines = ["The tide comes in", "the tide goes out", "the mill turns"];
    for line in lines {
        producer
            .send(Produced::to(&LINES, &"tide".into(), &line.into())?)
            .await?
            .await?;
    }
    let said = lines.iter().flat_map(|line| line.split_whitespace()).count() as i64;
    loop {
        let counts = running.store(&COUNTS).all().await?;
        if counts.iter().map(|(_, count)| count).sum::<i64>() == said {
            for (word, count) in counts {
                println!("{word}: {count}");
            }
            break;
        }
        tokio::task::yield_now().await;
    }

    running.stop().await?;
    cluster.shutdown().await;
    Ok(())
}
