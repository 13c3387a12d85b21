//! What the checkouts of this user need of the store. Each built image of a checkout is a root; `gc` keeps what roots reach.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::engine::Report;
use crate::key::{ArtifactId, StepKey};
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
#[derive(Default)]
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
    let text = serde_json::to_string(&root).context("failed to write a root")?;
    let name = blake3::hash(format!("{}\0{image}", workspace.root()).as_bytes()).to_hex();
    let path = store.roots().join(format!("{name}.json"));
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    store.replace_file(&path, text.as_bytes())
}

/// Reads all roots whose checkout is still there; the others end here.
pub fn reached(store: &Store, dry_run: bool) -> Result<Reached> {
    let folder = store.roots();
    let mut reached = Reached::default();
    for entry in folder.read_dir_utf8().with_context(|| format!("failed to list `{folder}`"))?.flatten() {
        let root: Option<Root> =
            std::fs::read_to_string(entry.path()).ok().and_then(|text| serde_json::from_str(&text).ok());
        match root.filter(|root| Workspace::at(&root.checkout).sources().is_file()) {
            Some(root) => {
                reached.keys.extend(root.steps.iter().map(|(key, _)| *key));
                reached.ids.extend(root.steps.iter().map(|(_, id)| *id));
            }
            None if dry_run => {}
            None => drop(std::fs::remove_file(entry.path())),
        }
    }
    Ok(reached)
}
