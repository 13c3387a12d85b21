//! A file of the checkout or of the store that takes another one's place, whole.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::space;

/// Writes a whole file beside its place, syncs it and renames it there: a reader sees the old or the new one, never a half.
/// What others who were killed left beside it is removed. What is there already is let be: that works on a full disk.
pub fn replace(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    let context = || format!("failed to write `{path}`");
    sweep_halves(path);
    if is_there(path, bytes) {
        return Ok(());
    }
    let beside = Utf8PathBuf::from(format!("{path}.{}{HALF}", std::process::id()));
    let mut file = lock_half(&beside).with_context(context)?;
    let mut write = || file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    let written = write();
    if written.is_err() {
        // What is half-written is of no use; the error that counts is told below.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(context).map_err(|error| {
        let folder = path.parent().unwrap_or(path);
        if space::is_full(&error) { space::explain(error, "this folder", folder, "free some space") } else { error }
    })
}

/// Whether it is a file with this content, and with a mode that a umask may have given it.
fn is_there(path: &Utf8Path, bytes: &[u8]) -> bool {
    let is_alike =
        |found: fs::Metadata| found.is_file() && found.mode() & 0o7711 == 0o600 && found.size() == bytes.len() as u64;
    fs::symlink_metadata(path).is_ok_and(is_alike) && fs::read(path).is_ok_and(|found| found == bytes)
}

/// Ends the name of what [`replace`] has not finished.
const HALF: &str = ".new";

/// A new file that is locked while it is written, so that [`sweep_halves`] knows what nobody writes any more.
fn lock_half(path: &Utf8Path) -> io::Result<fs::File> {
    loop {
        let file = fs::File::options().write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        // A sweep may have taken it for another one's, in the moment before it was locked.
        if fs::metadata(path).is_ok_and(|named| file.metadata().is_ok_and(|ours| named.ino() == ours.ino())) {
            return file.set_len(0).map(|()| file);
        }
    }
}

fn sweep_halves(path: &Utf8Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let is_half = |other: &str| {
        let writer = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(HALF));
        writer.is_some_and(|writer| !writer.is_empty() && writer.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_half(entry.file_name())) {
        // Opened, so that it is locked when it is removed: a living writer keeps its own.
        if let Ok(file) = fs::File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_a_killed_writer_left_is_swept_and_what_is_being_written_is_not() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(keep.path()).unwrap();
        let (dead, alive, other) = (root.join("x.1.new"), root.join("x.2.new"), root.join("y.1.new"));
        [&dead, &alive, &other].into_iter().for_each(|path| fs::write(path, "half").unwrap());
        let writer = fs::File::open(&alive).unwrap();
        writer.lock().unwrap();
        replace(&root.join("x"), b"whole").unwrap();
        assert_eq!(fs::read(root.join("x")).unwrap(), b"whole");
        assert_eq!([dead, alive, other].map(|path| path.exists()), [false, true, true]);
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(keep.path()).unwrap();
        let path = root.join("x");
        let replace = |bytes: &[u8]| {
            replace(&path, bytes).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert!(fs::read(&path).unwrap() == bytes && found.is_file() && found.mode() & 0o7711 == 0o600);
            found.ino()
        };
        let first = replace(b"one");
        assert_eq!(replace(b"one"), first);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let second = replace(b"one");
        assert_ne!(second, first);
        assert_ne!(replace(b"two"), second);
        fs::rename(&path, root.join("y")).unwrap();
        std::os::unix::fs::symlink("y", &path).unwrap();
        replace(b"two");
    }
}
