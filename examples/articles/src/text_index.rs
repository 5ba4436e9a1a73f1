//! Which articles are about the same: BM25 over the words and labels of all articles.
//!
//! An article is represented by its [`KEYWORDS`] most telling stems, and by its labels and source as terms of their
//! own. Asking with an article's own terms finds what is similar to it. All answers are a function of the list of
//! articles alone, so an index rebuilt after a crash gives the same ones.

use std::collections::{BTreeMap, HashMap};

use bm25::{
    DefaultTokenizer, Embedder, EmbedderBuilder, Embedding, Language, Scorer, TokenEmbedder, TokenEmbedding,
};

use crate::model::Article;

// More terms cost time in every comparison and add noise rather than meaning.
const KEYWORDS: usize = 24;
// A label was given by a person, so it counts like a word that is used all over the article.
const LABEL_VALUE: f32 = 2.2;
// Fixed, not measured: an article's terms then depend on the article alone.
const LENGTH_TYPICAL: f32 = 400.0;

type Terms = Embedding<u64>;

/// A text index over a fixed list of articles, which it names by their position.
pub struct TextIndex {
    terms: Vec<Terms>,
    scorer: Scorer<usize, u64>,
}

impl TextIndex {
    /// Indexes a list of articles.
    pub fn build(articles: &[Article]) -> Self {
        let embedder: Embedder<u64> = EmbedderBuilder::<u64, DefaultTokenizer>::with_avgdl(LENGTH_TYPICAL)
            .language_mode(Language::English)
            .build();
        let words: Vec<BTreeMap<u64, f32>> =
            articles.iter().map(|article| words(&embedder, article)).collect();
        let mut documents: HashMap<u64, usize> = HashMap::new();
        for word in words.iter().flat_map(BTreeMap::keys) {
            *documents.entry(*word).or_default() += 1;
        }
        let rarity =
            |word: &u64| (articles.len() as f32 / documents.get(word).copied().unwrap_or(1) as f32).ln();
        let mut scorer = Scorer::new();
        let mut terms = Vec::with_capacity(articles.len());
        for (position, (article, words)) in articles.iter().zip(words).enumerate() {
            let mut ranked: Vec<(u64, f32)> = words.into_iter().collect();
            ranked.sort_by(|(a, x), (b, y)| (y * rarity(b)).total_cmp(&(x * rarity(a))).then(a.cmp(b)));
            ranked.truncate(KEYWORDS);
            ranked.extend(labels(article).map(|label| (label, LABEL_VALUE)));
            let embedding = Embedding(
                ranked
                    .into_iter()
                    .map(|(index, value)| TokenEmbedding { index, value })
                    .collect(),
            );
            scorer.upsert(&position, embedding.clone());
            terms.push(embedding);
        }
        Self { terms, scorer }
    }

    /// How similar every other article is to the one at `position`, from 0 (nothing in common) to about 1.
    /// Sorted by position; articles that share no term are left out.
    pub fn similar(&self, position: usize) -> Vec<(usize, f32)> {
        let Some(query) = self.terms.get(position) else {
            return Vec::new();
        };
        let itself = self
            .scorer
            .score(&position, query)
            .unwrap_or_default()
            .max(f32::MIN_POSITIVE);
        let mut found: Vec<(usize, f32)> = self
            .scorer
            .matches(query)
            .into_iter()
            .map(|hit| (hit.id, hit.score / itself))
            .collect();
        found.retain(|(other, _)| *other != position);
        found.sort_by_key(|(other, _)| *other);
        found
    }
}

fn words(embedder: &Embedder<u64>, article: &Article) -> BTreeMap<u64, f32> {
    // The title twice: it is short, and says what the text is about.
    let text = format!("{0}\n{0}\n{1}", article.title, article.text);
    embedder
        .embed(&text)
        .0
        .into_iter()
        .map(|term| (term.index, term.value))
        .collect()
}

fn labels(article: &Article) -> impl Iterator<Item = u64> + '_ {
    let tags = article
        .tags
        .iter()
        .map(|tag| <u64 as TokenEmbedder>::embed(&format!("tag:{tag}")));
    tags.chain([<u64 as TokenEmbedder>::embed(&format!(
        "source:{}",
        article.source
    ))])
}
