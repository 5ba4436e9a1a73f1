//! All articles with what is similar to each: the part of matching that no click changes.

use std::collections::HashMap;
use std::thread;

use crate::model::{Article, ArticleId};
use crate::text_index::TextIndex;

/// A frozen list of articles, in the order of their ids, and their similarities.
#[derive(Default)]
pub struct Library {
    articles: Vec<Article>,
    positions: HashMap<ArticleId, usize>,
    similar: Vec<Vec<(usize, f32)>>,
}

impl Library {
    /// Indexes a set of articles.
    pub fn of(mut articles: Vec<Article>) -> Self {
        articles.sort_by(|a, b| a.id.cmp(&b.id));
        articles.dedup_by(|a, b| a.id == b.id);
        let positions = articles
            .iter()
            .zip(0..)
            .map(|(article, position)| (article.id.clone(), position))
            .collect();
        let similar = compare_all(&TextIndex::build(&articles), articles.len());
        Self {
            articles,
            positions,
            similar,
        }
    }

    /// The articles, by id.
    pub fn articles(&self) -> &[Article] {
        &self.articles
    }

    /// Where an article stands in [`articles`](Self::articles).
    pub fn position(&self, id: &ArticleId) -> Option<usize> {
        self.positions.get(id).copied()
    }

    /// What is similar to the article at `position`, by position: pairs of position and similarity.
    pub fn similar(&self, position: usize) -> &[(usize, f32)] {
        self.similar.get(position).map_or(&[], Vec::as_slice)
    }

    /// The `count` articles most similar to `id`, best first; `None` if there is no such article.
    pub fn most_similar(&self, id: &ArticleId, count: usize) -> Option<Vec<(&Article, f32)>> {
        let mut ranked = self.similar(self.position(id)?).to_vec();
        ranked.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        ranked.truncate(count);
        Some(
            ranked
                .into_iter()
                .filter_map(|(other, score)| Some((self.articles.get(other)?, score)))
                .collect(),
        )
    }
}

// Every article is compared with every other, so the work is shared out to all cores.
fn compare_all(index: &TextIndex, articles: usize) -> Vec<Vec<(usize, f32)>> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = articles.div_ceil(workers).max(1);
    thread::scope(|scope| {
        let shares = (0..articles)
            .step_by(share)
            .map(|start| start..articles.min(start + share));
        let running: Vec<_> = shares
            .map(|share| {
                scope.spawn(move || share.map(|position| index.similar(position)).collect::<Vec<_>>())
            })
            .collect();
        running
            .into_iter()
            .flat_map(|worker| worker.join().expect("comparing does not panic"))
            .collect()
    })
}
