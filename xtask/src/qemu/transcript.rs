//! What came over a console, in three views: its end, its lines, and a text searched in it. Pure.

use std::collections::VecDeque;

/// How much of a console's end is kept, in bytes: more than a kernel says from unpacking its
/// initramfs to a panic.
const TAIL_BYTES: usize = 64 * 1024;

/// The longest line that is looked at, in bytes; the rest of a longer one is passed over. The
/// kernel's panic message has at most 1,024.
const LINE_BYTES: usize = 2048;

/// How many characters of a line are shown; the kernel's longest usual lines have about 200.
const SHOWN_CHARACTERS: usize = 400;

/// The end of a stream of bytes.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let n_surplus = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..n_surplus);
    }

    /// Whether nothing ever came.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All lines that were kept, readable, without the empty ones.
    pub fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        bytes.split(|byte| *byte == b'\n').map(readable).filter(|line| !line.is_empty()).collect()
    }

    /// The last lines that are not empty, fit to be shown.
    pub fn last_lines(&self, n_lines: usize) -> Vec<String> {
        last(self.lines(), n_lines)
    }
}

/// The last of these lines, fit to be shown: none longer than some lines of a terminal.
pub fn last(mut lines: Vec<String>, n_lines: usize) -> Vec<String> {
    let lines = lines.split_off(lines.len().saturating_sub(n_lines));
    lines.into_iter().map(shortened).collect()
}

fn shortened(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(SHOWN_CHARACTERS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A line as text: no escape sequences, no control characters, no space at its end.
pub fn readable(line: &[u8]) -> String {
    let mut text = String::new();
    let line = String::from_utf8_lossy(line);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => skip_escape(&mut characters),
            '\t' => text.push(' '),
            _ if character.is_control() => {}
            _ => text.push(character),
        }
    }
    text.trim_end().to_owned()
}

/// Passes over the rest of an escape sequence: one character, or `[` up to a letter (ECMA-48).
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    if characters.next() == Some('[') {
        characters.find(|character| ('@'..='~').contains(character));
    }
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what came and returns the lines that it completed.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES - self.line.len();
            self.line.extend(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                lines.push(self.finish());
            }
        }
        lines
    }

    /// The line that has begun; the next one starts empty.
    pub fn finish(&mut self) -> String {
        readable(&std::mem::take(&mut self.line))
    }
}

/// Looks for a text in a stream, whatever pieces it comes in. Carriage returns count for nothing:
/// a serial console ends its lines with CR LF.
#[derive(Debug)]
pub struct Finder {
    text: Vec<u8>,
    /// The end of what came so far: one byte less than the text.
    kept: Vec<u8>,
}

impl Finder {
    /// Looks for `text`.
    pub fn new(text: &str) -> Self {
        Self { text: without_returns(text.as_bytes()).collect(), kept: Vec::new() }
    }

    /// Adds what came and tells whether it completed the text. An empty text is found at once.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.kept.extend(without_returns(bytes));
        let found = self.text.is_empty() || self.kept.windows(self.text.len()).any(|window| window == self.text);
        let n_kept = self.text.len().saturating_sub(1);
        self.kept.drain(..self.kept.len().saturating_sub(n_kept));
        found
    }
}

fn without_returns(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().copied().filter(|byte| *byte != b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, pieces: &[&str], expect: bool) {
        let mut finder = Finder::new(text);
        let found = pieces.iter().any(|piece| finder.push(piece.as_bytes()));
        assert_eq!(found, expect, "{text:?} in {pieces:?}");
    }

    #[test]
    fn a_text_is_found_across_pieces() {
        check("ready", &["not yet\nready\n"], true);
        check("ready", &["re", "a", "dy"], true);
        check("ready", &["rea", "ready"], true);
        check("aab", &["aa", "ab"], true);
        check("ready", &["rea", "dx"], false);
        check("x", &["abc", "x"], true);
        check("", &["a"], true);
    }

    #[test]
    fn carriage_returns_count_for_nothing() {
        check("one\ntwo", &["one\r", "\ntwo"], true);
        check("one\r\ntwo", &["one\ntwo"], true);
        check("ab", &["a\rb"], true);
    }

    fn check_lines(pieces: &[&str], expect: &[&str], expect_rest: &str) {
        let mut lines = Lines::new();
        let complete: Vec<String> = pieces.iter().flat_map(|piece| lines.push(piece.as_bytes())).collect();
        assert_eq!(complete, expect);
        assert_eq!(lines.finish(), expect_rest);
    }

    #[test]
    fn lines_are_put_together() {
        check_lines(&["a\r\nb", "c\n\nd"], &["a", "bc", ""], "d");
        let long = "x".repeat(LINE_BYTES + 9);
        check_lines(&[&long, "\nshort\n"], &[&long[..LINE_BYTES], "short"], "");
    }

    #[test]
    fn a_line_is_readable() {
        assert_eq!(readable(b"\x1b[1;31mred\x1b[0m\x1bc \x07bell\tend \r"), "red bell end");
        assert_eq!(readable(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn the_tail_keeps_the_end_only() {
        let mut tail = Tail::new();
        assert!(tail.is_empty());
        tail.push(b"first\n");
        tail.push(&vec![b'x'; TAIL_BYTES - 8]);
        tail.push(b"\r\n\r\nlast\r\n");
        assert_eq!(tail.last_lines(1), ["last"]);
        assert_eq!(tail.lines().len(), 2);
        assert_eq!(tail.last_lines(9).len(), 2);
        assert_eq!(tail.last_lines(9)[0], format!("{}…", "x".repeat(SHOWN_CHARACTERS)));
    }
}
