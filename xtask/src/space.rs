//! A full disk: recognized in an error, and told with what to do about it. Few programs say plainly that it is full.

use std::io::{self, ErrorKind};

use camino::Utf8Path;
use rustix::io::Errno;

use crate::report;

/// What the C library prints for ENOSPC and EDQUOT; tools run with LC_ALL=C.
const SAID_BY_TOOLS: [&str; 3] = [
    "No space left on device",
    "Disk quota exceeded",
    // dash, of its `echo` and `printf`.
    "echo: I/O error",
];

/// What is left of a disk.
#[derive(Clone, Copy)]
pub struct Free {
    /// In bytes, for users other than root.
    pub bytes: u64,
    /// How many more files it takes; without a limit, if the file system has none (btrfs).
    pub files: u64,
}

impl Free {
    /// Whether a tool that wrote here may have found no room. Many a script goes on then, and says that all is well.
    pub fn is_exhausted(self) -> bool {
        self.bytes < EXHAUSTED_BYTES || self.files < EXHAUSTED_FILES
    }
}

/// A tool that failed to write has often deleted something since.
const EXHAUSTED_BYTES: u64 = 1 << 20;
/// Likewise.
const EXHAUSTED_FILES: u64 = 16;

/// What is left where `path` is; nothing, if the system does not say.
pub fn free(path: &Utf8Path) -> Option<Free> {
    let stat = rustix::fs::statvfs(path.as_std_path()).ok()?;
    let files = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
    Some(Free { bytes: stat.f_bavail * stat.f_frsize, files })
}

/// Whether a full disk, or a used-up quota, is among the causes.
pub fn is_full(error: &anyhow::Error) -> bool {
    // Some causes are kept as text only.
    is_told(&format!("{error:#}"))
        || error.chain().any(|cause| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            let errno = cause.downcast_ref::<Errno>();
            matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
                || matches!(errno, Some(&Errno::NOSPC | &Errno::DQUOT))
        })
}

/// Whether a tool, or an error's text, says so.
pub fn is_told(line: &str) -> bool {
    SAID_BY_TOOLS.iter().any(|words| line.contains(words))
}

/// The error of a full disk, for what nobody told.
pub fn full() -> anyhow::Error {
    anyhow::Error::from(io::Error::from(Errno::NOSPC))
        .context("a tool said that it had succeeded, but there was no room for what it wrote")
}

/// Says of an error that it comes from the full disk of `path`, unless it says so already. `what` names that place in words.
pub fn explain(error: anyhow::Error, what: &str, path: &Utf8Path, hint: &str) -> anyhow::Error {
    let text = format!("the disk of {what} is full");
    if format!("{error:#}").contains(&text) {
        return error;
    }
    let files = |files: u64| if files == u64::MAX { String::new() } else { format!(" and room for {files} files") };
    let left = free(path)
        .map_or(String::new(), |free| format!(" ({}{} left in `{path}`)", report::size(free.bytes), files(free.files)));
    error.context(format!("{text}{left}\nhint: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognized_behind_any_context() {
        let full = |error: anyhow::Error| is_full(&error.context("failed to write `x`"));
        assert!(full(anyhow::anyhow!("{}", io::Error::from(Errno::NOSPC))));
        assert!(full(io::Error::from(ErrorKind::StorageFull).into()) && full(Errno::DQUOT.into()));
        assert!(!full(io::Error::from(ErrorKind::NotFound).into()) && !full(anyhow::anyhow!("No space left")));
    }

    #[test]
    fn it_is_explained_once() {
        let explain = |error| explain(error, "the store", Utf8Path::new("/"), "free some");
        let error = explain(explain(Errno::NOSPC.into()));
        let text = report::render(&error);
        assert_eq!(text.matches("the disk of the store is full (").count(), 1, "{text}");
        assert!(text.ends_with("No space left on device (os error 28)\nhint: free some"), "{text}");
    }
}
