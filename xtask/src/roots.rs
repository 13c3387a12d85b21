//! What the checkouts of this user need of the store. Each built image of a checkout is a root; `gc` keeps what roots reach.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::engine::Report;
use crate::key::{ArtifactId, StepKey};
use crate::seal;
use crate::store::Store;
use crate::workspace::Workspace;

/// One image of one checkout.
#[derive(Serialize, Deserialize)]
struct Root {
    checkout: Utf8PathBuf,
    image: String,
    steps: Vec<(StepKey, ArtifactId)>,
}

/// What all living roots reach.
pub struct Reached {
    /// Successes to keep.
    pub keys: BTreeSet<StepKey>,
    /// Artifacts to keep.
    pub ids: BTreeSet<ArtifactId>,
}

/// Records what an image was just built from.
pub fn register(store: &Store, workspace: &Workspace, image: &str, report: &Report) -> Result<()> {
    let root = Root {
        checkout: workspace.root().to_owned(),
        image: image.to_owned(),
        steps: report.built.values().map(|built| (built.key, built.id)).collect(),
    };
    let text = seal::seal(&root)?;
    let name = blake3::hash(format!("{}\0{image}", workspace.root()).as_bytes()).to_hex();
    let path = store.roots().join(format!("{name}.json"));
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    store.replace_file(&path, text.as_bytes()).map_err(|error| store.explain_full(error))
}

/// Reads all roots whose checkout is still there; the others end here. Nothing is told and nothing ends while one of them
/// cannot be read: what it needs would be taken for unneeded.
pub fn reached(store: &Store, dry_run: bool) -> Result<Reached> {
    let folder = store.roots();
    let (mut living, mut dead, mut damaged) = (Vec::new(), Vec::new(), String::new());
    for entry in folder.read_dir_utf8().with_context(|| format!("failed to list `{folder}`"))? {
        let path = entry.with_context(|| format!("failed to list `{folder}`"))?.into_path();
        match seal::read_old::<Root>(&path) {
            Some(root) if Workspace::at(&root.checkout).sources().is_file() => living.push(root),
            Some(_) => dead.push(path),
            None => damaged.push_str(&format!("\n  {path}")),
        }
    }
    if !damaged.is_empty() {
        bail!(
            "failed to read what the checkouts need; these records are damaged:{damaged}\n\
             hint: run `cargo xtask image NAME` for the images of your checkouts, which writes the records anew; delete what \
             is then still named here"
        );
    }
    if !dry_run {
        dead.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
    let steps = || living.iter().flat_map(|root| &root.steps);
    Ok(Reached { keys: steps().map(|(key, _)| *key).collect(), ids: steps().map(|(_, id)| *id).collect() })
}
