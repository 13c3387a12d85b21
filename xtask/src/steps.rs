//! The recipes: one file for each kind of step, and what they all have in common.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::key::{ArtifactId, Fields};
use crate::report::StepProgress;
use crate::sandbox::{Sandbox, Tool};
use crate::toolbox::ToolName;

pub mod crates;
pub mod fetch;
pub mod initramfs;
pub mod kernel;
pub mod musl;
pub mod program;
pub mod rust_std;
pub mod sources;

pub mod unpack;

/// How a step makes its output. A recipe is a value: what it was planned with is all it knows.
pub trait Recipe: Send + Sync {
    /// The kind of step and its version, as in `kernel 1`. The version goes up when the code's output changes.
    fn name(&self) -> &'static str;

    /// Tells the key everything that can change the output and is neither input, file nor tool.
    fn describe(&self, fields: &mut Fields);

    /// The host tools it runs.
    fn tools(&self) -> Vec<ToolName> {
        Vec::new()
    }

    /// The files of the checkout, or of the user, that it reads.
    fn files(&self) -> Vec<FileInput> {
        Vec::new()
    }

    /// What at the top of each folder of [`Recipe::files`] is none of them: there the user's own tools put what they make.
    fn left_out(&self) -> Option<&'static str> {
        None
    }

    /// Files and folders of the user of which everything counts: hidden files, empty folders, and symlinks as such.
    fn trees(&self) -> Vec<FileInput> {
        Vec::new()
    }

    /// What the output is known to be beforehand. Such a step need not run, nor its inputs, while the store has that artifact.
    fn declared(&self) -> Option<ArtifactId> {
        None
    }

    /// For a step that needs the network: what it would fetch, in words.
    fn network(&self) -> Option<String> {
        None
    }

    /// For a step that needs the network: whether this machine has what it would fetch all the same.
    fn is_at_hand(&self, _vendor: &Utf8Path) -> bool {
        false
    }

    /// Makes the output at `job.out`.
    fn run(&self, job: &Job<'_>) -> Result<()>;
}

/// A file, or a folder with all its files, that a step reads from outside the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInput {
    /// What the recipe and the key call it; never a path of this machine.
    pub name: Utf8PathBuf,
    /// Where it is.
    pub path: Utf8PathBuf,
}

/// A running step: its inputs, its tools, and where the output goes.
pub struct Job<'a> {
    /// The file or folder to make. It does not exist when the recipe starts; tools do not see it.
    pub out: &'a Utf8Path,
    /// An empty folder to work in, which tools see, too; deleted afterwards.
    pub work: &'a Utf8Path,
    /// Every input's artifact, checked, read-only.
    pub inputs: BTreeMap<String, Utf8PathBuf>,
    /// A folder with copies of [`Recipe::files`] as they were when the key was made.
    pub files: &'a Utf8Path,
    /// The version text of every declared tool.
    pub versions: BTreeMap<ToolName, String>,
    /// Runs the declared tools.
    pub sandbox: &'a Sandbox,
    /// Where partial downloads are kept between runs.
    pub downloads: Utf8PathBuf,
    /// The ignored folder of the checkout where a person may have put pinned files.
    pub vendor: Utf8PathBuf,
    /// Tells the user how far it is.
    pub progress: &'a StepProgress,
}

impl Job<'_> {
    /// The artifact of the input that the plan calls `name`.
    pub fn input(&self, name: &str) -> Result<&Utf8Path> {
        self.inputs
            .get(name)
            .map(Utf8PathBuf::as_path)
            .ok_or_else(|| anyhow!("the plan gives this step no input `{name}`"))
    }

    /// What a declared tool says its version is.
    pub fn version(&self, tool: ToolName) -> String {
        self.versions.get(tool).cloned().unwrap_or_default()
    }

    /// What a tool calls a path of the build folder or of an input: fixed, where tools are closed in.
    pub fn inside(&self, path: &Utf8Path) -> Utf8PathBuf {
        self.sandbox.inside(path)
    }

    /// A run of a declared tool in `dir`.
    pub fn tool<'b>(&'b self, program: &str, dir: &Utf8Path) -> Tool<'b> {
        self.sandbox.tool(program, dir)
    }

    /// Something that tools have made, to be read or copied out here. A link that they left must not lead to what the host has
    /// in its place: only what they could see themselves was declared.
    pub fn made(&self, path: &Utf8Path) -> Result<Utf8PathBuf> {
        let context = || format!("failed to find what was made, `{path}`");
        let (real, own) =
            (path.canonicalize_utf8().with_context(context)?, self.work.canonicalize_utf8().with_context(context)?);
        if !real.starts_with(&own) {
            bail!(
                "`{path}` is a link that leads out of the step's folder\nhint: look for a build script that makes it"
            );
        }
        Ok(real)
    }

    /// A new, empty folder below the working folder.
    pub fn folder(&self, name: &str) -> Result<Utf8PathBuf> {
        let path = self.work.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("failed to make the folder `{path}`"))?;
        Ok(path)
    }
}

/// Writes a file, and says its path if that fails.
pub fn write(path: &Utf8Path, content: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("failed to write `{path}`"))
}

/// Copies a file with its mode, and says both paths if that fails.
pub fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    std::fs::copy(from, to).map(|_| ()).with_context(|| format!("failed to copy `{from}` to `{to}`"))
}

#[cfg(test)]
pub mod testing {
    //! A recipe for tests that only need a graph.

    use super::*;

    /// A recipe that makes nothing.
    pub struct Noop;

    impl Recipe for Noop {
        fn name(&self) -> &'static str {
            "noop 1"
        }
        fn describe(&self, _fields: &mut Fields) {}
        fn run(&self, _job: &Job<'_>) -> Result<()> {
            Ok(())
        }
    }
}
