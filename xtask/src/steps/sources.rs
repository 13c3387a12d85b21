//! The first two steps of every pinned input: fetch its archive, unpack what is used of it.

use anyhow::{Result, bail};
use camino::Utf8Path;

use crate::key::{ArtifactId, Fields};
use crate::lock::Pin;
use crate::steps::fetch::{self, Limits};
use crate::steps::unpack::{self, Selection};
use crate::steps::{Job, Recipe};

/// Fetches one of a pin's archives. The key holds the hashes only, so another place for the same bytes changes nothing.
pub struct Fetch {
    /// The pin's name.
    pub name: String,
    /// The pin.
    pub pin: Pin,
}

impl Recipe for Fetch {
    fn name(&self) -> &'static str {
        "fetch 1"
    }

    fn describe(&self, fields: &mut Fields) {
        let mut hashes: Vec<&str> = self.pin.sources.iter().map(|source| source.sha256.as_str()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        fields.set("one of sha256", hashes.join(" "));
    }

    fn network(&self) -> Option<String> {
        let urls: Vec<_> =
            self.pin.sources.iter().map(|source| format!("\n    {} (sha256 {})", source.url, source.sha256)).collect();
        Some(format!("{} {}, one of:{}", self.name, self.pin.version, urls.concat()))
    }

    fn is_at_hand(&self, vendor: &Utf8Path) -> bool {
        fetch::find_local(vendor, &self.pin.source_pairs()).is_some()
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let sources = self.pin.source_pairs();
        let fetched = match fetch::local_copy(&job.vendor, &sources, job.out)? {
            Some(found) => found,
            None => {
                let (candidates, notes) = fetch::expand(&sources);
                let report = |what: &str, done, total| job.progress.bytes(what, done, total);
                fetch::fetch(&candidates, &notes, &job.downloads, job.out, &report, &Limits::default())?
            }
        };
        for failed in &fetched.failed {
            job.sandbox.note(&format!("{}: {}", failed.url, failed.why));
        }
        if let Some(wrong) = fetched.failed.iter().find(|failed| failed.why.contains("Computed")) {
            job.progress.warn(&format!(
                "warning: {} had other bytes than the lock asks for; another source was right",
                wrong.url
            ));
        }
        job.sandbox.note(&format!("{}: {} bytes, sha256 {}", fetched.url, fetched.size, fetched.sha256));
        Ok(())
    }
}

/// Unpacks a pin's archive, the input `archive`. What comes out is declared in the lock: the same tree from every source.
pub struct Unpack {
    /// The pin.
    pub pin: Pin,
}

impl Recipe for Unpack {
    fn name(&self) -> &'static str {
        "unpack 1"
    }

    fn describe(&self, _fields: &mut Fields) {}

    fn declared(&self) -> Option<ArtifactId> {
        Some(self.pin.tree)
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let archive = job.input("archive")?;
        let selection = Selection { root: &self.pin.root, leave_out: &self.pin.leave_out, keep: &self.pin.keep };
        let report = |done, total| job.progress.bytes("unpacking", done, Some(total));
        let unpacked = unpack::unpack(archive, &selection, job.out, &report)?;
        if unpacked.n_files == 0 {
            bail!("the archive holds nothing below `{}`", self.pin.root);
        }
        job.sandbox.note(&format!("unpacked {} files, {} bytes", unpacked.n_files, unpacked.n_bytes));
        Ok(())
    }
}
