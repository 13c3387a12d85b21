//! Lines and escapes: how any text without a NUL stands behind `key = `.

use super::ConfigError;

pub(super) fn push_line(text: &mut String, key: &str, value: &str) -> Result<(), ConfigError> {
    if value.contains('\0') {
        return Err(ConfigError::Nul(value.to_owned()));
    }
    text.push_str(key);
    text.push_str(" = ");
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Space inside a value is plain; at its ends it would be taken for layout.
            ' ' if i == 0 || i == last => text.push_str("\\s"),
            _ => text.push(c),
        }
    }
    text.push('\n');
    Ok(())
}

pub(super) fn unescape(value: &str) -> Result<String, String> {
    if value.contains('\0') {
        return Err("a value cannot hold a NUL byte".to_owned());
    }
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('s') => ' ',
                Some('\\') => '\\',
                _ => return Err(r"after `\` expected one of n r t s \".to_owned()),
            },
            plain => plain,
        });
    }
    Ok(text)
}

/// What counts as layout: ASCII only, so that no letter of any script is ever trimmed off a value. A carriage return
/// is among it for files written on Windows.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}
