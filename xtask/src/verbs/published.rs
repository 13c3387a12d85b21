//! `cargo xtask verify --against`: does this checkout build what someone else published?

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::manifest::MANIFEST;
use crate::report;
use crate::repro::published::{Published, compare};
use crate::session::{Planned, Session};
use crate::verbs::image;

/// Builds as always, and compares with the manifest at `theirs`; status 1 if they differ.
pub fn run(session: &Session, planned: &Planned, theirs: &Utf8Path, json: bool) -> Result<u8> {
    let read = |path: &Utf8Path| {
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
        Published::parse(&text).with_context(|| format!("failed to read the manifest `{path}`"))
    };
    // Before anything is built: a manifest that nobody can read is soon said.
    let published = read(theirs)?;
    published.require_image(&planned.image.name).with_context(|| format!("failed to compare with `{theirs}`"))?;
    let finished = image::build(session, planned, None)?;
    let ours = read(&finished.folder.join(MANIFEST))?;
    let comparison = compare(&published, &ours);
    report::print(&if json { comparison.json()? } else { comparison.text() });
    Ok(u8::from(!comparison.is_same()))
}
