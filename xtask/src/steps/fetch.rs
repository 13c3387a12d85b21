//! Downloads one pinned file: from the first of its sources that works, resumed where it was cut, and only if its hash
//! is right.
//!
//! Every source says which hash it has to give, so a mirror is trusted with nothing but speed. These rooms are the only
//! ones with network. They must never leave a file at `out` whose hash was not computed on the way, and never wait long
//! for a source that is not there.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use self::download::{Download, Fault, agent};
pub use self::local::{copy_checked, find_local, find_wrong, local_copy, sha256};
pub use self::mirrors::{expand, expand_debian};

mod download;
mod local;
mod mirrors;
mod part;

/// One place where a pinned file can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// With `https://` or `http://`.
    pub url: String,
    /// What it has to give: the SHA-256 as 64 lower-case hex digits.
    pub sha256: String,
}

/// How long to wait, and how much to take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the name, and again for the connection with its TLS.
    pub connect: Duration,
    /// Without a single byte.
    pub stall: Duration,
    /// How often one source may be cut and asked to go on. Each time has to get further than the last.
    pub n_resumes: u32,
    /// In bytes. A source that does not end must not fill the disk.
    pub size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connect: Duration::from_secs(5), stall: Duration::from_secs(20), n_resumes: 8, size: 8 << 30 }
    }
}

/// A file that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The source that gave it; for [`local_copy`] the file it was copied from.
    pub url: String,
    /// Its hash, computed.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
    /// The sources that failed before. One with the wrong hash deserves a warning even though another worked.
    pub failed: Vec<Try>,
}

/// A source that did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Where.
    pub url: String,
    /// Why not.
    pub why: String,
}

/// Why nothing was downloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Every source failed.
    #[error("{}", all_failed(name, tries))]
    AllFailed {
        /// The name of the file.
        name: String,
        /// One per source, in their order.
        tries: Vec<Try>,
    },
    /// The fault is on this side, so that no other source would help.
    #[error("failed to store `{path}`: {cause}\nhint: {}", disk_hint(cause))]
    Disk {
        /// The file or folder.
        path: Utf8PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file that was put there by hand is not the one.
    #[error(
        "failed to use `{path}`: wrong hash\n  Expected: {expected}\n  Computed: {computed}\nhint: delete it, or put the right file there"
    )]
    WrongLocal {
        /// The file.
        path: Utf8PathBuf,
        /// The hashes that would do.
        expected: String,
        /// Its own.
        computed: String,
    },
    /// A hash that names no file.
    #[error(
        "failed to fetch `{url}`: `{sha256}` is not a sha256\nhint: write it in vendor/sources.toml as 64 lower-case hex digits"
    )]
    BadHash {
        /// The source.
        url: String,
        /// What is given as its hash.
        sha256: String,
    },
}

/// Downloads the first candidate that works into `out`.
///
/// `downloads` keeps cut downloads between runs, under the hash they are to have, and rejected files. Two processes
/// that want the same file take turns. `progress` gets the file's name, the bytes that are there, and all there will be
/// if the source says so. `notes` are those of [`expand`]: they come first in the list of tries when nothing works.
pub fn fetch(
    candidates: &[Candidate],
    notes: &[Try],
    downloads: &Utf8Path,
    out: &Utf8Path,
    progress: &dyn Fn(&str, u64, Option<u64>),
    limits: &Limits,
) -> Result<Fetched, FetchError> {
    candidates.iter().try_for_each(check_hash)?;
    fs::create_dir_all(downloads).map_err(disk(downloads))?;
    let agent = agent(limits);
    let mut failed = Vec::new();
    for candidate in candidates {
        let Candidate { url, sha256 } = candidate;
        let download = Download { agent: &agent, candidate, downloads, progress, limits };
        match download.run(out) {
            Ok(size) => return Ok(Fetched { url: url.clone(), sha256: sha256.clone(), size, failed }),
            Err(Fault::Source(why)) => failed.push(Try { url: url.clone(), why }),
            Err(Fault::Here(error)) => return Err(error),
        }
    }
    failed.splice(..0, notes.iter().cloned());
    let name = failed.first().map_or(out.as_str(), |one| &one.url);
    Err(FetchError::AllFailed { name: file_name(name).to_owned(), tries: failed })
}

/// Downloads a file of which nothing is known yet, so that somebody can look at it and pin it. The inner error is the
/// source's, as it says itself; the outer one is of this side.
pub fn fetch_unknown(
    url: &str,
    downloads: &Utf8Path,
    out: &Utf8Path,
    progress: &dyn Fn(&str, u64, Option<u64>),
    limits: &Limits,
) -> Result<Result<Fetched, Try>, FetchError> {
    fs::create_dir_all(downloads).map_err(disk(downloads))?;
    // A part is named by a hash: this one by its URL's.
    let candidate = Candidate { url: url.to_owned(), sha256: format!("{:x}", Sha256::digest(url)) };
    let download = Download { agent: &agent(limits), candidate: &candidate, downloads, progress, limits };
    match download.run_unknown(out) {
        Ok((size, sha256)) => Ok(Ok(Fetched { url: candidate.url, sha256, size, failed: Vec::new() })),
        Err(Fault::Source(why)) => Ok(Err(Try { url: candidate.url, why })),
        Err(Fault::Here(error)) => Err(error),
    }
}

fn check_hash(candidate: &Candidate) -> Result<(), FetchError> {
    let Candidate { url, sha256 } = candidate.clone();
    // It becomes the name of a file.
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(()) } else { Err(FetchError::BadHash { url, sha256 }) }
}

fn all_failed(name: &str, tries: &[Try]) -> String {
    let mut text = format!("failed to fetch `{name}`: none of its sources worked ({} tried)", tries.len());
    for Try { url, why } in tries {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {url}: {why}");
    }
    text + &format!("\nhint: check the network, or put the file into vendor/{name} (its sha256 is checked there too)")
}

fn disk_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::StorageFull => "the disk is full: free some space, or let PID1_STORE name a folder on a larger one",
        ErrorKind::QuotaExceeded => "your quota is used up: free some space, or let PID1_STORE name a folder elsewhere",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "let PID1_STORE name a folder you can write to",
        _ => "check the disk the folder is on",
    }
}

fn disk(path: &Utf8Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    |cause| FetchError::Disk { path, cause }
}

/// What a file from this URL is called.
pub fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url).trim_end_matches('/');
    path.rsplit(['/', ':']).next().filter(|name| !name.is_empty()).unwrap_or("download")
}

/// What is written to until `out` is whole. Two processes do not meet there.
fn partial_name(out: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{out}.{}.partial", std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn urls_have_file_names() {
        let names =
            ["https://h/a/b.tar.xz?x=/y#z", "debian:pool/x/y.deb", "debian:z.deb", "https://h/a/", ""].map(file_name);
        assert_eq!(names, ["b.tar.xz", "y.deb", "z.deb", "a", "download"]);
    }

    #[test]
    fn a_full_disk_is_called_full() {
        let full = OpenOptions::new().write(true).open("/dev/full").and_then(|mut file| file.write_all(b"x"));
        let error = full.map_err(disk(Utf8Path::new("downloads/x.part"))).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to store `downloads/x.part`: No space left")
                && error.contains("hint: the disk is full"),
            "{error}"
        );
    }
}
