//! Unpacks a pinned archive into a folder: the same archive gives the same tree, whatever machine it is.
//!
//! Archives are told apart by their first bytes, never by their name: tar, tar.gz, tar.xz, and a Debian package around
//! one of them. A hash says which archive it is, not that it is kind. So an entry that could reach outside the folder
//! is refused by name, and nothing in here follows a link. What comes out is files (0644 or 0755), folders (0755) and
//! symbolic links of the current user; times are left to the engine. These rooms must never write outside `out`, and
//! never call half an archive a success.

use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use self::filter::Filter;
use self::payload::Payload;
use self::stream::with_stream;
use self::tree::{HardLinks, fill};

mod filter;
mod payload;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

/// Which part of an archive to take.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// A glob for the folder in the archive that becomes `out`, from the archive's top: `*`, `linux-6.12.107`,
    /// `usr/src/*/library`, `{usr/src/*,*/*/lib/rustlib/src/rust}/library`. `*` stays within one name, `**` does not;
    /// the shortest match counts, and it has to be the only one. Empty: the whole archive.
    pub root: &'a str,
    /// Globs of files, or of folders with all that is in them, relative to the root: `drivers/video/fbdev/nvidia/`,
    /// `backtrace/**/Cargo.toml`. One that matches nothing is no error, since sources of the same thing differ.
    pub leave_out: &'a [String],
    /// Globs of what is taken, likewise; everything, if there are none. What `leave_out` names is not taken all the
    /// same.
    pub keep: &'a [String],
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files, hard links among them.
    pub n_files: u64,
    /// Their bytes.
    pub n_bytes: u64,
}

/// Why an archive was not unpacked. What is in `out` by then is of no use to anybody.
#[derive(Debug, thiserror::Error)]
#[error("failed to unpack `{archive}`: {cause}")]
pub struct UnpackError {
    /// The archive.
    pub archive: Utf8PathBuf,
    /// What went wrong.
    pub cause: Cause,
}

/// What can go wrong with an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// It cannot be opened or read.
    #[error("{0}")]
    Read(io::Error),
    /// Its first bytes are those of no format known here.
    #[error(
        "it is neither a tar archive (plain, gzip or xz) nor a Debian package\nhint: look at it with `file`; a web page saved under its name is the usual reason"
    )]
    UnknownFormat,
    /// A format known by name only.
    #[error(
        "it is compressed with zstd, which is not supported\nhint: pin a source that is compressed with xz or gzip"
    )]
    Zstd,
    /// An `ar` archive that is no Debian package.
    #[error(
        "it is an `ar` archive without a `data.tar` member, so it is no Debian package\nhint: correct its source in vendor/sources.toml"
    )]
    NoData,
    /// It ends too early, or its content contradicts itself.
    #[error("it is damaged: {0}\nhint: delete it, then it is fetched again")]
    Damaged(String),
    /// An entry that an honest source archive has no need for.
    #[error(
        "refused entry `{entry}`: {rule}\nhint: check where the archive came from; if it is to be trusted, leave the entry out"
    )]
    Refused {
        /// Its name in the archive.
        entry: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The root matches no folder.
    #[error("no folder in it matches the root `{root}`\n  at its top: {top}\nhint: correct the root of this input")]
    NoRoot {
        /// The pattern.
        root: String,
        /// The names at the top level.
        top: String,
    },
    /// The root matches more than one folder.
    #[error("the root `{root}` matches both `{first}` and `{second}`\nhint: make the root more exact")]
    TwoRoots {
        /// The pattern.
        root: String,
        /// The folder found first.
        first: String,
        /// The folder found after it.
        second: String,
    },
    /// A glob that cannot be read.
    #[error("failed to read the pattern `{pattern}`: {cause}\nhint: the syntax is that of the crate globset")]
    Pattern {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The folder to write to holds something already.
    #[error("`{0}` is not empty\nhint: unpack into a folder of its own")]
    NotEmpty(Utf8PathBuf),
    /// The disk did not take it.
    #[error("failed to write `{path}`: {cause}\nhint: check the free space and the permissions of the disk it is on")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Unpacks the selected part of `archive` into `out`, which is made if need be and has to be empty.
///
/// `progress` gets the compressed bytes read so far and all there are. After an error `out` may be half filled: the
/// caller deletes it.
pub fn unpack(
    archive: &Utf8Path,
    selection: &Selection,
    out: &Utf8Path,
    progress: &dyn Fn(u64, u64),
) -> Result<Unpacked, UnpackError> {
    let unpack = || {
        let filter = Filter::new(selection)?;
        let payload = Payload::find(File::open(archive).map_err(Cause::Read)?)?;
        unpack_payload(payload, filter, HardLinks::Copied, out, progress)
    };
    unpack().map_err(|cause| UnpackError { archive: archive.to_owned(), cause })
}

/// Unpacks a tar archive with no compression, no package around it and no hard links in it, and all of it: what comes out
/// has no more bytes than the archive.
pub fn unpack_plain(archive: &Utf8Path, out: &Utf8Path) -> Result<Unpacked, UnpackError> {
    let unpack = || {
        let filter = Filter::new(&Selection { root: "", leave_out: &[], keep: &[] })?;
        let payload = Payload::plain(File::open(archive).map_err(Cause::Read)?)?;
        unpack_payload(payload, filter, HardLinks::Refused, out, &|_, _| ())
    };
    unpack().map_err(|cause| UnpackError { archive: archive.to_owned(), cause })
}

fn unpack_payload(
    payload: Payload,
    filter: Filter,
    hard_links: HardLinks,
    out: &Utf8Path,
    progress: &dyn Fn(u64, u64),
) -> Result<Unpacked, Cause> {
    prepare(out)?;
    let (n_read, total) = (AtomicU64::new(0), payload.length());
    let decoder = payload.decoder(&n_read).map_err(Cause::Read)?;
    let report = || progress(n_read.load(Ordering::Relaxed), total);
    with_stream(decoder, &report, |stream| fill(out, stream, filter, hard_links))
}

fn prepare(out: &Utf8Path) -> Result<(), Cause> {
    fs::create_dir_all(out).map_err(write_failed(out))?;
    match fs::read_dir(out).map_err(write_failed(out))?.next() {
        Some(_) => Err(Cause::NotEmpty(out.to_owned())),
        None => Ok(()),
    }
}

fn damaged(error: impl Display) -> Cause {
    Cause::Damaged(error.to_string())
}

fn write_failed(path: &Utf8Path) -> impl FnOnce(io::Error) -> Cause {
    let path = path.to_owned();
    |cause| Cause::Write { path, cause }
}
