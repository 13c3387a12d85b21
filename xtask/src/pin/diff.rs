//! What an edit changes, line by line, for people.

/// The changed lines with `-` and `+`, and a line around them on each side. Empty, if nothing changed.
pub fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = edit_script(&old, &new);
    let is_change = |index: usize| lines.get(index).is_some_and(|(sign, _)| *sign != ' ');
    let mut text = String::new();
    for (index, (sign, line)) in lines.iter().enumerate() {
        let is_near = is_change(index) || is_change(index + 1) || index.checked_sub(1).is_some_and(is_change);
        if is_near {
            text.push_str(&format!("{sign}{line}\n"));
        }
    }
    text
}

/// The shortest way from one text to the other, by the longest common subsequence of their lines.
fn edit_script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] =
                if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_their_neighbours() {
        assert_eq!(diff("a\nb\nc\nd\ne\n", "a\nb\nx\nd\ne\n"), " b\n-c\n+x\n d\n");
        assert_eq!(diff("a\nb\n", "a\nb\n"), "");
        assert_eq!(diff("a\n", "a\nb\n"), " a\n+b\n");
    }
}
