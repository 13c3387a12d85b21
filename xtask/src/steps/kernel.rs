//! Builds the kernel: a base configuration plus fragments, every option of which must survive.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::image::Base;
use crate::key::Fields;
use crate::steps::{FileInput, Job, Recipe, copy};
use crate::toolbox::{BINUTILS, COREUTILS, GCC, ToolName};

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

const TOOLS: [ToolName; 17] = [
    "make", "flex", "bison", "bc", "perl", "xz", "gzip", "zstd", "lz4", "sed", "grep", "awk", "find", "xargs", "cmp",
    "diff", "sh",
];
const LIBRARIES: [ToolName; 3] = ["libc", "libelf", "libcrypto"];

impl Recipe for Kernel {
    fn name(&self) -> &'static str {
        "kernel 1"
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
        copy(&build.join("arch/x86/boot/bzImage"), &job.out.join(BZIMAGE))?;
        copy(&build.join(".config"), &job.out.join(CONFIG))
    }
}

impl Kernel {
    fn configure(&self, job: &Job<'_>, build: &Utf8Path) -> Result<()> {
        job.progress.now("configuring");
        let source = job.input("source")?;
        make(job, build)?.arg(self.base.target()).run().context("failed to write the base configuration")?;
        let fragments: Vec<Utf8PathBuf> = self.fragments.iter().map(|file| job.files.join(&file.name)).collect();
        if !fragments.is_empty() {
            let merge = source.join("scripts/kconfig/merge_config.sh");
            let merged =
                job.tool("sh", build).arg(merge).args(["-m", "-O", build.as_str(), ".config"]).args(&fragments);
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
        job.progress.now("explaining lost options");
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
    let source = job.input("source")?;
    let tool = job.tool("make", build).arg("-C").arg(source.as_str()).arg(format!("O={build}")).arg("ARCH=x86_64");
    Ok(IDENTITY.iter().fold(tool, |tool, (name, value)| tool.env(name, value)))
}

fn compile(job: &Job<'_>, build: &Utf8Path) -> Result<()> {
    let n_lines = AtomicU32::new(0);
    let on_line = |line: &str| {
        // kbuild prints `  CC      kernel/fork.o` for each thing it makes.
        if let Some((verb, target)) = line.strip_prefix("  ").and_then(|line| line.split_once(' ')) {
            let n_done = n_lines.fetch_add(1, Ordering::Relaxed) + 1;
            job.progress.now(&format!("{n_done} targets, {verb} {}", target.trim()));
        }
    };
    make(job, build)?.arg("bzImage").with_cores().on_line(&on_line).run().context("failed to compile the kernel")
}

/// The options that a configuration or fragment sets. `# CONFIG_X is not set` means `n`.
fn options(text: &str) -> Vec<(String, String)> {
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

/// What the tree's Kconfig files say of an option's dependencies; enough of the language to tell a person what is unmet.
struct Kconfig {
    /// Lines of the blocks that define an option.
    blocks: BTreeMap<String, Vec<String>>,
}

impl Kconfig {
    fn read(source: &Utf8Path) -> Result<Self> {
        let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in kconfig_files(source)? {
            parse_kconfig(
                &String::from_utf8_lossy(&std::fs::read(&file).with_context(|| format!("failed to read `{file}`"))?),
                &mut blocks,
            );
        }
        Ok(Self { blocks })
    }

    fn explain(&self, option: &str, result: &BTreeMap<String, String>) -> String {
        let Some(lines) = self.blocks.get(option.trim_start_matches("CONFIG_")) else {
            return "this kernel has no such option".to_owned();
        };
        let conditions: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut unmet: Vec<String> = Vec::new();
        for name in conditions.iter().flat_map(|condition| symbols(condition)) {
            let full = format!("CONFIG_{name}");
            if value_of(result, &full) == "n" && !unmet.contains(&full) {
                unmet.push(full);
            }
        }
        match (conditions.is_empty(), unmet.is_empty()) {
            (true, _) => "another option selects or overrides it".to_owned(),
            (false, true) => format!("it depends on {}", conditions.join(" and ")),
            (false, false) => {
                format!("it depends on {}, and these are off: {}", conditions.join(" and "), unmet.join(", "))
            }
        }
    }
}

/// The Kconfig files that count for x86: those of other architectures define the same options anew.
fn kconfig_files(source: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let files = crate::artifact::files_below(source)?;
    let is_ours = |path: &Utf8PathBuf| {
        let is_kconfig = path.file_name().is_some_and(|name| name.starts_with("Kconfig"));
        is_kconfig && (!path.starts_with("arch") || path.starts_with("arch/x86") || path == "arch/Kconfig")
    };
    Ok(files.into_iter().filter(is_ours).map(|path| source.join(path)).collect())
}

/// Collects `depends on`, the condition of the prompt, and the enclosing `if` blocks of every option.
fn parse_kconfig(text: &str, blocks: &mut BTreeMap<String, Vec<String>>) {
    let mut ifs: Vec<String> = Vec::new();
    let mut current: Option<String> = None;
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "config" | "menuconfig" => {
                current = Some(rest.trim().to_owned());
                blocks.entry(rest.trim().to_owned()).or_default().extend(ifs.iter().cloned());
            }
            "if" => ifs.push(rest.trim().to_owned()),
            "endif" => drop(ifs.pop()),
            "menu" | "choice" | "endmenu" | "endchoice" | "comment" | "source" => current = None,
            "depends" => {
                if let Some(conditions) = current.as_ref().and_then(|name| blocks.get_mut(name)) {
                    conditions.push(rest.trim_start_matches("on").trim().to_owned());
                }
            }
            _ => {}
        }
    }
}

/// The options that a condition mentions.
fn symbols(condition: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = condition.split(|c: char| !is_part(c)).filter(|word| !word.is_empty());
    words.filter(|word| word.chars().any(|c| c.is_ascii_uppercase())).collect()
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

    #[test]
    fn a_lost_option_is_explained_by_what_is_off() {
        let mut blocks = BTreeMap::new();
        parse_kconfig(
            "if NET\nconfig TMPFS\n\tbool \"x\"\n\tdepends on SHMEM && MMU\n\nconfig FREE\n\tbool\nendif\n",
            &mut blocks,
        );
        let kconfig = Kconfig { blocks };
        let result =
            [("CONFIG_MMU", "y"), ("CONFIG_NET", "y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let result = BTreeMap::from(result);
        assert_eq!(
            kconfig.explain("CONFIG_TMPFS", &result),
            "it depends on NET and SHMEM && MMU, and these are off: CONFIG_SHMEM"
        );
        assert_eq!(kconfig.explain("CONFIG_FREE", &result), "it depends on NET");
        assert_eq!(kconfig.explain("CONFIG_NONE", &result), "this kernel has no such option");
    }
}
