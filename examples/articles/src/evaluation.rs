//! How good the recommendations are: learn from earlier clicks, predict later ones.
//!
//! The clicks are split at one moment for all readers. From what came before, every reader gets two lists of ten:
//! ours and the most read articles. A reader counts as hit if an article of the list was opened afterwards. Where
//! readers' interests are known (they are for generated clicks), it is also counted how many of the ten lie inside
//! them; interests are for judging only, and matching never sees them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;

use serde::Deserialize;

use crate::library::Library;
use crate::matching::Catalogue;
use crate::model::{Article, ArticleId, Profile, ReaderId, Recommendations};

// Share of the clicks, by time, that is learned from.
const LEARNED: f64 = 0.8;

/// What readers are really interested in: labels such as `tag:async` or `source:go-blog`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interests(HashMap<ReaderId, BTreeSet<String>>);

#[derive(Deserialize)]
struct InterestLine {
    user: String,
    interests: Vec<Interest>,
}

#[derive(Deserialize)]
struct Interest {
    key: String,
}

impl Interests {
    /// Notes a reader's interests.
    pub fn insert(&mut self, reader: ReaderId, labels: impl IntoIterator<Item = String>) {
        self.0.entry(reader).or_default().extend(labels);
    }

    /// Reads a file of one JSON record a line: `{"user", "interests": [{"key"}]}`.
    pub fn read(file: impl BufRead) -> io::Result<Self> {
        let mut interests = Self::default();
        for line in file.lines() {
            let record: InterestLine = serde_json::from_str(&line?)?;
            interests.insert(
                ReaderId(record.user),
                record.interests.into_iter().map(|interest| interest.key),
            );
        }
        Ok(interests)
    }

    fn include(&self, reader: &ReaderId, article: &Article) -> bool {
        let Some(labels) = self.0.get(reader) else {
            return false;
        };
        labels.contains(&format!("source:{}", article.source))
            || article
                .tags
                .iter()
                .any(|tag| labels.contains(&format!("tag:{tag}")))
    }
}

/// What a way to recommend achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Readers with at least one later click among the ten.
    pub readers_hit: usize,
    /// Recommendations made.
    pub recommended: usize,
    /// Recommendations inside the reader's true interests.
    pub inside: usize,
}

/// Both ways on the same readers.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Readers with clicks on both sides of the split.
    pub readers: usize,
    /// This pipeline's lists.
    pub ours: Tally,
    /// The most read articles.
    pub popular: Tally,
    /// Whether interests were known.
    pub interests_known: bool,
}

/// Evaluates matching on the clicks of all readers.
pub fn evaluate(
    library: &Arc<Library>,
    profiles: &BTreeMap<ReaderId, Profile>,
    interests: &Interests,
) -> Evaluation {
    let split_ms = split(profiles.values());
    let parts: Vec<(&ReaderId, Profile, BTreeSet<&ArticleId>)> = profiles
        .iter()
        .map(|(reader, profile)| halves(reader, profile, split_ms))
        .collect();
    let catalogue = Catalogue::of(library.clone(), parts.iter().map(|(_, earlier, _)| earlier));
    let mut result = Evaluation {
        readers: 0,
        ours: Tally::default(),
        popular: Tally::default(),
        interests_known: !interests.0.is_empty(),
    };
    for (reader, earlier, later) in parts
        .iter()
        .filter(|(_, a, b)| !a.first_clicks.is_empty() && !b.is_empty())
    {
        result.readers += 1;
        let inside = |article: &ArticleId| {
            let article = library
                .position(article)
                .and_then(|position| library.articles().get(position));
            article.is_some_and(|article| interests.include(reader, article))
        };
        result.ours.add(&catalogue.recommend(earlier), later, inside);
        result
            .popular
            .add(&catalogue.most_popular(earlier), later, inside);
    }
    result
}

fn split<'a>(profiles: impl Iterator<Item = &'a Profile>) -> i64 {
    let mut times: Vec<i64> = profiles
        .flat_map(|profile| profile.first_clicks.values().copied())
        .collect();
    times.sort_unstable();
    times
        .get((times.len() as f64 * LEARNED) as usize)
        .copied()
        .unwrap_or(i64::MAX)
}

fn halves<'a>(
    reader: &'a ReaderId,
    all: &'a Profile,
    split_ms: i64,
) -> (&'a ReaderId, Profile, BTreeSet<&'a ArticleId>) {
    let (earlier, later): (Vec<_>, Vec<_>) =
        all.first_clicks.iter().partition(|(_, at_ms)| **at_ms < split_ms);
    let earlier = earlier
        .into_iter()
        .map(|(article, at_ms)| (article.clone(), *at_ms))
        .collect();
    (
        reader,
        Profile {
            first_clicks: earlier,
        },
        later.into_iter().map(|(article, _)| article).collect(),
    )
}

impl Tally {
    fn add(
        &mut self,
        list: &Recommendations,
        later: &BTreeSet<&ArticleId>,
        inside: impl Fn(&ArticleId) -> bool,
    ) {
        self.readers_hit += usize::from(list.items.iter().any(|item| later.contains(&item.article)));
        self.recommended += list.items.len();
        self.inside += list.items.iter().filter(|item| inside(&item.article)).count();
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            readers,
            ours,
            popular,
            interests_known,
        } = self;
        write!(
            f,
            "hit-rate@10 on later clicks of {readers} readers: {:.1} %",
            percent(ours.readers_hit, *readers)
        )?;
        write!(
            f,
            " (most popular: {:.1} %)",
            percent(popular.readers_hit, *readers)
        )?;
        if *interests_known {
            write!(
                f,
                "\nhit-rate@10 on true interests: {:.1} %",
                percent(ours.inside, ours.recommended)
            )?;
            write!(
                f,
                " (most popular: {:.1} %)",
                percent(popular.inside, popular.recommended)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article(n: usize) -> Article {
        let topic = if n.is_multiple_of(2) { "birds" } else { "ships" };
        Article {
            id: ArticleId(format!("{n:02}")),
            url: format!("https://a.example/{n}"),
            source: "s".to_owned(),
            title: format!("{topic} {n}"),
            author: String::new(),
            published_ms: None,
            tags: vec![topic.to_owned()],
            language: None,
            text: format!("all about {topic}, part {n}"),
        }
    }

    #[test]
    fn earlier_clicks_predict_later_ones_inside_the_readers_interest() {
        let library = Arc::new(Library::of((0..60).map(article).collect()));
        let mut profiles: BTreeMap<ReaderId, Profile> = BTreeMap::new();
        let mut interests = Interests::default();
        for reader in 0..20usize {
            let id = ReaderId(format!("r{reader:02}"));
            interests.insert(
                id.clone(),
                [if reader < 4 {
                    "tag:birds".to_owned()
                } else {
                    "tag:ships".to_owned()
                }],
            );
            let topic = usize::from(reader >= 4);
            // Everyone reads through one topic at the same pace, from a place of their own.
            let first_clicks = (0..10)
                .map(|n| (article((reader * 6 + n * 2) % 60 / 2 * 2 + topic).id, n as i64))
                .collect();
            profiles.insert(id, Profile { first_clicks });
        }
        let result = evaluate(&library, &profiles, &interests);
        assert_eq!(result.readers, 20);
        assert_eq!(result.ours.inside, result.ours.recommended);
        assert!(result.popular.inside < result.popular.recommended);
    }

    #[test]
    fn without_clicks_there_is_nothing_to_judge() {
        let result = evaluate(&Arc::default(), &BTreeMap::new(), &Interests::default());
        assert_eq!(result.readers, 0);
        assert_eq!(
            result.to_string(),
            "hit-rate@10 on later clicks of 0 readers: 0.0 % (most popular: 0.0 %)"
        );
    }

    #[test]
    fn interests_are_read_from_a_file() {
        let file = r#"{"user":"u1","interests":[{"key":"tag:birds","weight":1.0}],"clicks":3}"#;
        let mut expected = Interests::default();
        expected.insert(ReaderId("u1".into()), ["tag:birds".to_owned()]);
        assert_eq!(Interests::read(file.as_bytes()).unwrap(), expected);
    }
}
