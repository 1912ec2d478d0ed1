//! "Did you mean": the nearest of the words that would have been right.

/// A help line that names the nearest word, or all of them when none is near; `what` is their plural.
pub fn did_you_mean<'a>(
    written: &str,
    what: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    if let Some(word) = nearest(written, &words) {
        return format!("did you mean `{word}`?");
    }
    match words.as_slice() {
        [] => format!("there are no {what}"),
        [only] => format!("there is only `{only}`"),
        [firsts @ .., last] => format!("the {what} are `{}` and `{last}`", firsts.join("`, `")),
    }
}

/// Names in a row, as text quotes them.
pub(crate) fn quoted<'a, T: AsRef<str> + 'a>(names: impl IntoIterator<Item = &'a T>) -> String {
    let names: Vec<_> = names
        .into_iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    names.join(", ")
}

/// The word that a slip of the hand may have turned into what was written: a third of its letters at most, and no
/// other word as near.
fn nearest<'a>(written: &str, words: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase();
    let limit = (written.chars().count() / 3).max(1);
    let distance = |word: &str| strsim::damerau_levenshtein(&written, &word.to_lowercase());
    let least = words
        .iter()
        .map(|word| distance(word))
        .min()
        .filter(|least| *least <= limit)?;
    let mut nearest = words.iter().filter(|word| distance(word) == least);
    nearest.next().filter(|_| nearest.next().is_none()).copied()
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_slip_is_recognised_and_an_unknown_word_gets_the_list() {
        let words = ["vix0", "vix1", "chunk"];
        assert_eq!(
            did_you_mean("chnuk", "keys", words),
            "did you mean `chunk`?"
        );
        assert_eq!(
            did_you_mean("vix2", "nodes", words),
            "the nodes are `vix0`, `vix1` and `chunk`"
        );
        assert_eq!(did_you_mean("VIX0", "nodes", words), "did you mean `vix0`?");
        assert_eq!(
            did_you_mean("uptodate", "states", ["UpToDate", "Outdated"]),
            "did you mean `UpToDate`?"
        );
        assert_eq!(
            did_you_mean("elephant", "nodes", words),
            "the nodes are `vix0`, `vix1` and `chunk`"
        );
        assert_eq!(did_you_mean("x", "nodes", []), "there are no nodes");
    }
}
