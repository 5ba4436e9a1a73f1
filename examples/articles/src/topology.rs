//! The pipeline as a topology.
//!
//! Finding near duplicates is a data flow, too: an article goes into a bucket for each of its bands, buckets are
//! keyed, so they spread over partitions, and whoever meets in one is compared. No stage needs to see everything.

use std::sync::Arc;

use tidemill::{App, KStream, KTable, Policy};

use crate::clean::clean;
use crate::matcher::Matcher;
use crate::model::{Article, ArticleId};
use crate::progress::Progress;
use crate::standing::{Change, Comparison, Standing, Versions};
use crate::topics::{
    APPLICATION, ARTICLES, BUCKETS, CLICKS, DEAD_LETTERS, PARTITIONS, PROFILES, RAW_ITEMS, RECOMMENDATIONS,
    RECOMMENDED, ROUNDS, STANDINGS, VERSIONS,
};

/// The whole pipeline from `raw-items` and `clicks` to `articles` and `recommendations`.
pub fn topology(matcher: Arc<Matcher>, progress: Arc<Progress>) -> App {
    let app = App::new(APPLICATION);
    app.on_error(Policy::DeadLetter(DEAD_LETTERS.to_owned()));
    let fullest = fullest_versions(&app, progress.clone());
    let verdicts = verdicts(&fullest);
    publish(&fullest, verdicts, progress.clone());
    recommend(&app, matcher, progress);
    app
}

/// Cleans the items and keeps one version for every address: exact duplicates end here.
fn fullest_versions(app: &App, progress: Arc<Progress>) -> KTable<ArticleId, Versions> {
    app.stream(&RAW_ITEMS)
        .try_map(|_address, item| {
            let article = clean(item)?;
            Ok((article.id.clone(), article))
        })
        .group_by_key()
        .aggregate(&VERSIONS, move |_id, article: Article, versions| {
            progress.item_cleaned(versions.best.is_some());
            versions.add(article);
        })
}

/// Brings together the articles that share a band, and judges each pair where both texts are at hand.
///
/// The pairs come back to where the versions are, so this part of the flow is a loop, and their number of partitions
/// must be given: it follows from nothing else.
fn verdicts(fullest: &KTable<ArticleId, Versions>) -> KStream<ArticleId, Change> {
    fullest
        .to_stream()
        .flat_map(|id, versions| {
            let bands = versions.map(|versions| versions.bands).unwrap_or_default();
            bands
                .into_iter()
                .map(move |band| (band.cast_signed(), id.clone()))
        })
        .group_by_key()
        .aggregate(&BUCKETS, |_band, id, bucket| bucket.add(id))
        .to_stream()
        .flat_map(|_band, bucket| {
            bucket
                .unwrap_or_default()
                .pairs()
                .into_iter()
                .map(|pair| (pair.senior.clone(), pair))
        })
        .repartition_into("pairs", PARTITIONS)
        .join_table(fullest, |_senior, pair, versions| {
            versions.best.map(|senior| Comparison {
                junior: pair.junior,
                senior,
            })
        })
        .flat_map(|_senior, comparison| comparison.map(|comparison| (comparison.junior.clone(), comparison)))
        .repartition_into("comparisons", PARTITIONS)
        .join_table(fullest, |_junior, comparison, versions| {
            versions
                .best
                .map(|junior| Change::Verdict(comparison.judge(&junior)))
        })
        .flat_map_values(|verdict| verdict)
}

/// Publishes every article that repeats no senior one, and withdraws those that turn out to.
fn publish(
    fullest: &KTable<ArticleId, Versions>,
    verdicts: KStream<ArticleId, Change>,
    progress: Arc<Progress>,
) {
    fullest
        .to_stream()
        .flat_map_values(|versions| versions.and_then(|versions| versions.best).map(Change::Article))
        .merge(verdicts)
        .group_by_key()
        .aggregate(&STANDINGS, |_id, change, standing| standing.apply(change))
        .to_stream()
        .flat_map_values(|standing| standing.filter(|standing| standing.news).map(Standing::published))
        .peek(move |_id, article| progress.standing_changed(article.is_some()))
        .to(&ARTICLES);
}

/// Keeps a profile of every reader, and works out the recommendations of those a round asks for.
fn recommend(app: &App, matcher: Arc<Matcher>, progress: Arc<Progress>) {
    let clicks = progress.clone();
    let profiles = app
        .stream(&CLICKS)
        .group_by_key()
        .aggregate(&PROFILES, move |_reader, click, profile| {
            clicks.click_taken();
            profile.add(click);
        });
    let recommended = app
        .stream(&ROUNDS)
        .join_table(&profiles, move |_reader, _round, profile| {
            matcher.recommend(&profile)
        })
        .flat_map_values(|list| list)
        .to_table(&RECOMMENDED);
    recommended
        .to_stream()
        .flat_map_values(|list| list)
        .peek(move |_reader, _list| progress.recommended())
        .to(&RECOMMENDATIONS);
}
