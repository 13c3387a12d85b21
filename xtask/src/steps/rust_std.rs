//! Builds Rust's standard library for static musl programs: a sysroot that `rustc --sysroot` takes.
//!
//! It is done as rustc's own build does it: cargo builds `std` and `panic_abort` as ordinary packages. The workspace
//! around them is ours and names only what Linux needs: crates for other systems are empty stubs, so that upstream's and
//! Debian's library trees, which differ there, come to the same. No part of rustup's own target is needed.

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::key::Fields;
use crate::steps::program::{Build, TARGET};
use crate::steps::{Job, Recipe, copy, musl, write};
use crate::toolbox::ToolName;

/// Plans the sysroot; its inputs are `library`, `crates` and `musl`.
pub struct RustStd {
    /// The library's version. The compiler's must be the same.
    pub version: String,
    /// The lock file of the workspace that is assembled here.
    pub lock: String,
}

/// Opt out of unwinding and into small code; bitcode, so that programs are optimized together with the library.
const PROFILE: &str = r#"
[profile.release]
opt-level = "s"
panic = "abort"
codegen-units = 1
debug = false

# Its functions must stay apart, for the linker to take one without the others.
[profile.release.package.compiler_builtins]
codegen-units = 10000
"#;

/// Marks the library's crates as the compiler's own, keeps their bitcode, and leaves out tables that only unwinding reads.
const RUSTFLAGS: [&str; 3] = ["-Zforce-unstable-if-unmarked", "-Cembed-bitcode=yes", "-Cforce-unwind-tables=no"];

/// Crates that only other systems use: folder, name, version, further features. Cargo wants to see them all the same.
const STUBS: [(&str, &str, &str, &str); 10] = [
    ("dlmalloc", "dlmalloc", "0.2.11", ""),
    ("fortanix-sgx-abi", "fortanix-sgx-abi", "0.6.1", ""),
    ("hermit-abi", "hermit-abi", "0.5.2", ""),
    ("moto-rt", "moto-rt", "0.16.0", ""),
    ("r-efi", "r-efi", "5.3.0", ""),
    ("r-efi-alloc", "r-efi-alloc", "2.1.0", ""),
    ("unwinding", "unwinding", "0.2.8", "unwinder = []\nfde-custom = []\n"),
    ("vex-sdk", "vex-sdk", "0.27.1", ""),
    ("wasip1", "wasi", "0.11.1+wasi-snapshot-preview1", ""),
    ("wasip2", "wasi", "0.14.4+wasi-0.2.4", ""),
];

/// The names and versions of the crates that are empty here.
pub fn stubs() -> Vec<(&'static str, &'static str)> {
    STUBS.iter().map(|(_, name, version, _)| (*name, *version)).collect()
}

/// What the linker wants besides musl and would otherwise take from gcc and LLVM: object files, and their sources.
const OBJECTS: [(&str, &str); 5] = [
    ("crtbegin.o", include_str!("rust_std/start.s")),
    ("crtbeginS.o", include_str!("rust_std/start.s")),
    ("crtend.o", include_str!("rust_std/end.s")),
    ("crtendS.o", include_str!("rust_std/end.s")),
    ("unwind.o", include_str!("rust_std/unwind.s")),
];

/// What of them is linked; the unwinder from an archive, as the linker wants it.
const LINKED: [&str; 5] = ["crtbegin.o", "crtbeginS.o", "crtend.o", "crtendS.o", "libunwind.a"];

impl Recipe for RustStd {
    fn name(&self) -> &'static str {
        "rust-std 2"
    }

    fn describe(&self, fields: &mut Fields) {
        fields.set("version", &self.version);
        fields.set("lock", &self.lock);
        fields.set("manifest", root_manifest());
        fields.set("root package", ROOT_PACKAGE);
        fields.set("stubs", format!("{STUBS:?}"));
        fields.set("rustflags", RUSTFLAGS.join(" "));
        for (object, source) in OBJECTS {
            fields.set(format!("source of {object}"), source);
        }
    }

    fn tools(&self) -> Vec<ToolName> {
        vec!["rustc", "cargo", "cc", "as", "ar", "ld", "sh"]
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        self.require_version(job)?;
        let workspace = job.folder("workspace")?;
        self.assemble(job, &workspace)?;
        let build = Build {
            workspace: &workspace,
            sysroot: &empty_sysroot(job)?,
            crates: job.input("crates")?,
            names: &[("/rust", &workspace), ("/rust/library", job.input("library")?)],
            profile: "release",
        };
        let cargo = build.cargo(job, &RUSTFLAGS)?.args(["-p", "std", "-p", "panic_abort"]);
        // Only the compiler's own library may use its unstable features; no other step sets this.
        let cargo = cargo.env("RUSTC_BOOTSTRAP", "1");
        let on_line = Build::on_line(job);
        cargo.on_line(&on_line).run().context("failed to compile Rust's standard library")?;
        collect(job, &build.target_folder(job, "deps"))
    }
}

impl RustStd {
    /// The library is the compiler's other half: another version of it does not compile.
    fn require_version(&self, job: &Job<'_>) -> Result<()> {
        let found = job.version("rustc");
        if found.starts_with(&format!("rustc {} ", self.version)) {
            return Ok(());
        }
        bail!(
            "the pinned library is of Rust {}, the compiler says `{found}`\nhint: run `rustup toolchain install {}`, or pin the other library",
            self.version,
            self.version
        )
    }

    fn assemble(&self, job: &Job<'_>, workspace: &Utf8Path) -> Result<()> {
        let library = job.input("library")?;
        let link = workspace.join("library");
        std::os::unix::fs::symlink(job.inside(library), &link).with_context(|| format!("failed to link `{link}`"))?;
        write(&workspace.join("Cargo.toml"), root_manifest())?;
        write(&workspace.join("Cargo.lock"), &self.lock)?;
        job.folder("workspace/root/src")?;
        write(&workspace.join("root/src/lib.rs"), "#![no_std]\n")?;
        write(&workspace.join("root/Cargo.toml"), ROOT_PACKAGE)?;
        for (folder, name, version, features) in STUBS {
            job.folder(&format!("workspace/stub/{folder}/src"))?;
            let stub = workspace.join("stub").join(folder);
            write(&stub.join("src/lib.rs"), "")?;
            let manifest = format!(
                "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n[features]\nrustc-dep-of-std = []\n{features}"
            );
            write(&stub.join("Cargo.toml"), manifest)?;
        }
        Ok(())
    }
}

const ROOT_PACKAGE: &str = r#"[package]
name = "root"
version = "0.0.0"
edition = "2024"

[dependencies]
std = { path = "../library/std" }
panic_abort = { path = "../library/panic_abort" }
"#;

fn root_manifest() -> String {
    let mut text =
        "[workspace]\nresolver = \"2\"\nmembers = [\"root\"]\nexclude = [\"library\", \"stub\"]\n".to_owned();
    text.push_str(PROFILE);
    text.push_str("\n[patch.crates-io]\n");
    for name in ["rustc-std-workspace-core", "rustc-std-workspace-alloc"] {
        text.push_str(&format!("{name} = {{ path = \"library/{name}\" }}\n"));
    }
    for (folder, name, _, _) in STUBS {
        text.push_str(&format!("{folder} = {{ package = \"{name}\", path = \"stub/{folder}\" }}\n"));
    }
    text
}

/// The sysroot that the library itself is built with: empty, so that nothing of the host's can slip in.
fn empty_sysroot(job: &Job<'_>) -> Result<Utf8PathBuf> {
    job.folder(&format!("empty/lib/rustlib/{TARGET}/lib"))?;
    Ok(job.work.join("empty"))
}

fn collect(job: &Job<'_>, deps: &Utf8Path) -> Result<()> {
    let lib = job.out.join("lib/rustlib").join(TARGET).join("lib");
    let own = lib.join("self-contained");
    std::fs::create_dir_all(&own).with_context(|| format!("failed to make the folder `{own}`"))?;
    let entries = deps.read_dir_utf8().with_context(|| format!("failed to list `{deps}`"))?;
    for path in entries.flatten().map(|entry| entry.into_path()).filter(|path| path.extension() == Some("rlib")) {
        if let Some(name) = path.file_name().filter(|name| !name.starts_with("libroot-")) {
            copy(&job.made(&path)?, &lib.join(name))?;
        }
    }
    for file in musl::OUTPUT {
        copy(&job.input("musl")?.join(file), &own.join(file))?;
    }
    let objects = job.folder("objects")?;
    for (object, source) in OBJECTS {
        write(&objects.join("object.s"), source)?;
        job.tool("as", &objects).args(["-o", object, "object.s"]).run()?;
    }
    // `D`: no times, no owners.
    job.tool("ar", &objects).args(["rcD", "libunwind.a", "unwind.o"]).run()?;
    LINKED.iter().try_for_each(|file| copy(&job.made(&objects.join(file))?, &own.join(file)))
}
