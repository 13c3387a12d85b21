//! Image specs: what a TOML file in `images/` says, checked.

mod bare;
mod file;
mod kernel;
mod network;
pub mod path;
mod raw;
mod settings;
pub mod volume;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use pid1_init::config::{Config, Network, Start, Supervise, Volume};
use serde::{Deserialize, Serialize};

use crate::schema;
use raw::RawImage;

pub use file::{ExtraFile, SET_ID};

/// A checked image spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Names the image and its output folder.
    pub name: String,
    /// The machine's name, when the spec has one.
    pub hostname: Option<String>,
    /// What runs.
    pub program: Program,
    /// What follows its end.
    pub supervise: Supervise,
    /// How long init may be silent before hardware restarts the machine.
    pub watchdog: Option<Duration>,
    /// How the machine gets an address.
    pub network: Network,
    /// Disks, in the order in which they are mounted.
    pub volumes: Vec<Volume>,
    /// What is packed beside the program.
    pub files: Vec<ExtraFile>,
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
    /// What it waits for.
    pub start: Start,
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

impl Image {
    /// Reads and checks the spec at `path`.
    pub fn read(path: &Utf8Path, known: &Known) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("failed to read `{path}`"))?;
        if bytes.starts_with(b"\x7fELF") {
            bail!("`{path}` is a program, and no image spec\nhint: say `--file {path}`");
        }
        let text = String::from_utf8(bytes).with_context(|| format!("failed to read the image spec `{path}`"))?;
        Self::parse(&text, known).with_context(|| format!("failed to read the image spec `{path}`"))
    }

    /// Parses and checks a spec's text.
    pub fn parse(text: &str, known: &Known) -> Result<Self> {
        let raw: RawImage = schema::parse(text, &raw::KEYS)?;
        let mut problems = Vec::new();
        check_names(&raw, known, &mut problems);
        check_words(&raw, &mut problems);
        let origin = check_origin(&raw, known, &mut problems);
        let path = program_path(&raw.name, raw.program.mode);
        let config = settings::check(&raw, &path, &mut problems);
        let files = file::check(&raw.files, &path, &config.volumes, &mut problems);
        let Some(origin) = origin else { bail!("{}", problems.join("\n  ")) };
        let image = Image {
            name: raw.name,
            hostname: config.hostname,
            program: Program {
                origin,
                args: raw.program.args,
                env: raw.program.env,
                mode: raw.program.mode,
                start: config.start,
            },
            supervise: config.supervise,
            watchdog: config.watchdog,
            network: config.network,
            volumes: config.volumes,
            files,
            kernel: Kernel { base: raw.kernel.base, fragments: raw.kernel.fragments, cmdline: raw.kernel.cmdline },
            compress: raw.initramfs.compress,
        };
        check_needed_fragments(&image, known, &mut problems);
        if problems.is_empty() { Ok(image) } else { bail!("{}", problems.join("\n  ")) }
    }

    /// An image of one program on a kernel, with the defaults of all else.
    pub fn new(name: &str, origin: Origin, kernel: Kernel) -> Self {
        let Config { hostname, args, env, supervise, start, network, volumes, watchdog, .. } = Config::default();
        let program = Program { origin, args, env, mode: Mode::Supervised, start };
        let (files, compress) = (Vec::new(), Compress::None);
        Self {
            name: name.to_owned(),
            hostname,
            program,
            supervise,
            watchdog,
            network,
            volumes,
            files,
            kernel,
            compress,
        }
    }

    /// What init is asked for. The machine's name is its own only when the spec has one: else init may take a DHCP server's.
    pub fn config(&self) -> Config {
        Config {
            program: self.program_path(),
            args: self.program.args.clone(),
            env: self.program.env.clone(),
            hostname: self.hostname.clone(),
            supervise: self.supervise,
            start: self.program.start,
            network: self.network.clone(),
            volumes: self.volumes.clone(),
            watchdog: self.watchdog,
        }
    }

    /// Where the program is in the machine.
    pub fn program_path(&self) -> String {
        program_path(&self.name, self.program.mode)
    }
}

fn program_path(name: &str, mode: Mode) -> String {
    match mode {
        Mode::Supervised => format!("/bin/{name}"),
        Mode::Direct => "/init".to_owned(),
    }
}

fn check_origin(raw: &RawImage, known: &Known, problems: &mut Vec<String>) -> Option<Origin> {
    let program = &raw.program;
    match (&program.package, &program.file, &program.go) {
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

/// Whether `name` can be an image's: the name of a folder, of a file and of a machine.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(is_plain) && !name.starts_with('-')
}

fn check_names(raw: &RawImage, known: &Known, problems: &mut Vec<String>) {
    if !is_name(&raw.name) {
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

/// What the spec brings without naming it must be in the checkout all the same.
fn check_needed_fragments(image: &Image, known: &Known, problems: &mut Vec<String>) {
    let named = &image.kernel.fragments;
    let is_missing =
        |name: &&str| !named.iter().any(|own| own == name) && !known.fragments.iter().any(|own| own == name);
    for name in image.fragments().into_iter().filter(is_missing) {
        problems.push(format!(
            "`network`, `volume` and `initramfs.compress` bring kernel fragments, and there is no kernel-configs/{name}.config; put it back"
        ));
    }
}

fn check_words(raw: &RawImage, problems: &mut Vec<String>) {
    let program = &raw.program;
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
mod tests;
