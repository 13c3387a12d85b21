//! `cargo xtask gc`: deletes from the store what no image of any checkout needs.

use anyhow::Result;

use crate::session::Session;
use crate::store::Access;
use crate::{artifact, report, roots};

/// Deletes, or with `dry_run` tells what would be deleted.
pub fn run(session: &Session, dry_run: bool) -> Result<()> {
    let store = session.store(if dry_run { Access::Shared } else { Access::Exclusive })?;
    let reached = roots::reached(&store, dry_run)?;
    let (mut n_bytes, mut n_objects) = (0, 0);
    for id in store.objects()?.into_iter().filter(|id| !reached.ids.contains(id)) {
        let Some(path) = store.object(id) else { continue };
        let size = artifact::size(&path)?;
        session.reporter.detail(&format!("{id} {}", report::size(size)));
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
