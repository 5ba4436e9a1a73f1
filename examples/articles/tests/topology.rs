//! The topology in virtual time: whatever the order of arrival, the same articles and recommendations.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not take for tests"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill::Timestamp;
use tidemill::testing::TestDriver;
use tidemill_articles::feed::parse_feed;
use tidemill_articles::library::Library;
use tidemill_articles::matcher::Matcher;
use tidemill_articles::matching::Catalogue;
use tidemill_articles::model::{Article, ArticleId, Body, Profile, RawItem, ReaderId, Recommendations};
use tidemill_articles::sample;
use tidemill_articles::topics::{
    ARTICLES, CLICKS, DEAD_LETTERS, PROFILES, RAW_ITEMS, RECOMMENDATIONS, RECOMMENDED, ROUNDS, STANDINGS,
};
use tidemill_articles::topology::topology;

const PARTITIONS: i32 = 4;

/// The topology in a driver, with the matcher it uses and a clock that ticks with every record.
struct Bench {
    driver: TestDriver,
    matcher: Arc<Matcher>,
    now: i64,
}

impl Bench {
    fn new() -> Self {
        let matcher = Arc::new(Matcher::default());
        let driver = TestDriver::with_partitions(&topology(matcher.clone(), Arc::default()), PARTITIONS);
        Self {
            driver,
            matcher,
            now: 0,
        }
    }

    fn item(&mut self, item: &RawItem) {
        self.now += 1;
        self.driver.pipe(
            &RAW_ITEMS,
            item.url.clone(),
            item.clone(),
            Timestamp::from_millis(self.now),
        );
    }

    /// The `articles` topic as a table.
    fn articles(&mut self) -> BTreeMap<ArticleId, Article> {
        let mut table = BTreeMap::new();
        for record in self.driver.read(&ARTICLES) {
            match record.value {
                Some(article) => drop(table.insert(record.key, article)),
                None => drop(table.remove(&record.key)),
            }
        }
        table
    }

    /// What the pipeline does when nothing waits: a catalogue from the stores, and a round for every reader.
    fn round(&mut self) -> BTreeMap<ReaderId, Recommendations> {
        let standings = self.driver.rows(&STANDINGS).into_iter();
        let articles = standings
            .filter_map(|(_, standing)| standing.value.published())
            .collect();
        let profiles: BTreeMap<ReaderId, Profile> = self
            .driver
            .rows(&PROFILES)
            .into_iter()
            .map(|(reader, profile)| (reader, profile.value))
            .collect();
        let library = Arc::new(Library::of(articles));
        self.matcher
            .replace(Arc::new(Catalogue::of(library, profiles.values())));
        for reader in profiles.into_keys() {
            self.now += 1;
            self.driver
                .pipe(&ROUNDS, reader, 1, Timestamp::from_millis(self.now));
        }
        self.driver
            .read(&RECOMMENDATIONS)
            .into_iter()
            .map(|record| (record.key, record.value))
            .collect()
    }
}

fn sample_items() -> Vec<RawItem> {
    sample::feeds()
        .filter_map(|(_, bytes)| parse_feed(&bytes, None).ok())
        .flatten()
        .collect()
}

fn item(name: &str, published_ms: i64, words: std::ops::Range<u32>) -> RawItem {
    RawItem {
        source: "press".to_owned(),
        url: format!("https://press.example/{name}"),
        title: name.to_owned(),
        author: String::new(),
        published_ms: Some(published_ms),
        tags: vec![],
        body: Body::Plain(words.map(|n| format!("word{n} ")).collect()),
    }
}

#[test]
fn every_order_of_arrival_gives_the_same_articles() {
    let items = sample_items();
    let backward: Vec<RawItem> = items.iter().rev().cloned().collect();
    let (even, odd): (Vec<_>, Vec<_>) = items.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
    let shuffled: Vec<RawItem> = odd.into_iter().chain(even).map(|(_, item)| item).collect();
    let twice = [items.clone(), items.clone()].concat();
    let tables = [items, backward, shuffled, twice].map(|order| {
        let mut bench = Bench::new();
        order.iter().for_each(|item| bench.item(item));
        bench.articles()
    });
    let [first, others @ ..] = &tables;
    assert_eq!(first.len(), 28);
    assert!(
        first
            .values()
            .all(|article| !article.url.contains("coast-reader"))
    );
    for other in others {
        assert_eq!(other, first);
    }
}

#[test]
fn items_that_are_no_articles_become_dead_letters_with_the_reason() {
    let mut bench = Bench::new();
    sample_items().iter().for_each(|item| bench.item(item));
    let letters = bench.driver.read_raw(DEAD_LETTERS);
    let mut reasons: Vec<String> = letters
        .iter()
        .filter_map(|letter| {
            letter
                .headers
                .last("__streams.errors.message")?
                .value
                .as_deref()
                .map(<[u8]>::to_vec)
        })
        .map(|reason| String::from_utf8(reason).unwrap())
        .collect();
    reasons.sort();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[1].contains("coast-reader-17"), "{reasons:?}");
    assert!(reasons[0].contains("neither title nor text"), "{reasons:?}");
}

#[test]
fn an_older_article_that_comes_late_takes_the_place_of_its_copy() {
    let mut bench = Bench::new();
    bench.item(&item("copy", 20, 0..98));
    assert_eq!(bench.articles().len(), 1);
    bench.item(&item("original", 10, 0..100));
    let table = bench.articles();
    assert_eq!(
        table
            .values()
            .map(|article| article.title.as_str())
            .collect::<Vec<_>>(),
        ["original"]
    );
}

#[test]
fn a_fuller_text_that_is_no_copy_any_more_brings_the_article_back() {
    let mut bench = Bench::new();
    bench.item(&item("original", 10, 0..100));
    bench.item(&item("report", 20, 0..80));
    let withdrawn = bench
        .driver
        .rows(&STANDINGS)
        .into_iter()
        .filter(|(_, row)| !row.value.repeats.is_empty())
        .count();
    assert_eq!(withdrawn, 1);
    bench.item(&item("report", 20, 0..400));
    let standings = bench.driver.rows(&STANDINGS);
    assert!(standings.iter().all(|(_, row)| row.value.repeats.is_empty()));
    assert_eq!(standings.len(), 2);
}

#[test]
fn a_round_writes_every_readers_recommendations_whatever_came_twice_or_late() {
    let (clicks, _) = sample::clicks();
    let mut calm = Bench::new();
    sample_items().iter().for_each(|item| calm.item(item));
    for click in &clicks {
        calm.driver.pipe(
            &CLICKS,
            click.reader.clone(),
            click.clone(),
            Timestamp::from_millis(click.at_ms),
        );
    }
    let mut rough = Bench::new();
    for click in clicks.iter().rev().chain(clicks.iter().take(200)) {
        rough.driver.pipe(
            &CLICKS,
            click.reader.clone(),
            click.clone(),
            Timestamp::from_millis(click.at_ms),
        );
    }
    sample_items().iter().rev().for_each(|item| rough.item(item));
    let (expected, got) = (calm.round(), rough.round());
    assert_eq!(expected.len(), 60);
    assert!(expected.values().all(|list| !list.items.is_empty()));
    assert_eq!(got, expected);
    let served = rough
        .driver
        .rows(&RECOMMENDED)
        .into_iter()
        .map(|(reader, row)| (reader, row.value))
        .collect();
    assert_eq!(got, served);
}

#[test]
fn a_round_before_there_is_a_catalogue_recommends_nothing() {
    let mut bench = Bench::new();
    let (clicks, _) = sample::clicks();
    let click = &clicks[0];
    bench.driver.pipe(
        &CLICKS,
        click.reader.clone(),
        click.clone(),
        Timestamp::from_millis(1),
    );
    bench
        .driver
        .pipe(&ROUNDS, click.reader.clone(), 1, Timestamp::from_millis(2));
    assert!(bench.driver.read(&RECOMMENDATIONS).is_empty());
}
