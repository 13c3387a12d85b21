//! A copy of the checkout for the second side: the same files, at another path, with other times, and with the sources of
//! every pin in the reverse order.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::workspace::Workspace;

/// Made by cargo and its kin in what they can make again: "Cache Directory Tagging Specification".
const CACHE_TAG: &str = "CACHEDIR.TAG";
/// Not part of a checkout's content.
const LEFT_OUT: [&str; 2] = [".git", "target"];
/// The time of the first file that is copied, in seconds after 1970: in 2001. Every further one is a minute younger.
const FIRST_TIME: Duration = Duration::from_secs(1_000_000_000);

/// Copies the checkout to `to`.
pub fn copy(from: &Workspace, to: &Utf8Path) -> Result<Workspace> {
    let mut n_files = 0;
    copy_folder(from.root(), to, &mut n_files)?;
    let copy = Workspace::at(to);
    reverse_sources(&copy.sources())?;
    Ok(copy)
}

fn copy_folder(from: &Utf8Path, to: &Utf8Path, n_files: &mut u32) -> Result<()> {
    let context = || format!("failed to copy `{from}` to `{to}`");
    fs::create_dir_all(to).with_context(context)?;
    for entry in from.read_dir_utf8().with_context(context)? {
        let entry = entry.with_context(context)?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() {
            if !LEFT_OUT.contains(&entry.file_name()) && !path.join(CACHE_TAG).exists() {
                copy_folder(path, &to, n_files)?;
            }
        } else if kind.is_symlink() {
            symlink(path.read_link_utf8().with_context(context)?, &to).with_context(context)?;
        } else if kind.is_file() {
            copy_file(path, &to, n_files).with_context(|| format!("failed to copy `{path}`"))?;
        }
    }
    Ok(())
}

fn copy_file(from: &Utf8Path, to: &Utf8Path, n_files: &mut u32) -> std::io::Result<()> {
    fs::copy(from, to)?;
    let permissions = fs::metadata(to)?.permissions();
    // A file that its owner may not write has times that he may not set through a handle.
    if permissions.readonly() {
        return Ok(());
    }
    *n_files += 1;
    let time = SystemTime::UNIX_EPOCH + FIRST_TIME + Duration::from_secs(60) * *n_files;
    fs::File::options().write(true).open(to)?.set_modified(time)
}

/// The last source of each pin comes first. Comments are lost; it is a copy.
fn reverse_sources(path: &Utf8Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
    let text = reversed(&text).with_context(|| format!("failed to read `{path}`"))?;
    fs::write(path, text).with_context(|| format!("failed to write `{path}`"))
}

fn reversed(text: &str) -> Result<String> {
    let mut pins: toml::Table = toml::from_str(text)?;
    for (_, pin) in &mut pins {
        if let Some(toml::Value::Array(sources)) = pin.get_mut("source") {
            sources.reverse();
        }
    }
    Ok(toml::to_string(&pins)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{LINUX, Lock, RUST_LIBRARY};

    #[test]
    fn every_pin_starts_with_its_last_source_and_is_otherwise_the_same() {
        let text = include_str!("../../../vendor/sources.toml");
        let (ours, theirs) = (Lock::parse(text).unwrap(), Lock::parse(&reversed(text).unwrap()).unwrap());
        for name in [LINUX, RUST_LIBRARY] {
            let (one, mut other) = (ours.pin(name).unwrap(), theirs.pin(name).unwrap().clone());
            assert_ne!(one.sources, other.sources);
            other.sources.reverse();
            assert_eq!(*one, other);
        }
    }

    #[test]
    fn a_copy_has_the_files_and_other_times_but_not_what_cargo_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let from = root.join("from");
        for file in ["a/b", "vendor/sources.toml", "target/x", ".git/x", "fuzz/cache/CACHEDIR.TAG", "fuzz/keep"] {
            let file = from.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        symlink("a/b", from.join("link")).unwrap();
        copy(&Workspace::at(&from), &root.join("to")).unwrap();
        let entries = crate::artifact::entries(&root.join("to")).unwrap();
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["a", "a/b", "fuzz", "fuzz/keep", "link", "vendor", "vendor/sources.toml"]);
        let time = fs::metadata(root.join("to/a/b")).unwrap().modified().unwrap();
        assert!(time < fs::metadata(from.join("a/b")).unwrap().modified().unwrap());
    }
}
