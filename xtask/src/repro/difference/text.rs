//! Text: the first line that differs, with its number.

use super::Difference;

/// How much of a line is shown, in characters.
const SHOWN: usize = 160;
/// How much of a long line is shown before the place where it differs, in characters.
const BEFORE: usize = 40;

/// The first line that differs, if both are text.
pub fn compare(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    let (ours, theirs) = (text(usual)?, text(otherwise)?);
    // With their ends: a last line may lack its own.
    let (mut left, mut right) = (ours.split_inclusive('\n'), theirs.split_inclusive('\n'));
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => {
                let column = common(one.unwrap_or_default(), other.unwrap_or_default());
                return Some(Difference::new(format!("line {number}"), shown(one, column), shown(other, column)));
            }
        }
    }
    None
}

fn text(bytes: &[u8]) -> Option<&str> {
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(is_text))
}

/// How many characters two lines have in common at their start.
fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count()
}

fn shown(line: Option<&str>, column: usize) -> String {
    let Some(line) = line else { return "the end".to_owned() };
    let start = if line.chars().count() > SHOWN { column.saturating_sub(BEFORE) } else { 0 };
    format!("{:?}", line.chars().skip(start).take(SHOWN).collect::<String>())
}
