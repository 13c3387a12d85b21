//! Image specs: what a TOML file in `images/` says, checked.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::schema::{self, Keys};

/// A checked image spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Names the image and its output folder.
    pub name: String,
    /// What runs.
    pub program: Program,
    /// What it runs on.
    pub kernel: Kernel,
    /// How the two are packed.
    pub compress: Compress,
}

/// The program that the machine is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it comes from.
    pub origin: Origin,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// Its environment, besides what init sets.
    pub env: BTreeMap<String, String>,
    /// Who is PID 1.
    pub mode: Mode,
}

/// Where a program comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A package of the workspace, built static for musl.
    Package(String),
    /// A finished static binary; relative to the checkout if it is not absolute.
    File(Utf8PathBuf),
    /// A folder with a Go module whose top package is the program.
    Go(Utf8PathBuf),
}

/// Who is PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// pid1's init, which starts the program, reaps, and powers off when it ends.
    Supervised,
    /// The program itself; when it ends, the kernel panics.
    Direct,
}

/// The kernel's configuration and command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What the fragments are applied to.
    pub base: Base,
    /// Names of files in `kernel-configs/`, without `.config`, in order.
    pub fragments: Vec<String>,
    /// What the kernel is told at boot.
    pub cmdline: String,
}

/// A configuration that comes with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// As little as possible.
    Tinyconfig,
    /// What the architecture's maintainers find usual.
    Defconfig,
}

impl Base {
    /// The make target that writes it.
    pub fn target(self) -> &'static str {
        match self {
            Base::Tinyconfig => "tinyconfig",
            Base::Defconfig => "defconfig",
        }
    }
}

/// How the initramfs is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// Not at all: the quickest to boot.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz, the smallest.
    Xz,
}

impl Compress {
    /// What the finished file's name ends in.
    pub fn suffix(self) -> &'static str {
        match self {
            Compress::None => "",
            Compress::Gzip => ".gz",
            Compress::Zstd => ".zst",
            Compress::Xz => ".xz",
        }
    }

    /// The fragment with which the kernel can read it.
    pub fn fragment(self) -> Option<&'static str> {
        match self {
            Compress::None => None,
            Compress::Gzip => Some("initramfs-gzip"),
            Compress::Zstd => Some("initramfs-zstd"),
            Compress::Xz => Some("initramfs-xz"),
        }
    }
}

/// What the checkout has, for checking a spec against it.
pub struct Known {
    /// The names of the kernel fragments.
    pub fragments: Vec<String>,
    /// The names of the workspace's packages.
    pub packages: Vec<String>,
}

const KEYS: Keys = Keys {
    plain: &["name", "arch"],
    tables: &[
        ("program", Keys { plain: &["package", "file", "go", "args", "env", "mode"], tables: &[] }),
        ("kernel", Keys { plain: &["base", "fragments", "cmdline"], tables: &[] }),
        ("initramfs", Keys { plain: &["compress"], tables: &[] }),
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawImage {
    name: String,
    #[serde(default = "x86_64")]
    arch: String,
    program: RawProgram,
    kernel: RawKernel,
    #[serde(default)]
    initramfs: RawInitramfs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    package: Option<String>,
    file: Option<Utf8PathBuf>,
    go: Option<Utf8PathBuf>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default = "supervised")]
    mode: Mode,
}

fn x86_64() -> String {
    "x86_64".to_owned()
}

fn supervised() -> Mode {
    Mode::Supervised
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKernel {
    base: Base,
    #[serde(default)]
    fragments: Vec<String>,
    #[serde(default)]
    cmdline: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInitramfs {
    #[serde(default)]
    compress: Compress,
}

impl Image {
    /// Reads and checks the spec at `path`.
    pub fn read(path: &Utf8Path, known: &Known) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
        Self::parse(&text, known).with_context(|| format!("failed to read the image spec `{path}`"))
    }

    /// Parses and checks a spec's text.
    pub fn parse(text: &str, known: &Known) -> Result<Self> {
        let raw: RawImage = schema::parse(text, &KEYS)?;
        let mut problems = Vec::new();
        check_names(&raw, known, &mut problems);
        check_words(&raw, &mut problems);
        let origin = raw.program.origin(known, &mut problems);
        match origin {
            Some(origin) if problems.is_empty() => Ok(raw.into_image(origin)),
            _ => bail!("{}", problems.join("\n  ")),
        }
    }
}

impl RawImage {
    fn into_image(self, origin: Origin) -> Image {
        let RawProgram { args, env, mode, .. } = self.program;
        let RawKernel { base, fragments, cmdline } = self.kernel;
        Image {
            name: self.name,
            program: Program { origin, args, env, mode },
            kernel: Kernel { base, fragments, cmdline },
            compress: self.initramfs.compress,
        }
    }
}

impl RawProgram {
    fn origin(&self, known: &Known, problems: &mut Vec<String>) -> Option<Origin> {
        match (&self.package, &self.file, &self.go) {
            (Some(package), None, None) => {
                if !known.packages.contains(package) {
                    problems.push(format!(
                        "`program.package`: there is no workspace package `{package}`{}",
                        schema::suggestion(package, &known.packages)
                    ));
                }
                Some(Origin::Package(package.clone()))
            }
            (None, Some(file), None) => Some(Origin::File(file.clone())),
            (None, None, Some(folder)) => Some(Origin::Go(folder.clone())),
            _ => {
                problems.push("`program` needs exactly one of `package`, `file` and `go`".to_owned());
                None
            }
        }
    }
}

fn check_names(raw: &RawImage, known: &Known, problems: &mut Vec<String>) {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if raw.name.is_empty() || !raw.name.chars().all(is_plain) || raw.name.starts_with('-') {
        problems.push(format!("`name` is `{}`; lower-case letters, digits and inner `-` are expected", raw.name));
    }
    if raw.arch != "x86_64" {
        problems.push(format!("`arch` is `{}`; `x86_64` is the one that can be built", raw.arch));
    }
    for (index, fragment) in raw.kernel.fragments.iter().enumerate() {
        if !known.fragments.contains(fragment) {
            let hint = schema::suggestion(fragment, &known.fragments);
            problems.push(format!("`kernel.fragments`: there is no kernel-configs/{fragment}.config{hint}"));
        }
        if raw.kernel.fragments.iter().take(index).any(|earlier| earlier == fragment) {
            problems.push(format!("`kernel.fragments` names `{fragment}` twice"));
        }
    }
}

fn check_words(raw: &RawImage, problems: &mut Vec<String>) {
    let program = &raw.program;
    if program.mode == Mode::Direct && !program.env.is_empty() {
        problems.push("`program.env` needs `program.mode = \"supervised\"`: without init nobody sets it; delete `env`, or change the mode".to_owned());
    }
    let words = program.args.iter().chain(program.env.keys()).chain(program.env.values());
    if words.into_iter().any(|word| word.contains('\0')) {
        problems
            .push("`program`: an argument or a variable holds a NUL byte, which no program can be given".to_owned());
    }
    problems.extend(
        program
            .env
            .keys()
            .filter(|name| name.is_empty() || name.contains('='))
            .map(|name| format!("`program.env`: `{name}` is no variable's name")),
    );
    if raw.kernel.cmdline.contains(['\n', '\0']) {
        problems.push("`kernel.cmdline` must be one line".to_owned());
    }
    if raw.kernel.cmdline.split(' ').any(|word| word == "--") {
        problems.push("`kernel.cmdline` holds `--`; write the program's arguments into `program.args`".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "hello"
arch = "x86_64"
[program]
package = "hello"
[kernel]
base = "tinyconfig"
fragments = ["base", "serial"]
cmdline = "console=ttyS0"
"#;

    fn parse(text: &str) -> Result<Image> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Image::parse(text, &Known { fragments: list(&["base", "serial", "net"]), packages: list(&["hello", "web"]) })
    }

    fn check(change: (&str, &str), expect: &str) {
        let text = GOOD.replace(change.0, change.1);
        assert_ne!(text, GOOD, "the change {change:?} does not apply");
        let found = format!("{:#}", parse(&text).unwrap_err());
        assert!(found.contains(expect), "{found}");
    }

    #[test]
    fn a_good_spec_has_defaults() {
        let image = parse(GOOD).unwrap();
        assert_eq!((image.program.mode, image.compress), (Mode::Supervised, Compress::None));
    }

    #[test]
    fn bad_specs_name_the_key_the_rule_and_the_nearest_name() {
        check(("fragments", "fragmnets"), "line 8: unknown key `kernel.fragmnets`; did you mean `fragments`?");
        check(("\"serial\"", "\"seriel\""), "there is no kernel-configs/seriel.config; did you mean `serial`?");
        check(("\"serial\"", "\"base\""), "names `base` twice");
        check(("package = \"hello\"", "package = \"helo\""), "no workspace package `helo`; did you mean `hello`?");
        check(("package = \"hello\"", ""), "exactly one of `package`, `file` and `go`");
        check(("package = \"hello\"", "package = \"hello\"\nfile = \"x\""), "exactly one of");
        check(("x86_64", "riscv64"), "`arch` is `riscv64`");
        check(("name = \"hello\"", "name = \"../x\""), "`name` is `../x`");
        check(("tinyconfig", "allnoconfig"), "unknown variant `allnoconfig`");
        check(("console=ttyS0", "a -- b"), "`program.args`");
        check(
            ("[kernel]", "mode = \"direct\"\nenv = { A = \"1\" }\n[kernel]"),
            "without init nobody sets it; delete `env`, or change the mode",
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = GOOD.replace("x86_64", "mips").replace("\"serial\"", "\"net2\"");
        let found = parse(&text).unwrap_err().to_string();
        assert!(found.contains("mips") && found.contains("net2"), "{found}");
    }
}
