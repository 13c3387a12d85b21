//! A file on its way: what is there of it, the hash of that, and its move to where it belongs.
//!
//! This room must never know of the network, and never give a file its name before it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::{FetchError, disk, partial_name};

/// A download that may have been cut, kept under the hash it is to have.
pub(super) struct Part {
    path: Utf8PathBuf,
    /// Says which version of which URL the part was begun with.
    version: Utf8PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
    is_resumed: bool,
}

impl Part {
    /// What an earlier run left in the folder `downloads`, or an empty one.
    pub(super) fn open(downloads: &Utf8Path, sha256: &str) -> Result<Part, FetchError> {
        let path = downloads.join(format!("{sha256}.part"));
        let version = downloads.join(format!("{sha256}.version"));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(disk(&path))?;
        let mut hasher = Sha256::new();
        let length = io::copy(&mut file, &mut hasher).map_err(disk(&path))?;
        Ok(Part { path, version, file, hasher, length, is_resumed: false })
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of what is there.
    pub(super) fn sha256(&self) -> String {
        format!("{:x}", self.hasher.clone().finalize())
    }

    /// More than one answer went into it.
    pub(super) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(disk(&self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Goes on with what a source gives from `start`; false if that is not where the part ends.
    pub(super) fn resume_at(&mut self, start: u64) -> bool {
        let fits = self.length > 0 && start == self.length;
        self.is_resumed |= fits;
        fits
    }

    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        self.forget_version();
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(disk(&self.path))?;
        self.hasher.reset();
        (self.length, self.is_resumed) = (0, false);
        Ok(())
    }

    /// Remembers what a later run can go on with.
    pub(super) fn restart_as(&mut self, url: &str, version: Option<&str>) -> Result<(), FetchError> {
        self.restart()?;
        match version {
            Some(version) => fs::write(&self.version, format!("{url}\n{version}\n")).map_err(disk(&self.version)),
            None => Ok(()),
        }
    }

    /// `None` where the part was begun with another source, whose versions have other names. The hash decides then.
    pub(super) fn version_at(&self, url: &str) -> Option<String> {
        let text = fs::read_to_string(&self.version).ok()?;
        let (begun_with, version) = text.trim_end().split_once('\n')?;
        (begun_with == url).then(|| version.to_owned())
    }

    fn forget_version(&self) {
        // It is not there for most sources; one that stays costs a fresh start at worst.
        let _ = fs::remove_file(&self.version);
    }

    /// Across file systems it is a copy that gets its name when it is whole.
    pub(super) fn move_to(&self, out: &Utf8Path) -> Result<(), FetchError> {
        let moved = match fs::rename(&self.path, out) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => self.copy_to(out),
            moved => moved,
        };
        moved.map_err(disk(out))?;
        self.forget_version();
        Ok(())
    }

    fn copy_to(&self, out: &Utf8Path) -> io::Result<()> {
        let partial = partial_name(out);
        fs::copy(&self.path, &partial)?;
        fs::rename(&partial, out)?;
        fs::remove_file(&self.path)
    }
}
