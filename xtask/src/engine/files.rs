//! What a step reads from outside the store: which files of a folder that is, and their copies for the recipe.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::artifact;
use crate::graph::Step;

/// Everything that a step reads from outside the store, by name.
pub fn read_files(step: &Step) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let mut files = Vec::new();
    for file in step.recipe.files() {
        let left_out = step.recipe.left_out().map(|folder| file.name.join(folder));
        let counts = |name: &Utf8Path| left_out.as_ref().is_none_or(|folder| !name.starts_with(folder));
        files.extend(expand(&file.name, &file.path)?.into_iter().filter(|(name, _)| counts(name)));
    }
    for tree in step.recipe.trees() {
        files.extend(expand_tree(&tree.name, &tree.path)?);
    }
    Ok(files)
}

/// A file as itself, a folder as all that is in it: files, symlinks and empty folders.
pub fn expand_tree(name: &Utf8Path, path: &Utf8Path) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let real = path.canonicalize_utf8().with_context(|| format!("failed to read `{path}`"))?;
    if !real.is_dir() {
        return Ok(vec![(name.to_owned(), real)]);
    }
    let entries = artifact::entries(&real)?;
    if entries.is_empty() {
        return Ok(vec![(name.to_owned(), real)]);
    }
    // Sorted by bytes, what is in a folder need not come right after it: `a`, `a.b`, `a/c`.
    let full: BTreeSet<&Utf8Path> = entries.iter().filter_map(|entry| entry.path.parent()).collect();
    let counts = |entry: &&artifact::Entry| entry.kind != artifact::FOLDER || !full.contains(entry.path.as_path());
    Ok(entries.iter().filter(counts).map(|entry| (name.join(&entry.path), real.join(&entry.path))).collect())
}

/// A file as itself, a folder as all its files. Hidden ones and editors' backups are none of them.
fn expand(name: &Utf8Path, path: &Utf8Path) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let metadata = fs::metadata(path).with_context(|| format!("failed to read `{path}`"))?;
    if !metadata.is_dir() {
        // What a link leads to is what counts.
        let real = path.canonicalize_utf8().with_context(|| format!("failed to read `{path}`"))?;
        return Ok(vec![(name.to_owned(), real)]);
    }
    let mut entries: Vec<_> = path
        .read_dir_utf8()
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect::<Result<_, _>>()
        })
        .with_context(|| format!("failed to list `{path}`"))?;
    entries.retain(|entry| !entry.starts_with('.') && !entry.ends_with('~'));
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        files.extend(expand(&name.join(&entry), &path.join(&entry))?);
    }
    Ok(files)
}

/// Copies a file or a symlink, or makes an empty folder.
pub fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let context = || format!("failed to copy `{from}`");
    let kind = fs::symlink_metadata(from).with_context(context)?.file_type();
    if kind.is_dir() {
        fs::create_dir_all(to).with_context(context)
    } else if kind.is_symlink() {
        fs::read_link(from).and_then(|target| std::os::unix::fs::symlink(target, to)).with_context(context)
    } else {
        fs::copy(from, to).with_context(context)?;
        make_writable(to)
    }
}

/// Recipes may change their copies, also those of read-only files.
fn make_writable(path: &Utf8Path) -> Result<()> {
    let context = || format!("failed to set the mode of `{path}`");
    let mode = fs::metadata(path).with_context(context)?.permissions().mode() | 0o200;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(context)
}
