//! Builds the kernel: a base configuration plus fragments, every option of which must survive.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use self::kconfig::Kconfig;
use crate::image::Base;
use crate::key::Fields;
use crate::steps::{FileInput, Job, Recipe, copy};
use crate::toolbox::{BINUTILS, COREUTILS, GCC, ToolName};

mod kconfig;

/// Plans a kernel; its one input is the source tree, `source`.
pub struct Kernel {
    /// What the fragments are applied to.
    pub base: Base,
    /// The fragments' names and files, in order.
    pub fragments: Vec<FileInput>,
}

/// The kernel's name in the output folder.
pub const BZIMAGE: &str = "bzImage";
/// The finished configuration's name in the output folder.
pub const CONFIG: &str = "kernel.config";

/// What the kernel would otherwise take from the clock, the user and the host; it ends up in /proc/version.
/// Source: the kernel's Documentation/kbuild/reproducible-builds.rst.
const IDENTITY: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "Tue Jan  1 00:00:00 UTC 1980"),
    ("KBUILD_BUILD_USER", "pid1"),
    ("KBUILD_BUILD_HOST", "pid1"),
    ("KBUILD_BUILD_VERSION", "1"),
];

const TOOLS: [ToolName; 18] = [
    "make", "flex", "bison", "m4", "bc", "perl", "xz", "gzip", "zstd", "lz4", "sed", "grep", "awk", "find", "xargs",
    "cmp", "diff", "sh",
];
const LIBRARIES: [ToolName; 3] = ["libc", "libelf", "libcrypto"];

impl Recipe for Kernel {
    fn name(&self) -> &'static str {
        "kernel 2"
    }

    fn describe(&self, fields: &mut Fields) {
        fields.set("base", self.base.target());
        // The order counts: a later fragment overrides an earlier one.
        fields.set("fragments", self.fragments.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(" "));
    }

    fn tools(&self) -> Vec<ToolName> {
        [&TOOLS[..], &LIBRARIES, GCC, BINUTILS, COREUTILS].concat()
    }

    fn files(&self) -> Vec<FileInput> {
        self.fragments.clone()
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let build = job.folder("build")?;
        self.configure(job, &build)?;
        compile(job, &build)?;
        std::fs::create_dir(job.out).with_context(|| format!("failed to make the folder `{}`", job.out))?;
        copy(&job.made(&build.join("arch/x86/boot/bzImage"))?, &job.out.join(BZIMAGE))?;
        copy(&job.made(&build.join(".config"))?, &job.out.join(CONFIG))
    }
}

impl Kernel {
    fn configure(&self, job: &Job<'_>, build: &Utf8Path) -> Result<()> {
        job.progress.now("configuring");
        let source = job.input("source")?;
        make(job, build)?.arg(self.base.target()).run().context("failed to write the base configuration")?;
        let inside = |file: &FileInput| job.inside(&job.files.join(&file.name));
        let fragments: Vec<Utf8PathBuf> = self.fragments.iter().map(inside).collect();
        if !fragments.is_empty() {
            let merge = job.inside(&source.join("scripts/kconfig/merge_config.sh"));
            let output = job.inside(build);
            let merged =
                job.tool("sh", build).arg(merge).args(["-m", "-O", output.as_str(), ".config"]).args(&fragments);
            merged.run().context("failed to merge the fragments")?;
        }
        make(job, build)?.arg("olddefconfig").run().context("failed to complete the configuration")?;
        self.require_options(job, build, source)
    }

    /// Every option that a fragment asks for must be in the result; Kconfig drops those with unmet dependencies in silence.
    fn require_options(&self, job: &Job<'_>, build: &Utf8Path, source: &Utf8Path) -> Result<()> {
        let mut wanted = BTreeMap::new();
        for file in &self.fragments {
            let text = read(&job.files.join(&file.name))?;
            for (option, value) in options(&text) {
                wanted.insert(option, (value, file.name.clone()));
            }
        }
        let result: BTreeMap<_, _> = options(&read(&build.join(".config"))?).into_iter().collect();
        let is_lost =
            |(option, (value, _)): &(&String, &(String, Utf8PathBuf))| value_of(&result, option) != value.as_str();
        let lost: Vec<_> = wanted.iter().filter(is_lost).collect();
        if lost.is_empty() {
            return Ok(());
        }
        job.progress.now("looking up why options were lost");
        let kconfig = Kconfig::read(source)?;
        let explain = |(option, (value, file)): &(&String, &(String, Utf8PathBuf))| {
            format!(
                "\n  {option}: {file} asks for `{value}`, the result is `{}`; {}",
                value_of(&result, option),
                kconfig.explain(option, &result)
            )
        };
        let list: String = lost.iter().map(explain).collect();
        bail!(
            "{} of the fragments' options are not in the kernel's configuration:{list}\nhint: add what they depend on to a fragment, or take them out",
            lost.len()
        )
    }
}

fn read(path: &Utf8Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))
}

fn make<'a>(job: &'a Job<'_>, build: &Utf8Path) -> Result<crate::sandbox::Tool<'a>> {
    let (source, output) = (job.inside(job.input("source")?), job.inside(build));
    let tool = job.tool("make", build).arg("-C").arg(source).arg(format!("O={output}")).arg("ARCH=x86_64");
    Ok(IDENTITY.iter().fold(tool, |tool, (name, value)| tool.env(name, value)))
}

fn compile(job: &Job<'_>, build: &Utf8Path) -> Result<()> {
    let (n_lines, folder) = (AtomicU32::new(0), job.inside(build));
    let on_line = |line: &str| {
        // kbuild prints `  CC      kernel/fork.o` for each thing it makes.
        if let Some((verb, target)) = line.strip_prefix("  ").and_then(|line| line.split_once(' ')) {
            let n_done = n_lines.fetch_add(1, Ordering::Relaxed) + 1;
            let target = target.trim().trim_start_matches(folder.as_str()).trim_start_matches('/');
            job.progress.now(&format!("{n_done} targets, {verb} {target}"));
        }
    };
    make(job, build)?.arg("bzImage").with_cores().on_line(&on_line).run().context("failed to compile the kernel")
}

/// The options that a configuration or fragment sets. `# CONFIG_X is not set` means `n`.
pub fn options(text: &str) -> Vec<(String, String)> {
    let option = |line: &str| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set")) {
            return name.starts_with("CONFIG_").then(|| (name.to_owned(), "n".to_owned()));
        }
        let (name, value) = line.split_once('=')?;
        name.starts_with("CONFIG_").then(|| (name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(option).collect()
}

/// An option that is not mentioned is off.
fn value_of<'a>(result: &'a BTreeMap<String, String>, option: &str) -> &'a str {
    result.get(option).map_or("n", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_read_as_kconfig_does() {
        let found = options("# why\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"a=b\"\n\nnot an option=1\n");
        let expect = [("CONFIG_A", "y"), ("CONFIG_B", "n"), ("CONFIG_C", "\"a=b\"")];
        assert_eq!(found, expect.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
