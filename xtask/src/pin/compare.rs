//! What two unpacked trees differ in.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use crate::artifact::{self, FOLDER, SYMLINK};

/// So many differences are told one by one.
const SHOWN: usize = 20;

/// The paths that are in one tree only, or another thing in the other, in words.
pub fn differences(first: &Utf8Path, second: &Utf8Path) -> Result<Vec<String>> {
    let (one, two) = (kinds(first)?, kinds(second)?);
    let mut found = Vec::new();
    let mut gone: Option<&Utf8PathBuf> = None;
    for path in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
        // Of a folder that one tree lacks, its content is no news.
        if gone.is_some_and(|folder| path.starts_with(folder)) {
            continue;
        }
        let what = match (one.get(path), two.get(path)) {
            (Some(_), None) => "only in the first",
            (None, Some(_)) => "only in the second",
            (Some(a), Some(b)) if a != b => "of another kind, or executable in one of them",
            (Some(&kind), Some(_)) if is_other(first, second, path, kind)? => "another content",
            _ => continue,
        };
        if what.starts_with("only") {
            gone = Some(path);
        }
        found.push(format!("{path}: {what}"));
    }
    let n_more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if n_more > 0 {
        found.push(format!("and {n_more} more"));
    }
    Ok(found)
}

fn kinds(root: &Utf8Path) -> Result<BTreeMap<Utf8PathBuf, u8>> {
    Ok(artifact::entries(root)?.into_iter().map(|entry| (entry.path, entry.kind)).collect())
}

fn is_other(first: &Utf8Path, second: &Utf8Path, path: &Utf8Path, kind: u8) -> Result<bool> {
    let (first, second) = (first.join(path), second.join(path));
    Ok(match kind {
        FOLDER => false,
        SYMLINK => first.read_link_utf8()? != second.read_link_utf8()?,
        _ => artifact::content_hash(&first)? != artifact::content_hash(&second)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("one/same", "x");
        put("two/same", "x");
        put("one/changed", "x");
        put("two/changed", "y");
        put("one/gone/a", "x");
        put("one/gone/b", "x");
        put("two/new", "x");
        std::os::unix::fs::symlink("same", root.join("one/link")).unwrap();
        std::os::unix::fs::symlink("new", root.join("two/link")).unwrap();
        assert_eq!(
            differences(&root.join("one"), &root.join("two")).unwrap(),
            ["changed: another content", "gone: only in the first", "link: another content", "new: only in the second"]
        );
    }
}
