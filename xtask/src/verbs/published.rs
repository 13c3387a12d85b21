//! `cargo xtask verify --against`: does this checkout build what someone else published?

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::manifest::{MANIFEST, Manifest, StepRecord};
use crate::repro::published::{Published, compare};
use crate::session::{Planned, Session};
use crate::store::Access;
use crate::verbs::image;
use crate::{report, signature};

/// Builds without a cache, whoever fills that may have published the manifest as well; and compares with the manifest, or the
/// page of hashes, at `theirs`; status 1 if they differ. With a key the manifest is believed only if it is signed.
pub fn run(session: &Session, planned: &Planned, theirs: &Utf8Path, key: Option<&str>, json: bool) -> Result<u8> {
    let read = |path: &Utf8Path, text: &str| {
        Published::parse(text, &planned.image.name).with_context(|| format!("failed to compare with `{path}`"))
    };
    // Before anything is built: a manifest that nobody can read or believe is soon said.
    let published = match key {
        Some(key) => {
            let signed = signature::check(theirs, &signature::public_key(key)?)?;
            read(theirs, &String::from_utf8_lossy(&signed.bytes))?
        }
        None => read(theirs, &text(theirs)?)?,
    };
    let session = &Session { cache: None, ..session.clone() };
    let (finished, manifest) = image::build_and_tell(session, planned, None)?;
    let ours = finished.folder.join(MANIFEST);
    let comparison = compare(&published, &read(&ours, &text(&ours)?)?, elsewhere(session, &manifest)?);
    report::print(&if json { comparison.json()? } else { comparison.text() });
    Ok(u8::from(!comparison.is_same()))
}

/// The steps whose outputs a cache gave to an earlier build.
fn elsewhere(session: &Session, manifest: &Manifest) -> Result<Vec<String>> {
    let store = session.store(Access::Shared)?;
    let is_from_elsewhere = |step: &&StepRecord| {
        step.key.parse().ok().and_then(|key| store.trace(key)).is_some_and(|trace| trace.elsewhere)
    };
    Ok(manifest.steps.iter().filter(|(_, step)| is_from_elsewhere(step)).map(|(name, _)| name.clone()).collect())
}

fn text(path: &Utf8Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))
}
