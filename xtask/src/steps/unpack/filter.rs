//! Which entries of an archive are unpacked, and where each goes below the root.
//!
//! This room works on names alone: it must never touch the disk, and takes every name as already cleaned.

use std::collections::BTreeSet;

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::{Cause, Selection};

/// Maps names in the archive to paths under `out`.
pub(super) struct Filter {
    pattern: String,
    root: GlobMatcher,
    /// The one folder that matched.
    found: Option<String>,
    leave_out: GlobSet,
    keep: GlobSet,
    /// Names at the archive's top, for the message when nothing matched.
    top: BTreeSet<String>,
}

/// Names at the top are there to show what the archive is; a flat archive may have thousands.
const N_TOP_NAMES: usize = 12;

impl Filter {
    /// Reads the globs.
    pub(super) fn new(selection: &Selection) -> Result<Filter, Cause> {
        let pattern = selection.root.trim_end_matches('/').to_owned();
        let leave_out = glob_set("leave_out", selection.leave_out)?;
        let keep = glob_set("keep", selection.keep)?;
        let found = pattern.is_empty().then(String::new);
        Ok(Filter { root: glob(&pattern)?.compile_matcher(), pattern, found, leave_out, keep, top: BTreeSet::new() })
    }

    /// The path of `name` below the root; `None` if it is not to be unpacked.
    pub(super) fn place<'n>(&mut self, name: &'n str, is_folder: bool) -> Result<Option<&'n str>, Cause> {
        let path = self.below_root(name, is_folder)?;
        Ok(path.filter(|path| self.is_wanted(path)))
    }

    fn is_wanted(&self, path: &str) -> bool {
        let names = |globs: &GlobSet| folders(path).chain([path]).any(|part| globs.is_match(part));
        (self.keep.is_empty() || names(&self.keep)) && !names(&self.leave_out)
    }

    fn below_root<'n>(&mut self, name: &'n str, is_folder: bool) -> Result<Option<&'n str>, Cause> {
        if let Some(path) = self.found.as_deref().and_then(|root| below(root, name)) {
            return Ok(Some(path));
        }
        if self.top.len() < N_TOP_NAMES && !name.is_empty() {
            self.top.insert(name.split('/').next().unwrap_or_default().to_owned());
        }
        let itself = is_folder.then_some(name);
        let Some(root) = folders(name).chain(itself).find(|folder| self.root.is_match(folder)) else {
            return Ok(None);
        };
        match self.found.replace(root.to_owned()) {
            None => Ok(below(root, name)),
            Some(first) => Err(Cause::TwoRoots { root: self.pattern.clone(), first, second: root.to_owned() }),
        }
    }

    /// To be asked when all entries are through: an archive without the root is not the one that was meant.
    pub(super) fn require_root(self) -> Result<(), Cause> {
        let Filter { pattern: root, found, top, .. } = self;
        let top = Vec::from_iter(top).join(", ");
        found.map(drop).ok_or(Cause::NoRoot { root, top })
    }
}

fn glob_set(name: &str, patterns: &[String]) -> Result<GlobSet, Cause> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        globs.add(glob(pattern)?);
    }
    globs.build().map_err(|error| bad_pattern(name, &error))
}

fn glob(pattern: &str) -> Result<Glob, Cause> {
    let builder =
        GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).backslash_escape(true).build();
    builder.map_err(|error| bad_pattern(pattern, &error))
}

fn bad_pattern(pattern: &str, error: &globset::Error) -> Cause {
    Cause::Pattern { pattern: pattern.to_owned(), cause: error.kind().to_string() }
}

/// The path of `name` in the folder `root`: empty for the folder itself.
pub(super) fn below<'n>(root: &str, name: &'n str) -> Option<&'n str> {
    let rest = name.strip_prefix(root)?;
    if root.is_empty() || rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The folders a path leads through, outermost first: `a/b/c` gives `a`, `a/b`.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}
