//! A full disk: recognized in an error, and told with what to do about it. Few programs say plainly that it is full.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use camino::Utf8Path;
use rustix::io::Errno;

use crate::report;

/// What tools say of ENOSPC and EDQUOT, in lower case: the C library's words (they run with LC_ALL=C), which are also Go's;
/// and what dash says of its `echo`, `printf` and others.
const SAID_BY_TOOLS: [&str; 3] = ["no space left on device", "disk quota exceeded", ": i/o error"];
/// What Rust's library adds.
const NUMBERS: [&str; 2] = [" (os error 28)", " (os error 122)"];

/// What is left of a disk.
#[derive(Clone, Copy)]
pub struct Free {
    /// In bytes, for users other than root.
    pub bytes: u64,
    /// How many more files it takes; without a limit, if the file system has none (btrfs).
    pub files: u64,
}

impl Free {
    /// So little that somebody who wrote here may have found no room: a tool that says that all is well, or one that failed.
    pub fn is_exhausted(self) -> bool {
        self.bytes < EXHAUSTED_BYTES || self.files < EXHAUSTED_FILES
    }
}

/// Who failed to write has often deleted something since.
const EXHAUSTED_BYTES: u64 = 4 << 20;
/// Likewise.
const EXHAUSTED_FILES: u64 = 16;

/// What is left where `path` is; nothing, if the system does not say.
pub fn free(path: &Utf8Path) -> Option<Free> {
    let stat = rustix::fs::statvfs(path.as_std_path()).ok()?;
    let files = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
    Some(Free { bytes: stat.f_bavail * stat.f_frsize, files })
}

/// Whether two files or folders are on one disk.
pub fn is_same_disk(one: impl AsRef<Path>, other: impl AsRef<Path>) -> bool {
    let disk = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    disk(one.as_ref()).is_some_and(|one| disk(other.as_ref()) == Some(one))
}

/// Whether a full disk, or a used-up quota, is among the causes.
pub fn is_full(error: &anyhow::Error) -> bool {
    // Some causes are kept as text only.
    is_full_by_kind(error) || format!("{error:#}").lines().any(is_told)
}

/// Likewise, by the kinds of the causes alone.
pub fn is_full_by_kind(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let errno = cause.downcast_ref::<Errno>();
        matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
            || matches!(errno, Some(&Errno::NOSPC | &Errno::DQUOT))
    })
}

/// Whether a tool, or an error's text, says so in this line: at its end, where causes stand. A compiler may quote the same
/// words from a source file.
pub fn is_told(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let ends = |words: &&str| line.rsplit_once(words).is_some_and(|(_, rest)| is_end(rest));
    !is_source(&line) && SAID_BY_TOOLS.iter().any(ends)
}

fn is_end(rest: &str) -> bool {
    let rest = NUMBERS.iter().find_map(|number| rest.strip_prefix(number)).unwrap_or(rest);
    // perl says at which line of its script, Rust's `tempfile` at which path.
    rest.starts_with(" at ") || rest.chars().all(|c| c.is_ascii_whitespace() || ")]}'\"`.".contains(c))
}

/// Whether a compiler shows a line of a source file (`12 | ...`) or what it would write there (`12 + ...`). Our own
/// messages show the lines of a log like that, too.
fn is_source(line: &str) -> bool {
    let line = line.trim_start();
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.trim_start().starts_with('|')
        || rest.len() < line.len() && [" + ", " - ", " ~ "].iter().any(|mark| rest.starts_with(mark))
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
    fn what_tools_say_of_a_full_disk_is_understood() {
        for line in [
            "dash: 1: echo: echo: I/O error",
            "dash: 1: printf: printf: I/O error",
            "dash: 1: pwd: pwd: I/O error",
            "sh: 1: cannot create y: No space left on device",
            "bash: line 1: echo: write error: Disk quota exceeded",
            "Unable to flush stdout: No space left on device",
            "close: No space left on device at -e line 1.",
            "x: No space left on device at -e line 1, <STDIN> line 1.",
            "/usr/bin/ld: final link failed: No space left on device",
            "  = note: /usr/bin/ld: final link failed: No space left on device",
            "a.c:1:1: fatal error: error closing /tmp/cc.s: No space left on device",
            "/tmp/cc.s: Fatal error: can't write 11 bytes to section .text of a.o: 'No space left on device'",
            "objcopy: z.o[.text]: No space left on device",
            "rustc-LLVM ERROR: IO failure on output stream: No space left on device",
            "error: failed to write `/build/x`: No space left on device (os error 28)",
            "error: couldn't create a temp dir: No space left on device (os error 28) at path \"/tmp/rustcX\"",
            "Os { code: 28, kind: StorageFull, message: \"No space left on device\" }",
            "compile: writing output: write $WORK/b001/_pkg_.a: no space left on device",
            "tar: x: Cannot write: No space left on device",
            "2026-01-31 cpio: write error: No space left on device",
            "xz: (stdout): Write error: No space left on device",
            "awk: close failed on file /dev/stdout (No space left on device)",
        ] {
            assert!(is_told(line), "{line}");
        }
    }

    #[test]
    fn what_a_compiler_quotes_is_no_full_disk() {
        for line in [
            "12 |     let message = \"No space left on device\";",
            "   12 |   // No space left on device",
            "      |   No space left on device",
            "12 + // No space left on device",
            "  const char *message = \"No space left on device\";",
            "warning: unused string: \"No space left on device\" is never read",
            "a.c:3:2: warning: #warning No space left on device [-Wcpp]",
            "  CC      fs/nospace.o",
            "cat: x: Input/output error",
            "note: an I/O error handler is missing",
        ] {
            assert!(!is_told(line), "{line}");
        }
        let log = "failed to make `x`\n  from its log:\n  | 12 | // No space left on device\n  the whole log: y";
        assert!(!is_full(&anyhow::anyhow!(log)));
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
