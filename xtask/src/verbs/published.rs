//! `cargo xtask verify --against`: does this checkout build what someone else published?

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::manifest::MANIFEST;
use crate::repro::published::{Published, compare};
use crate::session::{Planned, Session};
use crate::verbs::image;
use crate::{report, signature};

/// Builds as always, and compares with the manifest, or the page of hashes, at `theirs`; status 1 if they differ. With a key
/// the manifest is believed only if it is signed.
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
    let finished = image::build(session, planned, None)?;
    let ours = finished.folder.join(MANIFEST);
    let comparison = compare(&published, &read(&ours, &text(&ours)?)?);
    report::print(&if json { comparison.json()? } else { comparison.text() });
    Ok(u8::from(!comparison.is_same()))
}

fn text(path: &Utf8Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))
}
