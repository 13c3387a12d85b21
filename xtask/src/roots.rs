//! What the checkouts of this user need of the store. Each built image of a checkout is a root; `gc` keeps what roots reach.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
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
    /// The spec, or the program without one. Records from before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Utf8PathBuf>,
    steps: Vec<(StepKey, ArtifactId)>,
}

impl Root {
    /// Why nobody can want this image any more. A file of which that cannot be told is there.
    fn end(&self) -> Option<String> {
        if !Workspace::at(&self.checkout).sources().is_file() {
            return Some("the checkout is gone".to_owned());
        }
        let is_gone = |source: &&Utf8PathBuf| !source.try_exists().unwrap_or(true);
        self.source.as_ref().filter(is_gone).map(|source| format!("`{source}` is gone"))
    }
}

/// What all living roots reach.
pub struct Reached {
    /// Successes to keep.
    pub keys: BTreeSet<StepKey>,
    /// Artifacts to keep.
    pub ids: BTreeSet<ArtifactId>,
    /// The roots that end here, each with its reason, in a line.
    pub ended: Vec<String>,
}

/// Records what an image was just built from. `source` is its spec, or its program without one, as an absolute path.
pub fn register(store: &Store, workspace: &Workspace, image: &str, source: &Utf8Path, report: &Report) -> Result<()> {
    let root = Root {
        checkout: workspace.root().to_owned(),
        image: image.to_owned(),
        source: Some(source.to_owned()),
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

/// Reads all roots whose checkout and source are still there; the others end here. Nothing is told and nothing ends while one of them
/// cannot be read: what it needs would be taken for unneeded.
pub fn reached(store: &Store, dry_run: bool) -> Result<Reached> {
    let folder = store.roots();
    let (mut living, mut dead, mut ended, mut damaged) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    for entry in folder.read_dir_utf8().with_context(|| format!("failed to list `{folder}`"))? {
        let path = entry.with_context(|| format!("failed to list `{folder}`"))?.into_path();
        match seal::read_old::<Root>(&path) {
            Some(root) => match root.end() {
                None => living.push(root),
                Some(reason) => {
                    ended.push(format!("nobody needs the image `{}` of `{}`: {reason}", root.image, root.checkout));
                    dead.push(path);
                }
            },
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
    ended.sort();
    let steps = || living.iter().flat_map(|root| &root.steps);
    Ok(Reached { keys: steps().map(|(key, _)| *key).collect(), ids: steps().map(|(_, id)| *id).collect(), ended })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::engine::Built;
    use crate::key::Fields;
    use crate::store::Access;

    #[test]
    fn a_root_lives_as_long_as_its_checkout_and_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let store = Store::open(&root.join("store"), Access::Shared).unwrap();
        let key = Fields::default().key();
        let built = Built { key, id: key.to_string().parse().unwrap(), fields: Fields::default(), hermetic: true };
        let report = Report { built: [("a".to_owned(), built)].into() };
        for name in ["here", "gone"] {
            fs::create_dir_all(root.join(name).join("vendor")).unwrap();
            fs::write(root.join(name).join("vendor/sources.toml"), "").unwrap();
            fs::write(root.join(name).join("spec.toml"), "").unwrap();
        }
        let (here, gone) = (root.join("here"), root.join("gone"));
        for (checkout, image, source) in
            [(&here, "one", &here), (&here, "two", &here), (&gone, "one", &gone), (&gone, "far", &here)]
        {
            let source = if image == "two" { source.join("server") } else { source.join("spec.toml") };
            register(&store, &Workspace::at(checkout), image, &source, &report).unwrap();
        }
        // One from before.
        let old = Root { checkout: here.clone(), image: "old".to_owned(), source: None, steps: Vec::new() };
        fs::write(store.roots().join("old.json"), seal::seal(&old).unwrap()).unwrap();
        fs::remove_dir_all(&gone).unwrap();
        let n_roots = || fs::read_dir(store.roots()).unwrap().count();
        let expect = [
            format!("nobody needs the image `far` of `{gone}`: the checkout is gone"),
            format!("nobody needs the image `one` of `{gone}`: the checkout is gone"),
            format!("nobody needs the image `two` of `{here}`: `{here}/server` is gone"),
        ];
        for (dry_run, n_left) in [(true, 5), (false, 2)] {
            assert_eq!((reached(&store, dry_run).unwrap().ended, n_roots()), (expect.to_vec(), n_left));
        }
        assert_eq!(reached(&store, false).unwrap().ids.len(), 1);
        fs::remove_file(here.join("spec.toml")).unwrap();
        assert_eq!((reached(&store, false).unwrap().ids.len(), n_roots()), (0, 1));
    }
}
