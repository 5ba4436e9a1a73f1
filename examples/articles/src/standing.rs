//! What the de-duplication stages keep and pass on. Each is a set or a maximum, so that nothing depends on order.
//!
//! ```text
//! raw item ─▶ Versions ─▶ Bucket (one a band) ─▶ Pair ─▶ Verdict ─┐
//!                └────────────── the article itself ──────────────┴─▶ Standing ─▶ `articles`
//! ```
//!
//! Of two near duplicates the senior one stays. The rule is local: an article is dropped if any senior one
//! resembles it, be that one dropped itself or not. A rule that looked at what had been kept so far would depend on
//! the order of arrival.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidemill::Data;

use crate::model::{Article, ArticleId};
use crate::near_duplicate::{Shingles, near_duplicates};

/// Everything delivered for one address: exact duplicates end here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Data)]
pub struct Versions {
    /// The fullest version so far.
    pub best: Option<Article>,
    /// The bands of every version ever the best. The old ones are kept because verdicts that were found through
    /// them must be found again, and withdrawn, when the text changes.
    pub bands: BTreeSet<u64>,
}

impl Versions {
    /// Takes in one more delivery.
    pub fn add(&mut self, article: Article) {
        let best = match self.best.take() {
            Some(known) => known.merge(article),
            None => article,
        };
        self.bands.extend(Shingles::of(&best.text).bands());
        self.best = Some(best);
    }
}

/// The articles that share one band.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Data)]
pub struct Bucket {
    members: BTreeSet<ArticleId>,
    newest: Option<ArticleId>,
}

impl Bucket {
    /// Puts an article in.
    pub fn add(&mut self, id: ArticleId) {
        self.members.insert(id.clone());
        self.newest = Some(id);
    }

    /// The newest member with every other one, both ways round: which of them is senior is decided where both
    /// articles are known.
    pub fn pairs(self) -> Vec<Pair> {
        let Some(newest) = self.newest else {
            return Vec::new();
        };
        let others = self.members.into_iter().filter(|member| *member != newest);
        let both = |other: ArticleId| {
            let pair = Pair {
                senior: newest.clone(),
                junior: other,
            };
            [
                Pair {
                    senior: pair.junior.clone(),
                    junior: pair.senior.clone(),
                },
                pair,
            ]
        };
        others.flat_map(both).collect()
    }
}

/// Two articles that may be one, if the first is the senior.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Data)]
pub struct Pair {
    /// The one that would stay.
    pub senior: ArticleId,
    /// The one that would be dropped.
    pub junior: ArticleId,
}

/// A pair with the senior's article at hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Data)]
pub struct Comparison {
    /// The one that would be dropped.
    pub junior: ArticleId,
    /// The one that would stay.
    pub senior: Article,
}

impl Comparison {
    /// Judges the junior's article against the senior's.
    pub fn judge(self, junior: &Article) -> Verdict {
        let older = self.senior.seniority() < junior.seniority();
        let duplicate = older && near_duplicates(&self.senior.text, &junior.text);
        Verdict {
            senior: self.senior.id,
            duplicate,
        }
    }
}

/// Whether an article is a near duplicate of a senior one. A later verdict on the same two replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Data)]
pub struct Verdict {
    /// The senior article.
    pub senior: ArticleId,
    /// Whether the other one repeats it.
    pub duplicate: bool,
}

/// What is new about one article.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Data)]
pub enum Change {
    /// Its text.
    Article(Article),
    /// Its relation to another one.
    Verdict(Verdict),
}

/// An article, and the senior ones it repeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Data)]
pub struct Standing {
    /// The article; verdicts may come first.
    pub article: Option<Article>,
    /// Empty for an article that stays.
    pub repeats: BTreeSet<ArticleId>,
    /// Whether the latest change made a difference to what is published: most verdicts confirm what was known.
    pub news: bool,
}

impl Standing {
    /// Takes in a change.
    pub fn apply(&mut self, change: Change) {
        let before = self.repeats.is_empty();
        let other_text = match change {
            Change::Article(article) => {
                let other = self.article.as_ref() != Some(&article);
                self.article = Some(article);
                other
            }
            Change::Verdict(Verdict { senior, duplicate }) => {
                let _ = if duplicate {
                    self.repeats.insert(senior)
                } else {
                    self.repeats.remove(&senior)
                };
                false
            }
        };
        self.news = self.article.is_some() && (other_text || before != self.repeats.is_empty());
    }

    /// The article, unless it repeats another.
    pub fn published(self) -> Option<Article> {
        self.article.filter(|_| self.repeats.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article(name: &str, published_ms: i64, text: &str) -> Article {
        Article {
            id: ArticleId(name.to_owned()),
            url: format!("https://{name}.example/"),
            source: String::new(),
            title: name.to_owned(),
            author: String::new(),
            published_ms: Some(published_ms),
            tags: vec![],
            language: None,
            text: text.to_owned(),
        }
    }

    fn words(range: std::ops::Range<u32>) -> String {
        range.map(|n| format!("word{n} ")).collect()
    }

    #[test]
    fn the_fullest_version_stays_whatever_came_first() {
        let (excerpt, full) = (article("a", 5, &words(0..20)), article("a", 7, &words(0..40)));
        let (mut one, mut other) = (Versions::default(), Versions::default());
        [&excerpt, &full, &excerpt]
            .into_iter()
            .for_each(|version| one.add(version.clone()));
        [&full, &excerpt]
            .into_iter()
            .for_each(|version| other.add(version.clone()));
        assert_eq!(one.best, other.best);
        let best = one.best.unwrap();
        assert_eq!((best.text, best.published_ms), (words(0..40), Some(5)));
    }

    #[test]
    fn a_bucket_pairs_the_newest_member_with_the_others_both_ways() {
        let mut bucket = Bucket::default();
        for name in ["a", "b", "c", "b"] {
            bucket.add(ArticleId(name.to_owned()));
        }
        let pairs: BTreeSet<String> = bucket
            .pairs()
            .into_iter()
            .map(|pair| format!("{}>{}", pair.senior, pair.junior))
            .collect();
        assert_eq!(
            pairs.into_iter().collect::<Vec<_>>(),
            ["a>b", "b>a", "b>c", "c>b"]
        );
    }

    #[test]
    fn only_the_junior_of_two_near_duplicates_is_dropped() {
        let (older, younger) = (article("b", 1, &words(0..100)), article("a", 2, &words(0..99)));
        let judge = |senior: &Article, junior: &Article| {
            Comparison {
                junior: junior.id.clone(),
                senior: senior.clone(),
            }
            .judge(junior)
            .duplicate
        };
        assert!(judge(&older, &younger));
        assert!(!judge(&younger, &older));
        assert!(!judge(&older, &article("c", 3, &words(500..600))));
    }

    #[test]
    fn a_verdict_that_is_withdrawn_brings_the_article_back() {
        let mut standing = Standing::default();
        let verdict = |duplicate| {
            Change::Verdict(Verdict {
                senior: ArticleId("s".to_owned()),
                duplicate,
            })
        };
        standing.apply(verdict(true));
        assert_eq!(standing.clone().published(), None);
        standing.apply(Change::Article(article("a", 1, "text")));
        assert_eq!(standing.clone().published(), None);
        standing.apply(verdict(true));
        assert!(!standing.news);
        standing.apply(verdict(false));
        assert!(standing.news);
        assert_eq!(standing.published(), Some(article("a", 1, "text")));
    }
}
