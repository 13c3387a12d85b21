//! Something in the input that init could not use, worded for the person who wrote it.

use std::fmt;

/// One problem, and where it is. It never stops the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where the problem is, such as `/etc/pid1.conf line 3`.
    pub place: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// ``unknown WHAT `word` ``, with the known word that is nearest to it, or with all of them when none is near.
pub(crate) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("unknown {what} `{word}`, did you mean `{near}`?"),
        None => format!("unknown {what} `{word}`, expected one of: {}", known.join(", ")),
    }
}

/// The known word with the fewest typing errors away from `word`, if it is near enough to be meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Longer input is not a typing error, and comparing it would only cost time.
    const LONGEST_WORD: usize = 40;
    if word.len() > LONGEST_WORD {
        return None;
    }
    // Two letters changed places are two errors here; more than that is another word.
    let near_enough = if word.len() < 4 { 1 } else { 2 };
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .min()
        .filter(|(errors, _)| *errors <= near_enough)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and replacements that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((to, above), diagonal) in b.chars().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(from != to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word() {
        let known = ["program", "arg", "env"];
        for (word, expect) in
            [("porgram", Some("program")), ("args", Some("arg")), ("env", Some("env")), ("restart", None), ("", None)]
        {
            assert_eq!(nearest(word, &known), expect, "{word}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expect) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("é", "e", 1)] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
        }
    }
}
