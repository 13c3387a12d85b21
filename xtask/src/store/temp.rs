//! Half-made things: each in a folder of `tmp` that its maker locks, so that the next process knows what nobody needs any more.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::artifact;

/// A folder for half-made things; removed when dropped, or swept later if its process was killed.
pub struct Temp {
    path: Utf8PathBuf,
    _lock: File,
}

impl Temp {
    /// A new folder in `tmp`, locked by this process as long as the value lives.
    pub(super) fn new(tmp: &Utf8Path, purpose: &str) -> Result<Self> {
        static N_TEMPS: AtomicU64 = AtomicU64::new(0);
        loop {
            // In containers that share a store, processes may have the same number. A name that is taken is not waited for.
            let name = format!("{purpose}-{}-{}", std::process::id(), N_TEMPS.fetch_add(1, Ordering::Relaxed));
            let path = tmp.join(name);
            let context = || format!("failed to make the folder `{path}`");
            if let Some(lock) = lock_now(&lock_of(&path)).with_context(context)? {
                artifact::remove(&path)?;
                fs::create_dir(&path).with_context(context)?;
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = artifact::remove(&self.path);
        let _ = fs::remove_file(lock_of(&self.path));
    }
}

fn lock_of(temp: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{temp}.lock"))
}

/// Removes what is in `tmp` and belongs to no living process.
pub(super) fn sweep(tmp: &Utf8Path) {
    let Ok(entries) = tmp.read_dir_utf8() else { return };
    for path in entries.flatten().map(|entry| entry.into_path()) {
        let folder = path.as_str().strip_suffix(".lock").map_or(path.as_path(), Utf8Path::new);
        let lock_path = lock_of(folder);
        if let Ok(Some(_lock)) = lock_now(&lock_path) {
            // Tools of a build that was killed may live on for a moment and write there; then the next sweep has it.
            if artifact::remove(folder).is_ok() {
                let _ = fs::remove_file(&lock_path);
            }
        }
    }
}

/// Removes everything in `tmp`, without a lock of its own for each: a full disk may have no room for one. For the only user of
/// the store.
pub(super) fn sweep_all(tmp: &Utf8Path) {
    let Ok(entries) = tmp.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        let _ = artifact::remove(entry.path());
    }
}

/// Opens a file to lock it; makes it if need be.
pub(super) fn open_lock(path: &Utf8Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Opens and locks a file, if nobody else has locked it, and if the locked file still has the name: a sweep may just have
/// removed it.
fn lock_now(path: &Utf8Path) -> io::Result<Option<File>> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => {
            let ours = file.metadata()?.ino();
            Ok(fs::metadata(path).is_ok_and(|named| named.ino() == ours).then_some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
