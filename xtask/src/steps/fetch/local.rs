//! A pinned file that somebody put into a folder by hand, in place of a download.
//!
//! This room must never take a file on its name alone, and never change anything in that folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::{FetchError, Fetched, disk, file_name, partial_name};

/// Copies the file from `folder` to `out`, if it lies there under its hash or its name at one of its sources.
///
/// `sources` are those of the lock: URL and sha256. A file under the right name with a wrong hash is an error, since
/// somebody put it there to be used; unless another one is right.
pub fn local_copy(
    folder: &Utf8Path,
    sources: &[(String, String)],
    out: &Utf8Path,
) -> Result<Option<Fetched>, FetchError> {
    let mut wrong = None;
    for path in local_paths(folder, sources) {
        match copy_checked(&path, sources, out) {
            Err(error @ FetchError::WrongLocal { .. }) => wrong = Some(error),
            copied => return copied.map(Some),
        }
    }
    wrong.map_or(Ok(None), Err)
}

/// Copies one file to `out`, which gets its name when it is whole and has the hash of one of the sources.
pub fn copy_checked(path: &Utf8Path, sources: &[(String, String)], out: &Utf8Path) -> Result<Fetched, FetchError> {
    let partial = partial_name(out);
    let (sha256, size) = copy_hashed(path, &mut File::create(&partial).map_err(disk(&partial))?, &partial)?;
    if is_expected(sources, &sha256) {
        fs::rename(&partial, out).map_err(disk(out))?;
        return Ok(Fetched { url: path.to_string(), sha256, size, failed: Vec::new() });
    }
    fs::remove_file(&partial).map_err(disk(&partial))?;
    Err(FetchError::WrongLocal { path: path.to_owned(), expected: expected(sources), computed: sha256 })
}

/// A file in `folder` under the right name that is none of the sources'.
pub fn find_wrong(folder: &Utf8Path, sources: &[(String, String)]) -> Option<FetchError> {
    local_paths(folder, sources).find_map(|path| match copy_hashed(&path, &mut io::sink(), &path) {
        Ok((sha256, _)) if is_expected(sources, &sha256) => None,
        Ok((computed, _)) => Some(FetchError::WrongLocal { path, expected: expected(sources), computed }),
        Err(error) => Some(error),
    })
}

/// The file that [`local_copy`] would take, without copying it. It is read as a whole for its hash.
pub fn find_local(folder: &Utf8Path, sources: &[(String, String)]) -> Option<Utf8PathBuf> {
    let hash = |path: &Utf8Path| copy_hashed(path, &mut io::sink(), path).map(|(sha256, _)| sha256);
    local_paths(folder, sources).find(|path| hash(path).is_ok_and(|sha256| is_expected(sources, &sha256)))
}

/// The hash of a file.
pub fn sha256(path: &Utf8Path) -> Result<String, FetchError> {
    copy_hashed(path, &mut io::sink(), path).map(|(sha256, _)| sha256)
}

fn local_paths(folder: &Utf8Path, sources: &[(String, String)]) -> impl Iterator<Item = Utf8PathBuf> {
    let names = sources.iter().flat_map(|(url, sha256)| [sha256.as_str(), file_name(url)]);
    let paths = BTreeSet::from_iter(names.map(|name| folder.join(name)));
    paths.into_iter().filter(|path| path.is_file())
}

fn is_expected(sources: &[(String, String)], computed: &str) -> bool {
    sources.iter().any(|(_, sha256)| sha256 == computed)
}

fn expected(sources: &[(String, String)]) -> String {
    let hashes = BTreeSet::from_iter(sources.iter().map(|(_, sha256)| sha256.as_str()));
    Vec::from_iter(hashes).join("\n      or: ")
}

fn copy_hashed(from: &Utf8Path, copy: &mut dyn Write, to: &Utf8Path) -> Result<(String, u64), FetchError> {
    let mut source = File::open(from).map_err(disk(from))?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 64 * 1024]);
    loop {
        match source.read(&mut buffer).map_err(disk(from))? {
            0 => return Ok((format!("{:x}", hasher.finalize()), size)),
            n => {
                hasher.update(&buffer[..n]);
                copy.write_all(&buffer[..n]).map_err(disk(to))?;
                size += n as u64;
            }
        }
    }
}
