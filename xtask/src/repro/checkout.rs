//! A copy of the checkout for the second side: the same files, at another path, with other times, and with the sources of
//! every pin in the reverse order.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::workspace::Workspace;

/// Made by cargo and its kin in what they can make again: "Cache Directory Tagging Specification".
const CACHE_TAG: &str = "CACHEDIR.TAG";
/// Not part of a checkout's content; at its top only, for below it these are names like any other.
const LEFT_OUT: [&str; 2] = [".git", "target"];
/// The time of the first file that is copied, in seconds after 1970: in 2001. Every further one is a minute younger.
const FIRST_TIME: Duration = Duration::from_secs(1_000_000_000);

/// Copies the checkout to `to`, without the folder `store`, which `to` may be in, but with all that is `named`: paths in the
/// checkout that the image is made of.
pub fn copy(from: &Workspace, to: &Utf8Path, store: &Utf8Path, named: &[Utf8PathBuf]) -> Result<Workspace> {
    let mut left_out: Vec<_> = LEFT_OUT.iter().map(|name| from.root().join(name)).collect();
    let real = |path: &Utf8Path| path.canonicalize_utf8().with_context(|| format!("failed to find `{path}`"));
    left_out.extend(real(store)?.strip_prefix(real(from.root())?).map(|inside| from.root().join(inside)));
    let mut copier = Copier { left_out, named, n_files: 0 };
    copier.copy(from.root(), to)?;
    for path in named {
        let Ok(inside) = path.strip_prefix(from.root()) else { continue };
        let to = to.join(inside);
        if !to.exists() && path.exists() {
            let parent = to.parent().unwrap_or(&to);
            fs::create_dir_all(parent).with_context(|| format!("failed to make the folder `{parent}`"))?;
            copier.copy(path, &to)?;
        }
    }
    let copy = Workspace::at(to);
    reverse_sources(&copy.sources())?;
    Ok(copy)
}

struct Copier<'a> {
    left_out: Vec<Utf8PathBuf>,
    named: &'a [Utf8PathBuf],
    n_files: u32,
}

impl Copier<'_> {
    /// What `from` is or leads to.
    fn copy(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        if !from.is_dir() {
            return copy_file(from, to, &mut self.n_files).with_context(|| format!("failed to copy `{from}`"));
        }
        let context = || format!("failed to copy `{from}` to `{to}`");
        fs::create_dir_all(to).with_context(context)?;
        for entry in from.read_dir_utf8().with_context(context)? {
            let entry = entry.with_context(context)?;
            let (path, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().with_context(context)?;
            if kind.is_symlink() {
                symlink(path.read_link_utf8().with_context(context)?, &to).with_context(context)?;
            } else if kind.is_file() || kind.is_dir() && !self.leaves_out(path) {
                self.copy(path, &to)?;
            }
        }
        Ok(())
    }

    fn leaves_out(&self, folder: &Utf8Path) -> bool {
        let is_left_out = || self.left_out.iter().any(|path| path == folder) || folder.join(CACHE_TAG).exists();
        !self.named.iter().any(|named| folder.starts_with(named)) && is_left_out()
    }
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

    /// The paths in a copy of a checkout with these files, of which `named` are named; the store is in `store`.
    #[track_caller]
    fn check_copy(files: &[&str], named: &[&str], expect: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let from = Utf8Path::from_path(folder.path()).unwrap();
        for file in files.iter().chain(&["vendor/sources.toml"]) {
            let file = from.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        symlink("a/b", from.join("link")).unwrap();
        fs::create_dir_all(from.join("store")).unwrap();
        let (store, named) = (from.join("store"), named.iter().map(|path| from.join(path)).collect::<Vec<_>>());
        let to = store.join("v1/tmp/x");
        copy(&Workspace::at(from), &to, &store, &named).unwrap();
        let entries = crate::artifact::entries(&to).unwrap();
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
        let mut expect = [expect, &["link", "vendor", "vendor/sources.toml"]].concat();
        expect.sort();
        assert_eq!(paths, expect);
        for file in files.iter().filter(|file| to.join(file).exists()) {
            let time = |root: &Utf8Path| fs::metadata(root.join(file)).unwrap().modified().unwrap();
            assert!(time(&to) < time(from), "{file}");
        }
    }

    #[test]
    fn a_copy_has_the_files_and_other_times_but_not_what_cargo_and_we_made() {
        let files = ["a/b", "target/x", ".git/x", "fuzz/cache/CACHEDIR.TAG", "fuzz/keep", "store/v1/objects/x"];
        check_copy(&files, &[], &["a", "a/b", "fuzz", "fuzz/keep"]);
    }

    #[test]
    fn folders_below_may_have_any_name() {
        let files = ["src/target/mod.rs", "site/.git/x"];
        check_copy(&files, &[], &["site", "site/.git", "site/.git/x", "src", "src/target", "src/target/mod.rs"]);
    }

    #[test]
    fn what_the_image_names_is_there_wherever_it_is() {
        let files = ["target/release/server", "target/release/other", "site/cache/CACHEDIR.TAG", "site/x"];
        let expect = ["site", "site/cache", "site/cache/CACHEDIR.TAG", "site/x"];
        let program = ["target", "target/release", "target/release/server"];
        check_copy(&files, &["target/release/server", "site", "not-there"], &[&expect[..], &program].concat());
    }
}
