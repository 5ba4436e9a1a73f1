//! The known name most like an unknown one.

/// The name among `known` with the fewest edits from `name`.
///
/// # Panics
/// When `known` is empty; the table of settings never is.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known
        .min_by_key(|candidate| edits(name, candidate))
        .expect("the table of settings is not empty")
}

/// The longest name that is compared; longer ones are cut, for the work is a product of both lengths.
const COMPARED_BYTES_MAX: usize = 256;

/// Levenshtein's distance, by bytes.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().take(COMPARED_BYTES_MAX).enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let here = (above + 1).min(before + 1).min(diagonal + usize::from(a != b));
            diagonal = above;
            if let Some(cell) = row.get_mut(j) {
                *cell = before;
            }
            before = here;
        }
        if let Some(cell) = row.last_mut() {
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_insertions_deletions_and_changes() {
        assert_eq!(edits("", ""), 0);
        assert_eq!(edits("abc", "abc"), 0);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("log.dir", "log.dirs"), 1);
    }

    #[test]
    fn a_misspelt_name_finds_the_one_that_was_meant() {
        let known = ["num.partitions", "log.dirs", "log.retention.hours"];
        assert_eq!(nearest("num.partition", known.into_iter()), "num.partitions");
        assert_eq!(
            nearest("log.retention.hour", known.into_iter()),
            "log.retention.hours"
        );
    }
}
