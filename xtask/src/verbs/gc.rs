//! `cargo xtask gc`: deletes from the store what no image of any checkout needs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;

use crate::session::Session;
use crate::store::Access;
use crate::{report, roots};

/// Deletes, or with `dry_run` tells what would be deleted.
pub fn run(session: &Session, dry_run: bool) -> Result<()> {
    let store = session.store(if dry_run { Access::Shared } else { Access::Exclusive })?;
    let reached = roots::reached(&store, dry_run)?;
    reached.ended.iter().for_each(|line| session.reporter.say(line));
    let traces = store.traces()?.into_iter().filter_map(|key| store.trace(key));
    let steps: BTreeMap<_, _> = traces.map(|trace| (trace.id, trace.step)).collect();
    let (mut n_bytes, mut n_objects) = (0, 0);
    for id in store.objects()?.into_iter().filter(|id| !reached.ids.contains(id)) {
        let Some(path) = store.object(id) else { continue };
        let size = size(path.as_std_path());
        let name = steps.get(&id).map_or("made by no known step", String::as_str);
        let line = format!("{:>9}  {}  {name}", report::size(size), id.short());
        if dry_run {
            session.reporter.say(&line)
        } else {
            session.reporter.detail(&line)
        }
        (n_bytes, n_objects) = (n_bytes + size, n_objects + 1);
        if !dry_run {
            store.discard(id)?;
        }
    }
    if !dry_run {
        let keys = [store.traces()?, store.attempts()?].concat();
        for key in keys.into_iter().filter(|key| !reached.keys.contains(key)) {
            store.forget(key);
        }
        store.clear_downloads()?;
    }
    let verb = if dry_run { "would delete" } else { "deleted" };
    report::print(&format!(
        "{verb} {n_objects} artifacts, {}; {} are needed\n",
        report::size(n_bytes),
        reached.ids.len()
    ));
    Ok(())
}

/// The size in bytes, as far as it can be told: whatever damage has made of an artifact is deleted, too.
fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
        }
        metadata => metadata.map_or(0, |metadata| metadata.size()),
    }
}
