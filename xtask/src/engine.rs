//! Makes what a graph's steps put out, running as few of them as possible.
//!
//! A step is asked for by those that need it, and asks for its inputs, all side by side; the cores are shared by one
//! jobserver. A step whose key can be told beforehand asks for no input while its output can be had from the store, or from
//! a cache that is shared with others.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use self::files::read_files;
use self::run::Run;
use crate::cache::Cache;
use crate::graph::{Graph, Step};
use crate::key::{ArtifactId, Fields, StepKey};
use crate::report::Reporter;
use crate::sandbox::{Sandbox, Setting, Walls};
use crate::steps;
use crate::store::{Store, Trace};
use crate::toolbox::{HostTool, ToolName, Toolbox};
use crate::workspace::Workspace;
use crate::{artifact, seal};

mod explain;
mod files;
mod foresee;
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
    /// Whether the tools that made it saw nothing but that.
    pub hermetic: bool,
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
    /// What closes build tools in.
    pub walls: &'a Walls,
    /// A library that every build tool is started with, for `verify`.
    pub preload: Option<&'a Utf8Path>,
    /// Nothing may be fetched.
    pub offline: bool,
    /// What others have made, and a place for what we make.
    pub cache: Option<&'a Cache<'a>>,
}

/// What a whole graph came to.
pub struct Report {
    /// Every step that was needed.
    pub built: BTreeMap<String, Built>,
}

impl Engine<'_> {
    /// Makes the outputs of `goals`, checks their content, and says what every step on the way came to.
    pub fn build(&self, graph: &Graph, goals: &[&str]) -> Result<Report> {
        let built = match self.cache {
            Some(cache) => cache.share(self.store, |offers| Run::new(self, graph, Some(offers.clone())).build(goals)),
            None => Run::new(self, graph, None).build(goals),
        };
        Ok(Report { built: built.map_err(|error| self.store.explain_full(error))? })
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
            // What follows it can be told also when the output itself is not there.
            let made = || self.known(known.key()).map(|trace| trace.id);
            if let Some(id) = step.recipe.declared().or_else(made) {
                ids.insert(&step.name, id);
            }
            fields.insert(step.name.clone(), known);
        }
        Ok(fields)
    }

    /// The success recorded for a key. One that was made in the open does not count where tools can be closed in.
    fn trace(&self, key: StepKey) -> Option<Trace> {
        self.known(key).filter(|trace| self.store.object(trace.id).is_some())
    }

    /// Likewise, whether or not its artifact is still there.
    fn known(&self, key: StepKey) -> Option<Trace> {
        self.store.trace(key).filter(|trace| trace.hermetic || !self.walls.are_closed())
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

    /// Runs a program as a build tool of no step, and gives what it printed. In its folder are four files.
    pub fn ask(&self, program: &Utf8Path) -> Result<String> {
        let temp = self.store.temp("ask")?;
        let path = temp.path().join("log");
        let sandbox = Sandbox::new(Setting {
            walls: self.walls,
            folder: temp.path(),
            tools: &[("probe", program.to_owned())],
            inputs: &BTreeMap::new(),
            preload: self.preload,
            log: fs::File::create(&path).with_context(|| format!("failed to write the log `{path}`"))?,
            cores: self.cores.clone(),
        })?;
        let folder = sandbox.build().join("order");
        fs::create_dir(&folder).with_context(|| format!("failed to make the folder `{folder}`"))?;
        for file in ["alpha", "beta", "gamma", "delta"] {
            steps::write(&folder.join(file), "")?;
        }
        sandbox.tool("probe", &folder).arg(".").run()?;
        fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))
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
        artifact::replace(&path, seal::seal(&new)?.as_bytes())
    }
}

/// Reads what [`Engine::build`] remembered. Nothing, when there is nothing readable.
pub fn last_build(path: &Utf8Path) -> LastBuild {
    seal::read(path).unwrap_or_default()
}

#[cfg(test)]
mod tests;
