//! `cargo xtask store verify`: is every artifact still what its id says?

use anyhow::Result;

use crate::report;
use crate::session::Session;
use crate::store::Access;

/// Hashes every artifact; damaged ones are taken out. Status 1 if there were any.
pub fn verify(session: &Session) -> Result<u8> {
    let store = session.store(Access::Shared)?;
    let ids = store.objects()?;
    let progress = session.reporter.step("verify");
    let mut damaged = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        progress.now(&format!("artifact {} of {}", index + 1, ids.len()));
        if !store.is_intact(*id)? && store.discard_damaged(*id)? {
            damaged.push(*id);
        }
    }
    drop(progress);
    for id in &damaged {
        let steps: Vec<_> = store
            .traces()?
            .into_iter()
            .filter_map(|key| store.trace(key))
            .filter(|trace| trace.id == *id)
            .map(|trace| trace.step)
            .collect();
        report::print(&format!(
            "damaged: {id} (made by {}); taken out, made again when needed\n",
            if steps.is_empty() { "no known step".to_owned() } else { steps.join(", ") }
        ));
    }
    report::print(&format!("{} artifacts, {} damaged\n", ids.len(), damaged.len()));
    Ok(u8::from(!damaged.is_empty()))
}
