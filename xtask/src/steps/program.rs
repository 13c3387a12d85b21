//! Builds the machine's program: a workspace package (Rust, static for musl), a Go module, or a finished file.

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::elf;
use crate::key::Fields;
use crate::packages::Cut;
use crate::sandbox::Tool;
use crate::steps::{FileInput, Job, Recipe, copy, write};
use crate::toolbox::ToolName;

/// The platform of every Rust program in an image.
pub const TARGET: &str = "x86_64-unknown-linux-musl";
/// What makes every program smaller, besides the profile.
const RUSTFLAGS: [&str; 3] = [
    // Tables that only unwinding reads: nothing here unwinds, and they are a tenth of a small program.
    "-Cforce-unwind-tables=no",
    // The addresses that a program adds its own to at its start, as bits instead of 24 bytes each. The pinned musl reads them.
    "-Clink-arg=--pack-dyn-relocs=relr",
    // Names of functions. Not in the profile, whose setting cargo forgets for a package that has settings of its own.
    "-Cstrip=symbols",
];
/// The profile of the workspace's Cargo.toml that images are built with.
const PROFILE: &str = "image";

/// Plans a Rust program; its inputs are `std`, the sysroot, and `crates`.
pub struct RustProgram {
    /// The workspace, cut down to the program.
    pub cut: Cut,
    /// The folders of the cut's members.
    pub sources: Vec<FileInput>,
    /// Without the package's default features.
    pub is_plain: bool,
}

impl RustProgram {
    /// The files of a cut's members.
    pub fn sources(cut: &Cut, root: &Utf8Path) -> Vec<FileInput> {
        cut.members.iter().map(|(folder, _)| FileInput { name: folder.clone(), path: root.join(folder) }).collect()
    }
}

impl Recipe for RustProgram {
    fn name(&self) -> &'static str {
        "rust-program 3"
    }

    fn describe(&self, fields: &mut Fields) {
        fields.set("package", &self.cut.package);
        if self.is_plain {
            fields.set("default features", "none");
        }
        fields.set("Cargo.toml", &self.cut.root_manifest);
        fields.set("Cargo.lock", &self.cut.lock);
    }

    fn tools(&self) -> Vec<ToolName> {
        vec!["rustc", "cargo", "cc", "as", "ld", "sh"]
    }

    fn files(&self) -> Vec<FileInput> {
        self.sources.clone()
    }

    fn left_out(&self) -> Option<&'static str> {
        Some("target")
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let package = &self.cut.package;
        write(&job.files.join("Cargo.toml"), &self.cut.root_manifest)?;
        write(&job.files.join("Cargo.lock"), &self.cut.lock)?;
        for (folder, manifest) in &self.cut.members {
            write(&job.files.join(folder).join("Cargo.toml"), manifest)?;
        }
        let build = Build {
            workspace: job.files,
            sysroot: job.input("std")?,
            crates: job.input("crates")?,
            names: &[("/src", job.files)],
            profile: PROFILE,
        };
        let on_line = Build::on_line(job);
        let cargo = build.cargo(job, &RUSTFLAGS)?.args(["-p", package, "--bin", package]);
        let cargo = if self.is_plain { cargo.args(["--no-default-features"]) } else { cargo };
        cargo.on_line(&on_line).run().with_context(|| format!("failed to compile `{package}`"))?;
        let program = job.made(&build.target_folder(job, package))?;
        elf::check(&program, package)?;
        require_no_build_path(&program, job)?;
        copy(&program, job.out)
    }
}

/// A path that a program took from its build is another one at every build, and tells about the machine. Where tools are
/// closed in, it is the same everywhere.
fn require_no_build_path(program: &Utf8Path, job: &Job<'_>) -> Result<()> {
    if job.sandbox.is_closed() {
        return Ok(());
    }
    let bytes = std::fs::read(program).with_context(|| format!("failed to read `{program}`"))?;
    let path = job.sandbox.build().as_str().as_bytes();
    if bytes.windows(path.len()).any(|window| window == path) {
        bail!(
            "the program holds the path of the folder it was built in, so that no two builds are the same\n\
             hint: look for env!(\"CARGO_MANIFEST_DIR\"), env!(\"OUT_DIR\") and build scripts that write paths down"
        );
    }
    Ok(())
}

/// One run of cargo for [`TARGET`], in which no path of this machine reaches the output.
pub struct Build<'a> {
    /// The workspace's folder.
    pub workspace: &'a Utf8Path,
    /// The sysroot with the target's standard library.
    pub sysroot: &'a Utf8Path,
    /// The directory source with the crates.
    pub crates: &'a Utf8Path,
    /// What paths of the build are called in the output; a later line wins.
    pub names: &'a [(&'a str, &'a Utf8Path)],
    /// The cargo profile.
    pub profile: &'a str,
}

impl Build<'_> {
    /// `cargo build`, ready but for the packages. The directory source holds what the lock names and nothing else, so that
    /// there is nothing to choose; `--locked` would refuse a lock in which a feature of another member left a crate too many.
    /// It runs in `/`, for cargo looks for settings in all folders around the
    /// current one, and the user's own must not count here.
    pub fn cargo<'b>(&self, job: &'b Job<'_>, rustflags: &[&str]) -> Result<Tool<'b>> {
        let home = job.folder("cargo-home")?;
        let source = format!(
            "[source.crates-io]\nreplace-with = \"crates\"\n[source.crates]\ndirectory = \"{}\"\n",
            job.inside(self.crates)
        );
        write(&home.join("config.toml"), source)?;
        let target = job.inside(&job.folder("target")?);
        let manifest = job.inside(&self.workspace.join("Cargo.toml"));
        Ok(job
            .tool("cargo", Utf8Path::new("/"))
            .args(["build", "--offline", "--target", TARGET, "--profile", self.profile])
            .args(["--manifest-path", manifest.as_str(), "--target-dir", target.as_str()])
            .env("CARGO_HOME", job.inside(&home))
            .env("RUSTC_WRAPPER", job.inside(&self.wrapper(job, &target)?))
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"))
            .env("CARGO_INCREMENTAL", "0")
            .with_cores())
    }

    /// A wrapper around rustc that adds the flags with paths in them, for the target's crates only. As RUSTFLAGS they would
    /// reach cargo's metadata hashes, and by them the symbol names and the order of functions.
    fn wrapper(&self, job: &Job<'_>, target: &Utf8Path) -> Result<Utf8PathBuf> {
        let path = job.work.join("rustc-wrapper");
        let mut flags = format!(
            "--sysroot '{}' -Clinker=rust-lld --remap-path-prefix '{target}=/build' --remap-path-prefix '{}=/crates'",
            job.inside(self.sysroot),
            job.inside(self.crates)
        );
        for (name, place) in self.names.iter().map(|(name, place)| (name, job.inside(place))) {
            flags.push_str(&format!(" --remap-path-prefix '{place}={name}'"));
        }
        let script = format!(
            "#!/bin/sh\nrustc=$1; shift\nfor word; do case $word in {TARGET}|--target={TARGET})\n  exec \"$rustc\" \"$@\" {flags};;\nesac; done\nexec \"$rustc\" \"$@\"\n"
        );
        write(&path, script)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .with_context(|| format!("failed to set the mode of `{path}`"))?;
        Ok(path)
    }

    /// Something in the folder of finished things.
    pub fn target_folder(&self, job: &Job<'_>, name: &str) -> Utf8PathBuf {
        job.work.join("target").join(TARGET).join(self.profile).join(name)
    }

    /// Shows which crate cargo compiles.
    pub fn on_line<'b>(job: &'b Job<'_>) -> impl Fn(&str) + 'b {
        |line| {
            if let Some(krate) = line.trim().strip_prefix("Compiling ") {
                job.progress.now(&format!("compiling {}", krate.split(" (").next().unwrap_or(krate)));
            }
        }
    }
}

/// Plans a Go program: static, without a build id, without paths.
pub struct GoProgram {
    /// The module's folder.
    pub folder: Utf8PathBuf,
    /// The folder as the spec writes it.
    pub shown: String,
}

impl Recipe for GoProgram {
    fn name(&self) -> &'static str {
        "go-program 2"
    }

    fn describe(&self, _fields: &mut Fields) {}

    fn tools(&self) -> Vec<ToolName> {
        vec!["go"]
    }

    fn files(&self) -> Vec<FileInput> {
        vec![FileInput { name: "module".into(), path: self.folder.clone() }]
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let module = job.files.join("module");
        job.progress.now("compiling");
        let program = job.work.join("program");
        let go = job.tool("go", &module).args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w -buildid=",
            "-o",
            job.inside(&program).as_str(),
            ".",
        ]);
        go.env("CGO_ENABLED", "0")
            .env("GOOS", "linux")
            .env("GOARCH", "amd64")
            .env("GOCACHE", job.inside(&job.folder("go-cache")?))
            .env("GOPATH", job.inside(&job.folder("go-path")?))
            // Nothing is downloaded here: neither modules (they belong into the module's vendor folder) nor another toolchain.
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .run()
            .with_context(|| format!("failed to compile the Go program in `{}`", self.shown))?;
        let program = job.made(&program)?;
        elf::check(&program, &self.shown)?;
        require_no_build_path(&program, job)?;
        copy(&program, job.out)
    }
}

/// Takes a finished static binary.
pub struct FileProgram {
    /// Where it is.
    pub path: Utf8PathBuf,
    /// The path as the spec writes it.
    pub shown: String,
    /// Nothing comes with it, so that it must be static. Else preflight has looked for what it needs.
    pub is_alone: bool,
}

impl Recipe for FileProgram {
    fn name(&self) -> &'static str {
        "file-program 1"
    }

    fn describe(&self, _fields: &mut Fields) {}

    fn files(&self) -> Vec<FileInput> {
        vec![FileInput { name: "program".into(), path: self.path.clone() }]
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let program = job.files.join("program");
        if self.is_alone {
            elf::check(&program, &self.shown)?;
        }
        copy(&program, job.out)
    }
}
