//! Makes what a graph's steps put out, running as few of them as possible.
//!
//! A step is asked for by those that need it, and asks for its inputs, all side by side; the cores are shared by one
//! jobserver. A step whose output is declared (a pinned tree) asks for nothing while the store has that output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use self::run::Run;
use crate::artifact;
use crate::graph::{Graph, Step};
use crate::key::{ArtifactId, Fields, StepKey};
use crate::report::Reporter;
use crate::store::Store;
use crate::toolbox::{HostTool, ToolName, Toolbox};
use crate::workspace::Workspace;

mod run;

/// A step that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// What went in.
    pub key: StepKey,
    /// What came out.
    pub id: ArtifactId,
    /// Everything that went in, by name.
    pub fields: Fields,
}

/// What a checkout last built of a step, and what before that; read by `why`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct LastBuild {
    /// What went into the newest build.
    pub newest: Option<Fields>,
    /// What went into the build before it.
    pub before: Option<Fields>,
}

/// The parts that every run of steps needs.
pub struct Engine<'a> {
    /// Where the files of the checkout are.
    pub workspace: &'a Workspace,
    /// The image whose steps these are.
    pub image: &'a str,
    /// Where results are kept.
    pub store: &'a Store,
    /// Who the host's tools are.
    pub toolbox: &'a Toolbox,
    /// Where progress is shown.
    pub reporter: &'a Reporter,
    /// The machine's cores.
    pub cores: &'a jobserver::Client,
    /// Nothing may be fetched.
    pub offline: bool,
}

/// What a whole graph came to.
pub struct Report {
    /// Every step that was needed.
    pub built: BTreeMap<String, Built>,
}

impl Engine<'_> {
    /// Makes the outputs of `goals`, checks their content, and says what every step on the way came to.
    pub fn build(&self, graph: &Graph, goals: &[&str]) -> Result<Report> {
        Ok(Report { built: Run::new(self, graph).build(goals)? })
    }

    /// The fields of every step, as far as they can be told without running anything: a step whose input is not there has none.
    pub fn look(&self, graph: &Graph) -> Result<BTreeMap<String, Fields>> {
        let mut fields = BTreeMap::new();
        let mut ids: BTreeMap<&str, ArtifactId> = BTreeMap::new();
        for step in graph.in_order() {
            let inputs: Option<Vec<_>> =
                step.inputs.iter().map(|(role, input)| Some((role.as_str(), *ids.get(input.as_str())?))).collect();
            let known = match (step.recipe.declared(), inputs) {
                (Some(_), _) => self.fields(step, &[])?,
                (None, Some(inputs)) => self.fields(step, &inputs)?,
                (None, None) => continue,
            };
            if let Some(trace) = self.store.lookup(known.key()) {
                ids.insert(&step.name, trace.id);
            }
            fields.insert(step.name.clone(), known);
        }
        Ok(fields)
    }

    /// Everything that goes into a step. For a step with a declared output that is the declaration alone.
    fn fields(&self, step: &Step, inputs: &[(&str, ArtifactId)]) -> Result<Fields> {
        let mut fields = Fields::default();
        fields.set("recipe", step.recipe.name());
        if let Some(id) = step.recipe.declared() {
            fields.set("declared", id);
            return Ok(fields);
        }
        step.recipe.describe(&mut fields);
        for (role, id) in inputs {
            fields.set(format!("input.{role}"), id);
        }
        for (name, tool) in self.tools(step)? {
            fields.set(format!("tool.{name}"), tool.identity);
        }
        for (name, path) in read_files(step)? {
            fields.set(format!("file.{name}"), artifact::hash_path(&path)?);
        }
        Ok(fields)
    }

    fn tools(&self, step: &Step) -> Result<Vec<(ToolName, HostTool)>> {
        step.recipe.tools().into_iter().map(|name| Ok((name, self.toolbox.get(self.store, name)?))).collect()
    }

    /// Remembers for `why` what this build was made of. A build is good also when that fails.
    fn remember(&self, step: &Step, fields: &Fields) {
        if let Err(error) = self.try_remember(step, fields) {
            self.reporter.detail(&crate::report::render(&error));
        }
    }

    fn try_remember(&self, step: &Step, fields: &Fields) -> Result<()> {
        let path = self.workspace.last_build(self.image, &step.name);
        let old = last_build(&path);
        if old.newest.as_ref() == Some(fields) {
            return Ok(());
        }
        let new = LastBuild { newest: Some(fields.clone()), before: old.newest };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("failed to make the folder `{folder}`"))?;
        }
        let text = serde_json::to_string(&new).context("failed to write what was built")?;
        artifact::replace(&path, text.as_bytes())
    }
}

/// Reads what [`Engine::build`] remembered. Nothing, when there is nothing readable.
pub fn last_build(path: &Utf8Path) -> LastBuild {
    fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Everything that a step reads from outside the store, by name.
fn read_files(step: &Step) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let mut files = Vec::new();
    for file in step.recipe.files() {
        files.extend(expand(&file.name, &file.path)?);
    }
    for tree in step.recipe.trees() {
        files.extend(expand_tree(&tree.name, &tree.path)?);
    }
    Ok(files)
}

/// A file as itself, a folder as all that is in it: files, symlinks and empty folders.
fn expand_tree(name: &Utf8Path, path: &Utf8Path) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let real = path.canonicalize_utf8().with_context(|| format!("failed to read `{path}`"))?;
    if !real.is_dir() {
        return Ok(vec![(name.to_owned(), real)]);
    }
    let entries = artifact::entries(&real)?;
    if entries.is_empty() {
        return Ok(vec![(name.to_owned(), real)]);
    }
    // Sorted by bytes, what is in a folder need not come right after it: `a`, `a.b`, `a/c`.
    let full: BTreeSet<&Utf8Path> = entries.iter().filter_map(|entry| entry.path.parent()).collect();
    let counts = |entry: &&artifact::Entry| entry.kind != artifact::FOLDER || !full.contains(entry.path.as_path());
    Ok(entries.iter().filter(counts).map(|entry| (name.join(&entry.path), real.join(&entry.path))).collect())
}

/// A file as itself, a folder as all its files. Hidden ones and editors' backups are none of them, nor is cargo's `target`.
fn expand(name: &Utf8Path, path: &Utf8Path) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let mut files = expand_all(name, path)?;
    files.retain(|(file, _)| !file.starts_with(name.join("target")));
    Ok(files)
}

fn expand_all(name: &Utf8Path, path: &Utf8Path) -> Result<Vec<(Utf8PathBuf, Utf8PathBuf)>> {
    let metadata = fs::metadata(path).with_context(|| format!("failed to read `{path}`"))?;
    if !metadata.is_dir() {
        // What a link leads to is what counts.
        let real = path.canonicalize_utf8().with_context(|| format!("failed to read `{path}`"))?;
        return Ok(vec![(name.to_owned(), real)]);
    }
    let mut entries: Vec<_> = path
        .read_dir_utf8()
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect::<Result<_, _>>()
        })
        .with_context(|| format!("failed to list `{path}`"))?;
    entries.retain(|entry| !entry.starts_with('.') && !entry.ends_with('~'));
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        files.extend(expand_all(&name.join(&entry), &path.join(&entry))?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
