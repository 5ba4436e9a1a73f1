//! Input that needs no network: feeds written for this project, and readers who click by their interests.
//!
//! Four sites, one of them with a second feed of excerpts, one site that copies from the others, one torn file.
//! The readers are made up anew at every start, always the same ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::clean::clean;
use crate::evaluation::Interests;
use crate::feed::parse_feed;
use crate::model::{Article, ArticleId, Click, ReaderId};

const READERS: u64 = 60;
const CLICKS_MIN: u64 = 5;
const CLICKS_SPREAD: u64 = 6;
// Of ten clicks, how many follow an interest; the others go anywhere.
const INSIDE_OF_TEN: u64 = 8;
// 2026-05-04T06:00:00Z, after the last article, and the time from one click to the next.
const FIRST_CLICK_MS: i64 = 1_777_874_400_000;
const PAUSE_MS: i64 = 37_000;

/// The sample feeds by file name.
pub fn feeds() -> impl Iterator<Item = (String, Vec<u8>)> {
    let files: [(&str, &str); 7] = [
        (
            "backyard-sky.atom.xml",
            include_str!("../feeds/backyard-sky.atom.xml"),
        ),
        ("broken.rss.xml", include_str!("../feeds/broken.rss.xml")),
        (
            "coast-reader.rss.xml",
            include_str!("../feeds/coast-reader.rss.xml"),
        ),
        (
            "garden-diary.feed.json",
            include_str!("../feeds/garden-diary.feed.json"),
        ),
        (
            "harbour-notes-digest.rss.xml",
            include_str!("../feeds/harbour-notes-digest.rss.xml"),
        ),
        (
            "harbour-notes.rss.xml",
            include_str!("../feeds/harbour-notes.rss.xml"),
        ),
        (
            "slow-kitchen.rss.xml",
            include_str!("../feeds/slow-kitchen.rss.xml"),
        ),
    ];
    files
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
}

/// The clicks of the sample readers in time order, and the interests behind them, which only the evaluation sees.
pub fn clicks() -> (Vec<Click>, Interests) {
    let articles = articles();
    let labels: Vec<String> = articles
        .iter()
        .flat_map(labels)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut random = Random(7);
    let (mut clicks, mut interests) = (Vec::new(), Interests::default());
    for n in 1..=READERS {
        let reader = ReaderId(format!("reader-{n:02}"));
        let likes: BTreeSet<String> = (0..2).filter_map(|_| random.pick(&labels).cloned()).collect();
        let inside: Vec<&Article> = articles
            .iter()
            .filter(|article| labels_of(article, &likes))
            .collect();
        let anywhere: Vec<&Article> = articles.iter().collect();
        for _ in 0..CLICKS_MIN + random.below(CLICKS_SPREAD) {
            let from = if random.below(10) < INSIDE_OF_TEN {
                &inside
            } else {
                &anywhere
            };
            let at_ms = FIRST_CLICK_MS + PAUSE_MS * i64::try_from(random.below(20_000)).unwrap_or_default();
            if let Some(article) = random.pick(from) {
                clicks.push(Click {
                    reader: reader.clone(),
                    article: article.id.clone(),
                    at_ms,
                });
            }
        }
        interests.insert(reader, likes);
    }
    clicks.sort_by(|a, b| (a.at_ms, &a.reader, &a.article).cmp(&(b.at_ms, &b.reader, &b.article)));
    (clicks, interests)
}

// Each once, the copies of the copying site left out: nobody there has readers of their own.
fn articles() -> Vec<Article> {
    let items = feeds()
        .filter_map(|(_, bytes)| parse_feed(&bytes, None).ok())
        .flatten();
    let mut articles: BTreeMap<ArticleId, Article> = BTreeMap::new();
    for article in items
        .filter_map(|item| clean(item).ok())
        .filter(|article| !article.url.contains("coast-reader"))
    {
        let merged = match articles.remove(&article.id) {
            Some(known) => known.merge(article),
            None => article,
        };
        articles.insert(merged.id.clone(), merged);
    }
    articles.into_values().collect()
}

fn labels(article: &Article) -> impl Iterator<Item = String> + '_ {
    article
        .tags
        .iter()
        .map(|tag| format!("tag:{tag}"))
        .chain([format!("source:{}", article.source)])
}

fn labels_of(article: &Article, likes: &BTreeSet<String>) -> bool {
    labels(article).any(|label| likes.contains(&label))
}

// SplitMix64: the same readers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(list.len()).ok()?);
        list.get(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::evaluation::evaluate;
    use crate::feed::FeedError;
    use crate::library::Library;
    use crate::model::Profile;
    use crate::near_duplicate::near_duplicates;

    #[test]
    fn one_feed_is_broken_and_the_others_are_not() {
        for (name, bytes) in feeds() {
            match parse_feed(&bytes, None) {
                Ok(items) => assert!(items.len() >= 5, "{name}"),
                Err(error) => assert!(
                    name == "broken.rss.xml" && matches!(error, FeedError::Malformed(_)),
                    "{name}: {error}"
                ),
            }
        }
    }

    #[test]
    fn every_copy_is_a_near_duplicate_of_one_article_and_no_two_originals_are() {
        let all = feeds()
            .filter_map(|(_, bytes)| parse_feed(&bytes, None).ok())
            .flatten();
        let all: Vec<Article> = all.filter_map(|item| clean(item).ok()).collect();
        let originals = articles();
        for copy in all.iter().filter(|article| article.url.contains("coast-reader")) {
            let same = originals
                .iter()
                .filter(|article| near_duplicates(&article.text, &copy.text))
                .count();
            assert_eq!(same, 1, "{}", copy.title);
        }
        for (n, one) in originals.iter().enumerate() {
            assert!(
                originals
                    .iter()
                    .skip(n + 1)
                    .all(|other| !near_duplicates(&one.text, &other.text)),
                "{}",
                one.title
            );
        }
    }

    #[test]
    fn the_sample_readers_are_recommended_what_they_like() {
        let (clicks, interests) = clicks();
        let mut profiles: BTreeMap<ReaderId, Profile> = BTreeMap::new();
        clicks
            .into_iter()
            .for_each(|click| profiles.entry(click.reader.clone()).or_default().add(click));
        let result = evaluate(&Arc::new(Library::of(articles())), &profiles, &interests);
        assert!(result.readers > 20);
        let rate = |tally: crate::evaluation::Tally| tally.inside as f64 / tally.recommended as f64;
        assert!(rate(result.ours) > 1.5 * rate(result.popular), "{result}");
    }
}
