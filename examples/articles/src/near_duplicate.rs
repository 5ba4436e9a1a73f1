//! Near duplicates: articles that share most of their word pairs.
//!
//! Two texts are as similar as their sets of two-word shingles overlap (Jaccard). Comparing all pairs would be
//! quadratic, so MinHash picks the candidates: [`HASHES`] hash functions each keep the smallest hash of a text's
//! shingles, and two texts agree in one of them with the probability of their similarity. [`ROWS`] of them make
//! a band, and texts that agree in a whole band are compared exactly. A pair at the threshold of 0.5 shares at
//! least one of the 64 bands with probability 1 - (1 - 0.5^3)^64 = 0.9998, a pair at 0.05 with 0.008.
//!
//! SimHash was not taken: its Hamming distance says little about short texts.

use std::collections::HashSet;

/// Texts at least this similar are one article.
pub const SIMILARITY_MIN: f64 = 0.5;

// Shorter texts have too few shingles: a shared boilerplate line would make them equal.
const SHINGLES_MIN: usize = 8;
const BANDS: usize = 64;
const ROWS: usize = 3;
const HASHES: usize = BANDS * ROWS;

/// The two-word shingles of a text, each as a hash.
pub struct Shingles(HashSet<u64>);

impl Shingles {
    /// Words are runs of letters and digits, in lower case: layout and punctuation do not count.
    pub fn of(text: &str) -> Self {
        let words: Vec<u64> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| fnv(word.to_lowercase().as_bytes()))
            .collect();
        Self(
            words
                .windows(2)
                .filter_map(|pair| pair.first().zip(pair.last()))
                .map(|(a, b)| mix(a ^ mix(*b)))
                .collect(),
        )
    }

    /// Shared shingles by all shingles: 0 for strangers, 1 for equals.
    pub fn similarity(&self, other: &Self) -> f64 {
        let shared = self.0.intersection(&other.0).count();
        let all = self.0.len() + other.0.len() - shared;
        if all == 0 { 0.0 } else { shared as f64 / all as f64 }
    }

    /// The keys of the buckets this text falls into, one a band; none for a text too short to judge.
    pub fn bands(&self) -> Vec<u64> {
        if self.0.len() < SHINGLES_MIN {
            return Vec::new();
        }
        let mut smallest = [u64::MAX; HASHES];
        for shingle in &self.0 {
            for (slot, seed) in smallest.iter_mut().zip(0u64..) {
                *slot = (*slot).min(mix(shingle ^ mix(seed)));
            }
        }
        let bands = smallest.chunks_exact(ROWS).zip(0u64..);
        bands
            .map(|(rows, band)| rows.iter().fold(mix(band), |key, row| mix(key ^ row)))
            .collect()
    }
}

/// Whether two texts are one article: similar enough, and found by a common band.
///
/// Asking for the band too makes the answer a function of the two texts alone. Without it, a pair that meets only
/// because an earlier version of one of them shared a band would depend on what had arrived before.
pub fn near_duplicates(a: &str, b: &str) -> bool {
    let (a, b) = (Shingles::of(a), Shingles::of(b));
    a.similarity(&b) >= SIMILARITY_MIN
        && a.bands()
            .iter()
            .zip(b.bands())
            .any(|(left, right)| *left == right)
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(range: std::ops::Range<u32>) -> String {
        range.map(|n| format!("word{n} ")).collect()
    }

    #[test]
    fn similarity_is_the_share_of_common_shingles() {
        let (a, b) = (Shingles::of(&words(0..101)), Shingles::of(&words(50..151)));
        assert!((a.similarity(&b) - 50.0 / 150.0).abs() < 1e-9);
        assert_eq!(a.similarity(&a), 1.0);
        assert_eq!(Shingles::of("").similarity(&Shingles::of("")), 0.0);
    }

    #[test]
    fn layout_case_and_punctuation_do_not_count() {
        let (a, b) = (
            Shingles::of("The tide -- it RISES."),
            Shingles::of("the\n\ntide: it rises"),
        );
        assert_eq!(a.similarity(&b), 1.0);
        assert_eq!(a.bands(), b.bands());
    }

    #[test]
    fn a_changed_sentence_is_a_near_duplicate_and_a_changed_half_is_not() {
        let text = words(0..200);
        assert!(near_duplicates(
            &text,
            &format!("{}{}", words(0..180), words(900..920))
        ));
        assert!(!near_duplicates(
            &text,
            &format!("{}{}", words(0..100), words(900..1000))
        ));
    }

    #[test]
    fn bands_find_nearly_all_pairs_above_the_threshold() {
        let missed = (0..200u32).filter(|n| {
            let base = n * 10_000;
            let a = Shingles::of(&words(base..base + 300));
            let b = Shingles::of(&words(base + 100..base + 400));
            assert!(a.similarity(&b) > 0.49);
            a.bands()
                .iter()
                .zip(b.bands())
                .all(|(left, right)| *left != right)
        });
        assert!(missed.count() <= 2);
    }

    #[test]
    fn a_text_too_short_to_judge_has_no_bands() {
        assert!(Shingles::of("three small words").bands().is_empty());
        assert!(!near_duplicates("three small words", "three small words"));
    }
}
