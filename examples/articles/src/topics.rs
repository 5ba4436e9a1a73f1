//! The topics and stores of the pipeline.

use tidemill::client::{Admin, TopicSpec};
use tidemill::{StoreName, Topic};

use crate::cursors::Cursor;
use crate::model::{Article, ArticleId, Click, Profile, RawItem, ReaderId, Recommendations};
use crate::standing::{Bucket, Standing, Versions};

/// The application's name: its consumer group, and the prefix of its internal topics.
pub const APPLICATION: &str = "articles";

/// Entries as feeds deliver them, by address.
pub const RAW_ITEMS: Topic<String, RawItem> = Topic::new("raw-items");
/// Articles without duplicates; a null withdraws one that turned out to repeat a senior one.
pub const ARTICLES: Topic<ArticleId, Option<Article>> = Topic::new("articles");
/// Who opened what.
pub const CLICKS: Topic<ReaderId, Click> = Topic::new("clicks");
/// Asks for a reader's recommendations to be worked out again; the value is the round's number.
pub const ROUNDS: Topic<ReaderId, i64> = Topic::new("match-rounds");
/// What every reader should see next.
pub const RECOMMENDATIONS: Topic<ReaderId, Recommendations> = Topic::new("recommendations");
/// Feeds and items that cannot be used, as they came, with the reason in the headers.
pub const DEAD_LETTERS: &str = "dead-letters";
/// How far every source has been read.
pub const SOURCES: Topic<String, Cursor> = Topic::new("sources");

/// All versions of an article, by its id.
pub const VERSIONS: StoreName<ArticleId, Versions> = StoreName::new("versions");
/// The articles that share a band.
pub const BUCKETS: StoreName<i64, Bucket> = StoreName::new("buckets");
/// Articles and what they repeat; the text index is built from this store.
pub const STANDINGS: StoreName<ArticleId, Standing> = StoreName::new("standings");
/// Reader profiles.
pub const PROFILES: StoreName<ReaderId, Profile> = StoreName::new("profiles");
/// The recommendations as they are served.
pub const RECOMMENDED: StoreName<ReaderId, Recommendations> = StoreName::new("recommended");

/// Enough that the work spreads over a small machine; what is joined needs the same number.
pub const PARTITIONS: u32 = 4;

/// Creates what is missing.
pub async fn create(admin: &Admin) -> anyhow::Result<()> {
    let existing = admin.list_topics().await?;
    let topic = |name: &str, partitions: u32| TopicSpec::new(name, partitions.cast_signed());
    let table = |name: &str, partitions: u32| topic(name, partitions).with("cleanup.policy", "compact");
    let mut wanted = vec![
        topic(RAW_ITEMS.name(), PARTITIONS),
        table(ARTICLES.name(), PARTITIONS),
        topic(CLICKS.name(), PARTITIONS),
        topic(ROUNDS.name(), PARTITIONS),
        table(RECOMMENDATIONS.name(), PARTITIONS),
        topic(DEAD_LETTERS, 1),
        table(SOURCES.name(), 1),
    ];
    wanted.retain(|topic| !existing.contains(&topic.name));
    // After a restart all are there, and the client refuses a list of none.
    if !wanted.is_empty() {
        admin.create_topics(&wanted).await?;
    }
    Ok(())
}
