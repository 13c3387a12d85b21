//! An artifact on disk: a file or a folder of files, folders and symlinks, with nothing about it but its content.
//!
//! `normalise` takes away what two builds may differ in without meaning it (times, owners' write permission);
//! `hash_path` gives what remains its identity.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use rustix::io::Errno;

use crate::key::ArtifactId;

pub use self::replace::replace;

mod replace;

/// 1980-01-01T00:00:00Z, the time of every file in the store: the first moment that zip and FAT can express, and late
/// enough for `make`, which takes 0 and 1 for "does not exist" and "always old".
pub const EPOCH: i64 = 315_532_800;

/// Names the layout of the hashed bytes.
const FILE_DOMAIN: &[u8] = b"pid1 file 1";
const TREE_DOMAIN: &[u8] = b"pid1 tree 1";

/// What one entry of an artifact is, in the bytes that are hashed.
pub const FOLDER: u8 = b'd';
/// A symlink; its target is its content.
pub const SYMLINK: u8 = b'l';
/// A file that is not executable.
pub const PLAIN: u8 = b'-';
/// A file that its owner may execute.
pub const EXECUTABLE: u8 = b'x';

/// One thing in a folder.
pub struct Entry {
    /// Where, below the folder.
    pub path: Utf8PathBuf,
    /// [`FOLDER`], [`SYMLINK`], [`PLAIN`] or [`EXECUTABLE`].
    pub kind: u8,
    size: u64,
}

/// The identity of a file (executable bit, content), symlink (target) or folder (names, kinds, executable bits, contents,
/// link targets).
pub fn hash_path(path: &Utf8Path) -> Result<ArtifactId> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("failed to read `{path}`"))?;
    if metadata.is_dir() { hash_tree(path) } else { hash_file(path, &metadata) }
}

fn hash_file(path: &Utf8Path, metadata: &fs::Metadata) -> Result<ArtifactId> {
    let mut hasher = blake3::Hasher::new();
    let kind = kind_of(path, metadata)?;
    hasher.update(FILE_DOMAIN).update(&[kind]);
    hasher.update(&entry_hash(path, kind)?);
    Ok(ArtifactId::new(hasher.finalize()))
}

fn hash_tree(root: &Utf8Path) -> Result<ArtifactId> {
    let entries = entries(root)?;
    let contents = hash_contents(root, &entries)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(TREE_DOMAIN);
    for (entry, content) in entries.iter().zip(contents) {
        hasher.update(&[entry.kind]);
        hasher.update(&(entry.path.as_str().len() as u64).to_le_bytes());
        hasher.update(entry.path.as_str().as_bytes());
        hasher.update(&content);
    }
    Ok(ArtifactId::new(hasher.finalize()))
}

/// The content hash of every entry, computed on all cores; the result's order is the entries' own.
fn hash_contents(root: &Utf8Path, entries: &[Entry]) -> Result<Vec<[u8; 32]>> {
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match entries.get(index) {
                Some(entry) => done.push((index, entry_hash(&root.join(&entry.path), entry.kind)?)),
                None => return anyhow::Ok(done),
            }
        }
    };
    let mut hashes = vec![[0; 32]; entries.len()];
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(worker)).collect();
        for handle in workers {
            let Ok(done) = handle.join() else { bail!("failed to hash `{root}`: a worker thread panicked") };
            for (index, hash) in done? {
                hashes[index] = hash;
            }
        }
        Ok(())
    })?;
    Ok(hashes)
}

fn entry_hash(path: &Utf8Path, kind: u8) -> Result<[u8; 32]> {
    match kind {
        FOLDER => Ok([0; 32]),
        SYMLINK => {
            let target = path.read_link_utf8().with_context(|| format!("failed to read the link `{path}`"))?;
            Ok(*blake3::hash(target.as_str().as_bytes()).as_bytes())
        }
        _ => content_hash(path),
    }
}

/// blake3 of a file's bytes.
pub fn content_hash(path: &Utf8Path) -> Result<[u8; 32]> {
    let read = || -> io::Result<[u8; 32]> {
        let mut file = fs::File::open(path)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let n_bytes = file.read(&mut buffer)?;
            if n_bytes == 0 {
                return Ok(*hasher.finalize().as_bytes());
            }
            hasher.update(buffer.get(..n_bytes).unwrap_or_default());
        }
    };
    read().with_context(|| format!("failed to read `{path}`"))
}

/// What stands at a path: [`FOLDER`], [`SYMLINK`], [`PLAIN`] or [`EXECUTABLE`].
pub fn kind(path: &Utf8Path) -> Result<u8> {
    kind_of(path, &fs::symlink_metadata(path).with_context(|| format!("failed to read `{path}`"))?)
}

fn kind_of(path: &Utf8Path, metadata: &fs::Metadata) -> Result<u8> {
    let file_type = metadata.file_type();
    if file_type.is_dir() {
        Ok(FOLDER)
    } else if file_type.is_symlink() {
        Ok(SYMLINK)
    } else if file_type.is_file() {
        Ok(if metadata.mode() & 0o100 == 0 { PLAIN } else { EXECUTABLE })
    } else {
        Err(NoArtifact(path.to_owned()).into())
    }
}

/// Everything below `root`, sorted by path bytes, so that no folder's own order matters.
pub fn entries(root: &Utf8Path) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut open = vec![Utf8PathBuf::new()];
    while let Some(folder) = open.pop() {
        let full = root.join(&folder);
        for entry in full.read_dir_utf8().with_context(|| format!("failed to list `{full}`"))? {
            let entry = entry.with_context(|| format!("failed to list `{full}`"))?;
            let metadata =
                fs::symlink_metadata(entry.path()).with_context(|| format!("failed to read `{}`", entry.path()))?;
            let path = folder.join(entry.file_name());
            let kind = kind_of(entry.path(), &metadata)?;
            if kind == FOLDER {
                open.push(path.clone());
            }
            found.push(Entry { path, kind, size: metadata.size() });
        }
    }
    found.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    Ok(found)
}

/// The size of a file, or of all files in a folder, in bytes.
pub fn size(path: &Utf8Path) -> Result<u64> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("failed to read `{path}`"))?;
    if !metadata.is_dir() {
        return Ok(metadata.size());
    }
    Ok(entries(path)?.iter().filter(|entry| entry.kind != FOLDER).map(|entry| entry.size).sum())
}

/// Makes everything at `path` read-only (0444, 0555 for folders and executables) and as old as [`EPOCH`]; folders first, for one
/// without its read bits cannot be listed.
pub fn normalise(path: &Utf8Path) -> Result<()> {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).with_context(|| format!("failed to read `{path}`"))?;
        let kind = kind_of(&path, &metadata)?;
        if !is_normal(kind, &metadata) {
            normalise_one(&path, kind)?;
        }
        if kind == FOLDER {
            for entry in path.read_dir_utf8().with_context(|| format!("failed to list `{path}`"))? {
                open.push(entry.with_context(|| format!("failed to list `{path}`"))?.into_path());
            }
        }
    }
    Ok(())
}

/// The mode that a thing of this kind has in the store; symlinks have none.
fn normal_mode(kind: u8) -> Option<u32> {
    match kind {
        SYMLINK => None,
        PLAIN => Some(0o444),
        _ => Some(0o555),
    }
}

fn is_normal(kind: u8, metadata: &fs::Metadata) -> bool {
    normal_mode(kind).is_none_or(|mode| metadata.mode() & 0o7777 == mode)
        && (metadata.mtime(), metadata.mtime_nsec()) == (EPOCH, 0)
}

fn normalise_one(path: &Utf8Path, kind: u8) -> Result<()> {
    if let Some(mode) = normal_mode(kind) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("failed to set the mode of `{path}`"))?;
    }
    let time = Timespec { tv_sec: EPOCH, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path.as_std_path(), &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("failed to set the times of `{path}`"))
}

/// Whether an artifact that could not be hashed is damaged: something of it is missing, is of a kind or has a name that no
/// artifact holds, or the disk has lost it. What only may not be read, or not now, is not.
pub fn is_damage(error: &anyhow::Error) -> bool {
    let is_lost = |error: &io::Error| {
        let lost_by_the_disk = [Errno::IO, Errno::BADMSG, Errno::UCLEAN].map(Errno::raw_os_error);
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidData)
            || error.raw_os_error().is_some_and(|number| lost_by_the_disk.contains(&number))
    };
    error.is::<NoArtifact>() || error.chain().filter_map(|cause| cause.downcast_ref()).any(is_lost)
}

/// Whether an artifact could not be hashed because something of it may not be read.
pub fn is_unreadable(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Something that is neither file, folder nor symlink.
#[derive(Debug, thiserror::Error)]
#[error("failed to store `{0}`: an artifact holds files, folders and symlinks only")]
struct NoArtifact(Utf8PathBuf);

/// Renames a file or folder, also a read-only folder: only its owner may move it to another parent, and only while it is writable.
pub fn rename(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(from)?.is_dir();
    if is_folder {
        fs::set_permissions(from, fs::Permissions::from_mode(0o755))?;
    }
    fs::rename(from, to)?;
    if is_folder { fs::set_permissions(to, fs::Permissions::from_mode(0o555)) } else { Ok(()) }
}

/// Deletes a file or folder, also when its folders are read-only. A missing path is fine.
pub fn remove(path: &Utf8Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let context = || format!("failed to delete `{path}`");
    if !metadata.is_dir() {
        return fs::remove_file(path).with_context(context);
    }
    // Damage may have given a file any name, so these are no UTF-8 paths.
    let mut folders = vec![path.as_std_path().to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).with_context(context)?;
        for entry in fs::read_dir(folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.file_type().with_context(context)?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(path).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    fn tree(root: &Utf8Path, order: &[&str]) {
        for name in order {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("content of {name}")).unwrap();
        }
    }

    #[test]
    fn the_order_of_creation_and_the_place_do_not_matter() {
        let (_keep, root) = scratch();
        tree(&root.join("one"), &["a/x", "a/y", "b"]);
        tree(&root.join("two"), &["b", "a/y", "a/x"]);
        assert_eq!(hash_path(&root.join("one")).unwrap(), hash_path(&root.join("two")).unwrap());
    }

    #[test]
    fn content_names_executable_bits_and_links_matter() {
        let (_keep, root) = scratch();
        let make = |name: &str| {
            let folder = root.join(name);
            tree(&folder, &["a", "b"]);
            folder
        };
        let mut ids = vec![hash_path(&make("plain")).unwrap()];
        type Edit<'a> = &'a dyn Fn(&Utf8Path);
        let changes: [(&str, Edit<'_>); 5] = [
            ("content", &|folder| fs::write(folder.join("a"), "other").unwrap()),
            ("name", &|folder| fs::rename(folder.join("a"), folder.join("c")).unwrap()),
            ("mode", &|folder| fs::set_permissions(folder.join("a"), fs::Permissions::from_mode(0o755)).unwrap()),
            ("folder", &|folder| fs::create_dir(folder.join("empty")).unwrap()),
            ("link", &|folder| std::os::unix::fs::symlink("a", folder.join("l")).unwrap()),
        ];
        for (name, change) in changes {
            let folder = make(name);
            change(&folder);
            ids.push(hash_path(&folder).unwrap());
        }
        let n_ids = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), n_ids);
    }

    #[test]
    fn a_normalised_tree_keeps_its_identity_and_can_be_removed() {
        let (_keep, root) = scratch();
        let folder = root.join("t");
        tree(&folder, &["a/b/c", "d"]);
        let before = hash_path(&folder).unwrap();
        normalise(&folder).unwrap();
        assert_eq!(hash_path(&folder).unwrap(), before);
        let metadata = fs::metadata(folder.join("d")).unwrap();
        assert_eq!((metadata.mtime(), metadata.mode() & 0o777), (EPOCH, 0o444));
        remove(&folder).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn a_socket_is_refused_by_name() {
        let (_keep, root) = scratch();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("s")).unwrap();
        assert!(hash_path(&root).unwrap_err().to_string().contains("/s`"));
    }
}
