//! Plain bytes: the first offset, and what is there on both sides.

use super::Difference;

/// How many bytes are shown in hexadecimal.
const SHOWN: usize = 16;
/// How far a text around the offset is shown, in bytes before and after it.
const BEFORE: usize = 32;
const AFTER: usize = 64;
/// Fewer printable bytes in a row are no text, but chance.
const TEXT: usize = 6;

/// The first difference of two byte strings.
pub fn compare(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    let common = usual.iter().zip(otherwise).position(|(a, b)| a != b);
    let offset = match common {
        Some(offset) => offset,
        None if usual.len() == otherwise.len() => return None,
        None => usual.len().min(otherwise.len()),
    };
    let found = Difference::new(format!("offset {offset:#x}"), shown(usual, offset), shown(otherwise, offset));
    let sizes = format!("{} and {} bytes long", usual.len(), otherwise.len());
    Some(if usual.len() == otherwise.len() { found } else { found.noting(sizes) })
}

/// Sixteen bytes in hexadecimal, and the text that they are part of.
fn shown(bytes: &[u8], offset: usize) -> String {
    let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) else {
        return "the end".to_owned();
    };
    let hex: Vec<String> = rest.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    match text_around(bytes, offset) {
        Some(text) => format!("{}  \"{text}\"", hex.join(" ")),
        None => hex.join(" "),
    }
}

/// The printable text that holds the byte at `offset`, if there is any.
fn text_around(bytes: &[u8], offset: usize) -> Option<String> {
    let is_text = |byte: &&u8| byte.is_ascii_graphic() || **byte == b' ';
    let before = bytes.get(..offset)?.iter().rev().take(BEFORE).take_while(is_text).count();
    let after = bytes.get(offset..)?.iter().take(AFTER).take_while(is_text).count();
    let text = bytes.get(offset - before..offset + after)?;
    (after > 0 && text.len() >= TEXT).then(|| String::from_utf8_lossy(text).into_owned())
}
