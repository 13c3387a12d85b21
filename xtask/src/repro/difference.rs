//! The first difference of two artifacts: which file, which member or section of it, where, and what each side has there.
//!
//! What can be opened is opened, one layer after the other: a folder, an archive, a compressed stream, an ELF file. These
//! rooms only read. What they cannot parse they take for plain bytes; they never call two things the same that are not.

use std::fs;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::artifact::{self, EXECUTABLE, Entry, FOLDER, PLAIN, SYMLINK};

mod ar;
mod bytes;
mod cpio;
mod elf;
mod kernel_image;
mod packed;
#[cfg(test)]
mod tests;
mod text;

/// Where two artifacts differ first, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// From the outside to the inside: a path, a member, a section, an offset.
    pub place: Vec<String>,
    /// What is there on the first side.
    pub usual: String,
    /// What is there on the second side.
    pub otherwise: String,
    /// What else is known, in words; may be empty.
    pub note: String,
}

impl Difference {
    /// A difference at `place`.
    fn new(place: impl Into<String>, usual: impl Into<String>, otherwise: impl Into<String>) -> Self {
        Self { place: vec![place.into()], usual: usual.into(), otherwise: otherwise.into(), note: String::new() }
    }

    /// The same difference, seen from further outside.
    fn inside(mut self, place: impl Into<String>) -> Self {
        self.place.insert(0, place.into());
        self
    }

    /// Adds what else is known.
    fn noting(mut self, note: impl AsRef<str>) -> Self {
        let separator = if self.note.is_empty() || note.as_ref().is_empty() { "" } else { "; " };
        self.note = format!("{}{separator}{}", note.as_ref(), self.note);
        self
    }
}

/// The first difference of two artifacts on disk, in the order of their paths. Nothing, if they are the same.
pub fn of_artifacts(usual: &Utf8Path, otherwise: &Utf8Path) -> Result<Option<Difference>> {
    let kinds = [artifact::kind(usual)?, artifact::kind(otherwise)?];
    if kinds[0] != kinds[1] {
        return Ok(Some(Difference::new("kind", said(kinds[0]), said(kinds[1]))));
    }
    if kinds[0] != FOLDER {
        return of_entries(usual, otherwise, kinds[0]);
    }
    let (ours, theirs) = (artifact::entries(usual)?, artifact::entries(otherwise)?);
    of_lists(usual, &ours, otherwise, &theirs)
}

/// Two sorted lists, walked side by side.
fn of_lists(usual: &Utf8Path, ours: &[Entry], otherwise: &Utf8Path, theirs: &[Entry]) -> Result<Option<Difference>> {
    let (mut left, mut right) = (ours.iter().peekable(), theirs.iter().peekable());
    loop {
        let (one, other) = match (left.peek(), right.peek()) {
            (None, None) => return Ok(None),
            (Some(one), None) => return Ok(Some(Difference::new(one.path.as_str(), said(one.kind), MISSING))),
            (None, Some(other)) => return Ok(Some(Difference::new(other.path.as_str(), MISSING, said(other.kind)))),
            (Some(one), Some(other)) => (*one, *other),
        };
        match one.path.as_str().cmp(other.path.as_str()) {
            std::cmp::Ordering::Less => {
                return Ok(Some(Difference::new(one.path.as_str(), said(one.kind), MISSING)));
            }
            std::cmp::Ordering::Greater => {
                return Ok(Some(Difference::new(other.path.as_str(), MISSING, said(other.kind))));
            }
            std::cmp::Ordering::Equal if one.kind != other.kind => {
                return Ok(Some(Difference::new(one.path.as_str(), said(one.kind), said(other.kind))));
            }
            std::cmp::Ordering::Equal => {}
        }
        if let Some(found) = of_entries(&usual.join(&one.path), &otherwise.join(&one.path), one.kind)? {
            return Ok(Some(found.inside(one.path.as_str())));
        }
        left.next();
        right.next();
    }
}

/// Two files or symlinks of one kind.
fn of_entries(usual: &Utf8Path, otherwise: &Utf8Path, kind: u8) -> Result<Option<Difference>> {
    let read = |path: &Utf8Path| fs::read(path).with_context(|| format!("failed to read `{path}`"));
    let link = |path: &Utf8Path| path.read_link_utf8().with_context(|| format!("failed to read the link `{path}`"));
    Ok(match kind {
        FOLDER => None,
        SYMLINK => {
            let targets: [Utf8PathBuf; 2] = [link(usual)?, link(otherwise)?];
            (targets[0] != targets[1]).then(|| Difference::new("target", targets[0].as_str(), targets[1].as_str()))
        }
        _ => of_contents(&read(usual)?, &read(otherwise)?),
    })
}

/// The first difference of two files' contents. Nothing, if they are the same.
pub fn of_contents(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    if usual == otherwise {
        return None;
    }
    type Reader = fn(&[u8], &[u8]) -> Option<Difference>;
    let readers: [Reader; 6] =
        [elf::compare, ar::compare, cpio::compare, kernel_image::compare, packed::compare, text::compare];
    readers.iter().find_map(|reader| reader(usual, otherwise)).or_else(|| bytes::compare(usual, otherwise))
}

const MISSING: &str = "not there";

fn said(kind: u8) -> &'static str {
    match kind {
        FOLDER => "a folder",
        SYMLINK => "a symlink",
        EXECUTABLE => "an executable file",
        PLAIN => "a file that is not executable",
        _ => "something else",
    }
}
