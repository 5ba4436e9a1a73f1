//! Matches readers to articles: what is similar to what a reader opened, and has been read by others.
//!
//! The result is a function of the set of articles and the set of clicks. No clock, no order of arrival and no
//! counter goes in, so a run that was killed and started again ends with the same lists.

use std::sync::Arc;

use crate::library::Library;
use crate::model::{Profile, Recommendation, Recommendations};

/// Length of a recommendation list.
pub const RECOMMENDATIONS_MAX: usize = 10;

// How strongly a good match outweighs popularity.
const AFFINITY_EXPONENT: i32 = 3;
// How much less a click says when everybody opened that article: its weight falls with the readers to this power.
const CROWD_EXPONENT: f32 = 0.3;

/// What matching knows: the articles, and how many readers opened each.
pub struct Catalogue {
    library: Arc<Library>,
    readers: Vec<u32>,
}

impl Catalogue {
    /// The catalogue of a library read by these readers.
    pub fn of<'a>(library: Arc<Library>, profiles: impl IntoIterator<Item = &'a Profile>) -> Self {
        let mut readers = vec![0; library.articles().len()];
        for id in profiles
            .into_iter()
            .flat_map(|profile| profile.first_clicks.keys())
        {
            if let Some(count) = library
                .position(id)
                .and_then(|position| readers.get_mut(position))
            {
                *count += 1;
            }
        }
        Self { library, readers }
    }

    /// The articles behind it.
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// What this reader should see next. Empty for a reader none of whose clicks leads to a known article.
    pub fn recommend(&self, profile: &Profile) -> Recommendations {
        let affinity = self.affinity(profile);
        let score = |position: usize, affinity: f32| {
            affinity.powi(AFFINITY_EXPONENT) * (1 + self.readers(position)) as f32
        };
        self.best_unread(
            profile,
            affinity
                .into_iter()
                .enumerate()
                .map(|(position, value)| (position, score(position, value))),
        )
    }

    /// The most read articles this reader has not opened: what [`recommend`](Self::recommend) is judged against.
    pub fn most_popular(&self, profile: &Profile) -> Recommendations {
        self.best_unread(
            profile,
            self.readers.iter().map(|count| *count as f32).enumerate(),
        )
    }

    /// How many readers opened the article at a position of the library.
    pub fn readers(&self, position: usize) -> u32 {
        self.readers.get(position).copied().unwrap_or_default()
    }

    // By position: the weighted mean of an article's similarity to the articles this reader opened.
    fn affinity(&self, profile: &Profile) -> Vec<f32> {
        let mut affinity = vec![0.0; self.library.articles().len()];
        let mut weights = 0.0;
        for clicked in profile
            .first_clicks
            .keys()
            .filter_map(|id| self.library.position(id))
        {
            let weight = (1.0 + self.readers(clicked) as f32).powf(-CROWD_EXPONENT);
            weights += weight;
            for (other, similarity) in self.library.similar(clicked) {
                if let Some(sum) = affinity.get_mut(*other) {
                    *sum += weight * similarity;
                }
            }
        }
        affinity
            .iter_mut()
            .for_each(|sum| *sum /= f32::max(weights, f32::MIN_POSITIVE));
        affinity
    }

    fn best_unread(&self, profile: &Profile, scores: impl Iterator<Item = (usize, f32)>) -> Recommendations {
        let unread = |position: &usize| {
            let article = self.library.articles().get(*position)?;
            (!profile.first_clicks.contains_key(&article.id)).then_some(article)
        };
        let mut ranked: Vec<_> = scores
            .filter(|(_, score)| *score > 0.0)
            .filter_map(|(at, score)| Some((unread(&at)?, score)))
            .collect();
        ranked.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.id.cmp(&b.id)));
        ranked.truncate(RECOMMENDATIONS_MAX);
        let line = |(article, score): (&crate::model::Article, f32)| Recommendation {
            article: article.id.clone(),
            title: article.title.clone(),
            url: article.url.clone(),
            score: rounded(score),
        };
        Recommendations {
            items: ranked.into_iter().map(line).collect(),
        }
    }
}

/// A score as it is shown: four digits, the same everywhere.
pub fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests;
